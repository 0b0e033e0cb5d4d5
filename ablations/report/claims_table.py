"""The paper's claims as the report shows them. Who judges them knows the report; the report does not know who."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ablations.report.units import count

SIGNS: Mapping[str, str] = MappingProxyType(
    {"reproduced": "✓", "partly": "◐", "not reproduced": "✗", "not testable here": "○"}
)
"""Every verdict, in the order of reports, with the sign that stands beside its word."""

UNTESTED = "not testable here"


@dataclass(frozen=True)
class ClaimRow:
    """A claim and what one machine's records say of it, as text.

    Attributes:
        id: Short and unique.
        place: Where it is made.
        says: What it says.
        paper: With which numbers.
        ours: What was measured, with intervals.
        predicate: What must hold for `reproduced`.
        verdict: One of `SIGNS`.
        reason: Why, if the numbers do not say so; may be empty.
        scale: Profiles that it was measured at; may be empty.
        evidence: Ids of the cells behind it.
        experiments: That test it.
    """

    id: str
    place: str
    says: str
    paper: str
    ours: str
    predicate: str
    verdict: str
    reason: str
    scale: str
    evidence: tuple[str, ...]
    experiments: tuple[str, ...]

    @property
    def sign(self) -> str:
        """Of the verdict, for those who see no colour."""
        return SIGNS[self.verdict]

    @property
    def css_class(self) -> str:
        """Of the verdict."""
        return self.verdict.replace(" ", "-")


@dataclass(frozen=True)
class ClaimsPart:
    """The claims section of one machine.

    Attributes:
        anchor: Of the section.
        summary: How many there are of each verdict, in a sentence.
        rows: To be shown.
        folded: Ids of those that the machine has no experiment for.
        profile: Of a run that would measure them.
    """

    anchor: str
    summary: str
    rows: tuple[ClaimRow, ...]
    folded: tuple[str, ...]
    profile: str


def claims_part(rows: Sequence[ClaimRow], planned: Collection[str], *, anchor: str, profile: str) -> ClaimsPart | None:
    """The section, or `None` without claims.

    Args:
        rows: All claims.
        planned: Names of the experiments in the machine's plan.
        anchor: A slug, unique on the page.
        profile: Of a run that would measure what the plan lacks.
    """
    if not rows:
        return None
    folded = [row for row in rows if _lacks_experiments(row, planned)]
    shown = tuple(row for row in rows if row not in folded)
    return ClaimsPart(anchor, summary(rows), shown, tuple(row.id for row in folded), profile)


def _lacks_experiments(row: ClaimRow, planned: Collection[str]) -> bool:
    """Whether there are no records because the plan asks for none; what no experiment can test has another reason."""
    return row.verdict == UNTESTED and bool(row.experiments) and not set(row.experiments) & set(planned)


def summary(rows: Sequence[ClaimRow]) -> str:
    """How many claims there are of each verdict: `Of 7 claims: 4 reproduced, 1 partly, 2 not testable here.`."""
    counts = Counter(row.verdict for row in rows)
    found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in SIGNS if counts[verdict])
    return f"Of {count(len(rows), 'claim')}: {found}."
