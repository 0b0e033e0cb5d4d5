"""Estimates with intervals. Where the data do not support an answer, the answer is `CannotTell`.

Processes that measure one thing differ from one another, by one to three per cent on a quiet machine, however many
samples each of them takes. What says how well a time is known is therefore the spread between processes: an interval is
Student's t on the logarithms of one reading per process, and a single process has none. Resampling processes and the
samples within them, as a hierarchical bootstrap does, cannot show a spread that two or three processes hardly show
themselves: in `tests/report/test_coverage.py` its 95 % intervals contain the truth in a third to four fifths of trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablations.report.student import t_quantile

Floats = NDArray[np.float64]

IntervalKind = Literal["95 %", "range", "exact", "leave one out"]


@dataclass(frozen=True)
class Interval:
    """Bounds, and what kind.

    `95 %` covers what differs from process to process. `range` is from the smallest to the largest reading, `exact` a
    count that has no spread, and `leave one out` what a fit through exact counts gives with each point left out.
    """

    low: float
    high: float
    kind: IntervalKind


@dataclass(frozen=True)
class Estimate:
    """A number, how sure it is, and what is behind it.

    Attributes:
        value: In the unit of the samples.
        interval: `None` where there is none to give; then `no_interval` says why.
        no_interval: Reason in a few words, or `None`.
        n_samples: Samples behind the value.
        n_processes: Processes that took them.
        readings: One number per process, in the unit of the value; empty of a fit, which has several points.
    """

    value: float
    interval: Interval | None
    no_interval: str | None
    n_samples: int
    n_processes: int
    readings: tuple[float, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class CannotTell:
    """There is no answer, and this is why."""

    reason: str


def median_of_medians(processes: Sequence[Sequence[float] | Floats] | Floats) -> Estimate:
    """The median of each process's median, with a 95 % interval over processes.

    Args:
        processes: The samples of each process, positive and in any unit; none of them empty.
    """
    medians = [float(np.median(process)) for process in processes]
    return replace(over_processes(medians), n_samples=sum(len(process) for process in processes))


def paired_ratio(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Estimate:
    """How many times as long one thing takes as another: the median over rounds of the ratio of their medians.

    What slows a whole round down (another process, a warm machine) slows both sides and leaves their ratio alone.

    Args:
        pairs: For each round, the positive samples of the one and of the other; none of them empty.
    """
    ratios = [float(np.median(one) / np.median(other)) for one, other in pairs]
    return replace(over_processes(ratios), n_samples=sum(len(side) for pair in pairs for side in pair))


def over_processes(readings: Sequence[float]) -> Estimate:
    """The median of one positive reading per process, with a 95 % interval: Student's t on their logarithms."""
    value, count = float(np.median(readings)), len(readings)
    if count == 1:
        return Estimate(value, None, "one process", 1, 1, tuple(readings))
    logs = np.log(np.asarray(readings, dtype=np.float64))
    reach = t_quantile(count - 1) * float(logs.std(ddof=1)) / count**0.5
    # The interval is about the mean of logarithms, the value their median: of lopsided readings it may lie outside.
    low, high = (float(np.exp(logs.mean() + side * reach)) for side in (-1, 1))
    return Estimate(value, Interval(min(low, value), max(high, value), "95 %"), None, count, count, tuple(readings))


def is_exact(estimate: Estimate) -> bool:
    """Whether it is a count without error."""
    return estimate.interval is not None and estimate.interval.kind == "exact"


def of_readings(readings: Sequence[float], *, exact: bool) -> Estimate:
    """The median of one reading per process, with the range of the readings.

    Args:
        readings: One per process, at least one.
        exact: Whether a reading is a count without error, so that one is as good as many if all agree.
    """
    values = np.asarray(readings, dtype=np.float64)
    value, low, high = float(np.median(values)), float(values.min()), float(values.max())
    count, kept = len(values), tuple(map(float, values))
    if exact and low == high:
        return Estimate(value, Interval(low, high, "exact"), None, count, count, kept)
    if count == 1:
        return Estimate(value, None, "one process", 1, 1, kept)
    return Estimate(value, Interval(low, high, "range"), None, count, count, kept)


def per(amount: float, estimate: Estimate) -> Estimate:
    """`amount` divided by the estimate, as in tokens per second; the interval turns around with it."""
    interval = estimate.interval
    turned = interval and Interval(amount / interval.high, amount / interval.low, interval.kind)
    readings = tuple(amount / reading for reading in estimate.readings)
    return replace(estimate, value=amount / estimate.value, interval=turned, readings=readings)


def mean_of(readings: Sequence[float]) -> Estimate:
    """The mean of one reading per process, of either sign, with a 95 % interval: Student's t on the readings."""
    values, count = np.asarray(readings, dtype=np.float64), len(readings)
    value = float(values.mean())
    if count == 1:
        return Estimate(value, None, "one process", 1, 1, tuple(readings))
    reach = t_quantile(count - 1) * float(values.std(ddof=1)) / count**0.5
    return Estimate(value, Interval(value - reach, value + reach, "95 %"), None, count, count, tuple(readings))


def paired_difference(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """By how much one thing exceeds another: the mean over seeds of the difference of the two of each seed.

    What a seed does to both sides, such as easy windows or a lucky start, leaves their difference alone.

    Args:
        pairs: For each seed, the one's reading and the other's; at least one.
    """
    return mean_of([one - other for one, other in pairs])


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The same in another unit: everything times `factor`, which is positive."""
    interval = estimate.interval
    wider = interval and Interval(interval.low * factor, interval.high * factor, interval.kind)
    readings = tuple(factor * reading for reading in estimate.readings)
    return replace(estimate, value=estimate.value * factor, interval=wider, readings=readings)
