"""Whether B is better or worse than A at one thing, from the seeds that both have measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Literal, TypeVar

from ablations.harness.measurement import (
    Discrepancy,
    Evaluation,
    KernelSeconds,
    LearningCurve,
    Measurement,
    PeakBytes,
    StepTimes,
)
from ablations.report.groups import Group, samples
from ablations.report.learning import bits_words, last
from ablations.report.statistics import Estimate, median_of_medians, of_readings, paired_difference
from ablations.report.units import BYTES, RATIO, SECONDS, Unit, interval_text
from ablations.report.verdict import CHANGED, verdict

Answer = Literal["worse", "better", "same", "cannot tell"]
Value = TypeVar("Value")

ROUNDING = 2.0**-24
"""Of a float32: differences below it are none."""

BITS = Unit("bits", ((1.0, ""),), decimals=3)
PARAMETERS = Unit("parameters", ((1.0, ""),), decimals=0)


@dataclass(frozen=True)
class Limits:
    """From where on a difference is a change.

    Attributes:
        time: Ratio of times beyond which there is a change, as `verdict.CHANGED`.
        memory: Ratio of peaks beyond which there is one: on a CPU they are exact counts.
        bits: Held-out bits that the whole interval of their difference must exceed.
        discrepancy: Ratio of the differences between two ways to compute one thing. Sums taken in another order move
            them, but hardly double them.
    """

    time: float = CHANGED
    memory: float = 1.01
    bits: float = 0.01
    discrepancy: float = 2.0


@dataclass(frozen=True)
class Judgement:
    """The answer, and what it follows from, as a reader sees it.

    Attributes:
        answer: Of B.
        before: Of A, over the seeds that both have measured.
        after: Of B, over the same.
        change: B over A, or B less A.
        interval: Of the change, or why there is none.
        n: Seeds that both have measured.
        size: To sort by: the logarithm of a ratio or a difference, above zero where B needs more.
        reason: What else there is to say.
    """

    answer: Answer
    before: str = ""
    after: str = ""
    change: str = ""
    interval: str = ""
    n: int = 0
    size: float = 0.0
    reason: str = ""


def judge(before: Group, after: Group, limits: Limits) -> Judgement:
    """How B does at something.

    Args:
        before: Of A, cells of some seeds, all with results.
        after: Of B, cells of the same seeds, all with results.
        limits: From where on a difference is a change.
    """
    rule = _RULES.get(before.kind)
    if rule is None:
        return Judgement("cannot tell", n=len(before.attempts), reason=f"there is no rule for {before.kind}")
    return rule(before, after, limits)


def _of_time(before: Group, after: Group, limits: Limits) -> Judgement:
    return _by_verdict(_pairs(before, after, _step_samples), limits)


def _of_kernels(before: Group, after: Group, limits: Limits) -> Judgement:
    return _by_verdict(_pairs(before, after, _kernel_samples), limits)


def _by_verdict(pairs: "Pairs[Sequence[float]]", limits: Limits) -> Judgement:
    if not pairs:
        return _NOTHING
    found = verdict([(after, before) for before, after in pairs], changed=limits.time)
    answers: Mapping[str, Answer] = {"slower": "worse", "faster": "better", "same": "same"}
    sides = (median_of_medians(side).value for side in zip(*pairs, strict=True))
    return _of_ratio(answers.get(found.answer, "cannot tell"), found.ratio, *map(SECONDS.text, sides))


def _of_memory(before: Group, after: Group, limits: Limits) -> Judgement:
    pairs = _pairs(before, after, _peak)
    if not pairs:
        return _NOTHING
    counted = all(peak.method == "profiler_allocation_events" for peak in (*before.peaks, *after.peaks))
    ratio = of_readings([two / one for one, two in pairs], exact=counted)
    answer = _of_counts(ratio, limits.memory) if counted else _of_range(ratio, limits.memory)
    return _of_ratio(answer, ratio, *_medians(pairs, BYTES.text))


def _of_counts(ratio: Estimate, limit: float) -> Answer:
    """Counts without error: one seed beyond the limit is a change, and one for the worse outweighs all others."""
    if max(ratio.readings) > limit:
        return "worse"
    return "better" if min(ratio.readings) < 1 / limit else "same"


def _of_range(ratio: Estimate, limit: float) -> Answer:
    if ratio.interval is None:
        return "cannot tell"
    low, high = ratio.interval.low, ratio.interval.high
    if low > limit or high < 1 / limit:
        return "worse" if low > limit else "better"
    return "same" if low >= 1 / limit and high <= limit else "cannot tell"


def _of_learning(before: Group, after: Group, limits: Limits) -> Judgement:
    pairs = _pairs(before, after, _end)
    if not pairs:
        return _NOTHING
    if apart := [(one.step, two.step) for one, two in pairs if one.step != two.step]:
        ends = "; ".join(f"after step {one} in A, {two} in B" for one, two in apart)
        return Judgement("cannot tell", n=len(pairs), reason=f"training ended {ends}")
    bits = [(one.bits_per_token, two.bits_per_token) for one, two in pairs]
    difference = paired_difference([(two, one) for one, two in bits])
    return Judgement(
        _of_difference(difference, limits.bits),
        *_medians(bits, BITS.text),
        change=f"{difference.value:+.3f} {bits_words([before])}",
        interval=interval_text(difference, BITS),
        n=len(pairs),
        size=difference.value,
    )


def _of_difference(difference: Estimate, limit: float) -> Answer:
    if difference.interval is None:
        return "cannot tell"
    low, high = difference.interval.low, difference.interval.high
    if low > limit or high < -limit:
        return "worse" if low > limit else "better"
    return "same" if -limit <= low and high <= limit else "cannot tell"


def _of_exactness(before: Group, after: Group, limits: Limits) -> Judgement:
    counts = _pairs(before, after, _parameters)
    if not counts:
        return _NOTHING
    parameters = of_readings([two / one for one, two in counts], exact=True)
    if set(parameters.readings) != {1.0}:
        return _of_ratio(_of_counts(parameters, 1.0), parameters, *_medians(counts, PARAMETERS.text))
    pairs = _pairs(before, after, _relative_difference)
    if not pairs:
        return _of_ratio("same", parameters, *_medians(counts, PARAMETERS.text))
    ratio = of_readings([max(two, ROUNDING) / max(one, ROUNDING) for one, two in pairs], exact=True)
    return _of_ratio(_of_counts(ratio, limits.discrepancy), ratio, *_medians(pairs, "{:.1e}".format))


def _of_fit(before: Group, after: Group, limits: Limits) -> Judgement:
    return Judgement("same", "fits", "fits", n=len(before.attempts))


_RULES: Mapping[str, Callable[[Group, Group, Limits], Judgement]] = MappingProxyType(
    {
        "time": _of_time,
        "kernels": _of_kernels,
        "memory": _of_memory,
        "learn": _of_learning,
        "exactness": _of_exactness,
        "capacity": _of_fit,
    }
)
"""By kind of workload. What the machine can do at most says nothing of the code and has none."""

_NOTHING = Judgement("cannot tell", reason="no seed has a number in both")

Pairs = Sequence[tuple[Value, Value]]
"""Of each seed that both have measured, what A and what B read."""


def _pairs(before: Group, after: Group, reading: Callable[[Measurement], Value | None]) -> Pairs[Value]:
    both = zip(before.measurements, after.measurements, strict=True)
    found = [(reading(one), reading(two)) for one, two in both]
    return [(one, two) for one, two in found if one is not None and two is not None]


def _step_samples(measured: Measurement) -> Sequence[float] | None:
    return samples(measured) if isinstance(measured, StepTimes) else None


def _kernel_samples(measured: Measurement) -> Sequence[float] | None:
    total = sum(kernel.seconds for kernel in measured.kernels) if isinstance(measured, KernelSeconds) else 0.0
    return (total / measured.steps,) if isinstance(measured, KernelSeconds) and total > 0 else None


def _peak(measured: Measurement) -> int | None:
    """Bytes; none at all count as one, so that a ratio is a number."""
    return max(measured.peak_bytes, 1) if isinstance(measured, PeakBytes) else None


def _parameters(measured: Measurement) -> int | None:
    return max(measured.n_parameters, 1) if isinstance(measured, Discrepancy) else None


def _end(measured: Measurement) -> Evaluation | None:
    return last(measured) if isinstance(measured, LearningCurve) else None


def _relative_difference(measured: Measurement) -> float | None:
    return measured.relative_difference if isinstance(measured, Discrepancy) and measured.n_compared else None


def _medians(pairs: Pairs[float] | Pairs[int], text: Callable[[float], str]) -> tuple[str, str]:
    return text(median(one for one, _ in pairs)), text(median(two for _, two in pairs))


def _of_ratio(answer: Answer, ratio: Estimate, before: str, after: str) -> Judgement:
    size = math.log(ratio.value)
    return Judgement(
        answer, before, after, RATIO.text(ratio.value), interval_text(ratio, RATIO), ratio.n_processes, size
    )
