"""Judged claims as rows of the report."""

from collections.abc import Iterable

from ablations.claims.claim import Judged
from ablations.report.claims_table import ClaimRow


def rows(judged: Iterable[Judged]) -> tuple[ClaimRow, ...]:
    """A row for each claim, in the same order."""
    return tuple(_row(one) for one in judged)


def _row(judged: Judged) -> ClaimRow:
    claim, finding = judged.claim, judged.finding
    return ClaimRow(
        id=claim.id,
        place=claim.place,
        says=claim.says,
        paper=claim.paper,
        ours=finding.ours,
        predicate=claim.predicate,
        verdict=finding.verdict,
        reason=finding.reason,
        scale=judged.scale,
        evidence=finding.evidence,
        experiments=claim.experiments,
    )
