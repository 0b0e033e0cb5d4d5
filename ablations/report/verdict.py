"""Whether one series of rounds is slower than another, for whatever has to act on the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ablations.report.statistics import Estimate, paired_ratio

CHANGED = 1.10
"""A median ratio beyond this, or beyond its inverse, is a change, ..."""

CLEARLY = 1.05
"""... if the whole interval is beyond this. An interval that lies within this and its inverse says: the same."""

Answer = Literal["slower", "faster", "same", "cannot_tell"]


@dataclass(frozen=True)
class Verdict:
    """The answer, and the ratio that it follows from."""

    answer: Answer
    ratio: Estimate


def verdict(rounds: Sequence[tuple[Sequence[float], Sequence[float]]], *, changed: float = CHANGED) -> Verdict:
    """How the first of each round compares with the second.

    With eight rounds and processes that differ by 1 to 3 %, equal things are five standard errors from an alarm, what
    is 15 % slower is found 99 times in 100, and what is 10 % slower about every other time.

    Args:
        rounds: The samples of the one and of the other, as in `paired_ratio`; taken on one machine, in turns.
        changed: In place of `CHANGED`, above 1; what is clear is then half as far from 1.
    """
    ratio = paired_ratio(rounds)
    return Verdict(_answer(ratio, changed), ratio)


def clearly(changed: float) -> float:
    """What stands for `CLEARLY` beside another limit than `CHANGED`: half as far from 1."""
    return CLEARLY if changed == CHANGED else 1 + (changed - 1) / 2


def _answer(ratio: Estimate, changed: float) -> Answer:
    if ratio.interval is None:
        return "cannot_tell"
    clear = clearly(changed)
    if ratio.value > changed and ratio.interval.low > clear:
        return "slower"
    if ratio.value < 1 / changed and ratio.interval.high < 1 / clear:
        return "faster"
    same = ratio.interval.low > 1 / clear and ratio.interval.high < clear
    return "same" if same else "cannot_tell"
