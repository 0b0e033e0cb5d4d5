"""From rounds to a verdict. Knows nothing of how they were taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ablations.gate.rounds import CellRounds, Pair, Taken, pairs_of
from ablations.report.statistics import Estimate
from ablations.report.verdict import CHANGED, CLEARLY, verdict

LEAST_ROUNDS = 3
"""Of both sides, for an interval that means anything."""

LOST = 2
"""Rounds that only one side cannot run before it is said to fail; a single one may be the machine's fault."""

QUIET = 1.03
"""The base against itself may be off by this factor for certain, ..."""

QUIET_INTERVAL = 1.06
"""... and its interval may reach out to this one. Beyond, the machine is too noisy for a verdict."""

Answer = Literal["slower", "faster", "same", "cannot tell", "fails", "new", "not measured"]
"""`fails`: the base runs it and the head does not, or not always. `new`: the head runs it and the base does not."""

Outcome = Literal["regressed", "passed", "inconclusive", "not comparable", "not measured"]
"""`not comparable`: the head runs all and the base nothing. `not measured`: neither side runs some cell."""


@dataclass(frozen=True)
class CellVerdict:
    """Of one cell: the head's time over the base's, if there is a ratio, or the reason why there is none."""

    cell: CellRounds
    answer: Answer
    ratio: Estimate | None = None
    reason: str | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether more rounds might turn it into a regression, or out of one."""
        if self.ratio is None or self.ratio.interval is None:
            return self.ratio is not None
        changed, clearly = self.ratio.value > CHANGED, self.ratio.interval.low > CLEARLY
        return changed != clearly or (not changed and self.ratio.interval.high > CHANGED)

    @property
    def suspect(self) -> bool:
        """Whether the ratio says that it is slower and the interval that nobody knows."""
        return self.ratio is not None and self.ratio.value > CHANGED and self.answer != "slower"


@dataclass(frozen=True)
class Control:
    """The base against itself: how far two things that are equal seem to lie apart on this machine."""

    ratio: Estimate | None

    @property
    def quiet(self) -> bool:
        """Whether the machine can be trusted."""
        if self.ratio is None or self.ratio.interval is None:
            return False
        interval = self.ratio.interval
        near = 1 / QUIET <= self.ratio.value <= QUIET or interval.low <= 1 <= interval.high
        return near and interval.low >= 1 / QUIET_INTERVAL and interval.high <= QUIET_INTERVAL


@dataclass(frozen=True)
class Judgement:
    """The outcome of a gate, and the verdicts that it follows from."""

    outcome: Outcome
    cells: tuple[CellVerdict, ...]
    control: Control


def judge(cells: Sequence[CellRounds], control: CellRounds) -> Judgement:
    """The verdict of each cell, and the outcome of all.

    A cell is slower only if the median ratio of all rounds and its whole interval say so. What the head cannot run any
    more is a regression on any machine; of times a machine that cannot tell the base from itself says nothing.
    """
    found = tuple(map(cell_verdict, cells))
    against_itself = Control(_ratio(pairs_of(control)))
    return Judgement(_outcome(found, against_itself), found, against_itself)


def _outcome(found: Sequence[CellVerdict], control: Control) -> Outcome:
    answers = {one.answer for one in found}
    if "fails" in answers:
        return "regressed"
    if not found or "not measured" in answers:
        return "not measured"
    if answers == {"new"}:
        return "not comparable"
    if not control.quiet:
        return "inconclusive"
    if "slower" in answers:
        return "regressed"
    return "inconclusive" if any(one.suspect for one in found) else "passed"


def cell_verdict(measured: CellRounds) -> CellVerdict:
    """What the rounds of one cell say."""
    head, base = _lost(one.head for one in measured.rounds), _lost(one.base for one in measured.rounds)
    if head.rounds - base.rounds >= LOST:
        return CellVerdict(measured, "fails", reason=head.reason)
    pairs = pairs_of(measured)
    if len(pairs) >= LEAST_ROUNDS:
        found = verdict(pairs)
        answer: Answer = "cannot tell" if found.answer == "cannot_tell" else found.answer
        return CellVerdict(measured, answer, ratio=found.ratio, reason=head.reason or base.reason)
    new = base.rounds - head.rounds >= LOST
    return CellVerdict(measured, "new" if new else "not measured", reason=base.reason or head.reason)


class _Lost(NamedTuple):
    """How many rounds one side could not run, and what the first of them said."""

    rounds: int
    reason: str | None


def _lost(side: Iterable[Taken]) -> _Lost:
    reasons = [taken.reason for taken in side if not taken.times]
    return _Lost(len(reasons), next(iter(reasons), None))


def _ratio(pairs: Sequence[Pair]) -> Estimate | None:
    return verdict(pairs).ratio if pairs else None
