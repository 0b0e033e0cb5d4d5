"""From rounds to a verdict. Knows nothing of how they were taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ablations.gate.rounds import CellRounds, Pair, pairs_of
from ablations.report.statistics import Estimate
from ablations.report.verdict import CHANGED, CLEARLY, verdict

LEAST_ROUNDS = 3
"""Of both sides, for an interval that means anything."""

QUIET = 1.03
"""The base against itself may seem to differ by this factor, ..."""

QUIET_INTERVAL = 1.06
"""... and its interval may reach out to this one. Beyond, the machine is too noisy for a verdict."""

Answer = Literal["slower", "faster", "same", "cannot tell", "fails", "new", "not measured"]
"""`fails`: the base runs it and the head does not. `new`: the head runs it and the base does not."""

Outcome = Literal["regressed", "passed", "inconclusive", "not comparable"]


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
        near = 1 / QUIET <= self.ratio.value <= QUIET
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
    if answers <= {"new", "not measured"}:
        return "not comparable"
    if not control.quiet:
        return "inconclusive"
    return "regressed" if "slower" in answers else "passed"


def cell_verdict(measured: CellRounds) -> CellVerdict:
    """What the rounds of one cell say."""
    pairs = pairs_of(measured)
    if len(pairs) >= LEAST_ROUNDS:
        found = verdict(pairs)
        answer: Answer = "cannot tell" if found.answer == "cannot_tell" else found.answer
        return CellVerdict(measured, answer, ratio=found.ratio)
    return _without_ratio(measured)


def _without_ratio(measured: CellRounds) -> CellVerdict:
    ran = {
        "base": sum(one.base.times is not None for one in measured.rounds),
        "head": sum(one.head.times is not None for one in measured.rounds),
    }
    reasons = [taken.reason for one in measured.rounds for taken in (one.head, one.base) if taken.reason]
    reason = reasons[0] if reasons else "no round was measured"
    if ran["base"] >= LEAST_ROUNDS:
        return CellVerdict(measured, "fails", reason=reason)
    if ran["head"] >= LEAST_ROUNDS:
        return CellVerdict(measured, "new", reason=reason)
    return CellVerdict(measured, "not measured", reason=reason)


def _ratio(pairs: Sequence[Pair]) -> Estimate | None:
    return verdict(pairs).ratio if pairs else None
