"""What a claim is, and what can become of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ablations.claims.evidence import Evidence

Verdict = Literal["reproduced", "partly", "not reproduced", "not testable here"]
"""`partly`: some of what the predicate asks for holds, or it holds without an interval that would make it sure."""


@dataclass(frozen=True)
class Finding:
    """What records say of a claim.

    Attributes:
        verdict: In short.
        ours: Our numbers with their intervals, at the scale that they were measured at.
        reason: Why the verdict, if the numbers do not say so by themselves; of what is not testable here, why.
        evidence: Ids of the cells that it rests on.
    """

    verdict: Verdict
    ours: str
    reason: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, or of a source that repeats or disputes it.

    Attributes:
        id: Short and unique, as `C13`.
        place: Section, table or figure, with the source if it is not the paper.
        says: The claim in one sentence.
        paper: The source's numbers, with how sure they are.
        experiments: That test it.
        predicate: What must hold of the records for `reproduced`, in words with numbers.
        judge: That predicate.
    """

    id: str
    place: str
    says: str
    paper: str
    experiments: tuple[str, ...]
    predicate: str
    judge: Callable[[Evidence], Finding]


@dataclass(frozen=True)
class Judged:
    """A claim with what one machine's records say of it; `scale` names the profiles that they were measured at."""

    claim: Claim
    finding: Finding
    scale: str
    machine: str
