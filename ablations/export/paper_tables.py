"""Which tables there are, and the names of their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ablations.harness.store import MachineResults
from ablations.report.claims_table import ClaimRow, summary
from ablations.report.pages import machine_part, unique
from ablations.report.svg import slug
from ablations.report.table import Column, Row, Table

CLAIM_COLUMNS = tuple(Column(title, numeric=False) for title in ("id", "claim", "ours", "verdict"))

MOST_FINDINGS = 160
SHORTENED = "Of what was measured the first findings stand here, in the report all of them with their conditions."


@dataclass(frozen=True)
class NamedTable:
    """A table and its files' name without ending, which is a slug."""

    name: str
    table: Table


def named_tables(machine: MachineResults, claims: Sequence[ClaimRow]) -> tuple[NamedTable, ...]:
    """The claims' table, and of each experiment those of the report, cells without a result last."""
    names = unique(["claims", *(slug(one.name) for one in machine.plan.experiments)])[1:]
    parts = machine_part(machine, "export").experiments
    return (
        *([NamedTable("claims", claims_table(claims))] if claims else []),
        *(
            NamedTable(f"{name}-{number}", table)
            for name, part in zip(names, parts, strict=True)
            for number, table in enumerate((*part.tables, *([part.gaps] if part.gaps.rows else [])), start=1)
        ),
    )


def claims_table(claims: Sequence[ClaimRow]) -> Table:
    """What a paper has room for: which claim, what it says, the first of what was measured, and the verdict."""
    rows = tuple(
        Row((one.id, one.says, _shortened(one.ours or one.reason), one.verdict), ok=one.verdict == "reproduced")
        for one in claims
    )
    return Table("The paper's claims and what was measured", CLAIM_COLUMNS, rows, (summary(claims), SHORTENED))


def _shortened(findings: str) -> str:
    """Whole findings, at least one, as long as they are no more than `MOST_FINDINGS` letters together."""
    parts = findings.split("; ")
    lengths = list(accumulate(len(part) + 2 for part in parts))
    kept = max(1, sum(length <= MOST_FINDINGS for length in lengths))
    left = f"; and {len(parts) - kept} more" if kept < len(parts) else ""
    return "; ".join(parts[:kept]) + left
