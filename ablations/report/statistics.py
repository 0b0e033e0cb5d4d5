"""Estimates with intervals, and fits over them. Where the data do not support an answer, the answer is `CannotTell`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 2000
"""Bootstrap draws behind every interval."""

LEAST_SAMPLES = 5
"""Below this many samples, all processes together, an interval would be decoration."""

LEAST_POINTS = 3
"""A line through two points always fits, so it says nothing about whether there is a line."""

SAMPLES_AT_ONCE = 1_000_000
"""Resampled values in memory at a time."""

TOP_OCTAVES = 3
"""Exponents are asymptotic claims: they are fitted where lengths are within this many doublings of the longest."""

IntervalKind = Literal["95 %", "range", "exact"]


@dataclass(frozen=True)
class Interval:
    """Bounds, and what kind: 95 % by bootstrap, smallest to largest reading, or an exact count that has no spread."""

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
        n_samples: Readings behind the value.
        n_processes: Processes that took them.
        draws: Bootstrap replicates of the value, all `DRAWS` of them; `None` where the spread is unknown.
    """

    value: float
    interval: Interval | None
    no_interval: str | None
    n_samples: int
    n_processes: int
    draws: Floats | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class CannotTell:
    """There is no answer, and this is why."""

    reason: str


@dataclass(frozen=True)
class Fit:
    """The slope of a least-squares line and the `xs` that it went through."""

    slope: Estimate
    xs: tuple[float, ...]


Point = tuple[float, Estimate]


def median_of_medians(processes: Sequence[Sequence[float] | Floats] | Floats, *, entropy: Sequence[int]) -> Estimate:
    """The median of each process's median, with a hierarchical bootstrap interval.

    Args:
        processes: The samples of each process, in any unit; none of them empty.
        entropy: Seeds the generator, so that the same records give the same interval.
    """
    samples = [np.asarray(process, dtype=np.float64) for process in processes]
    value = float(np.median([np.median(process) for process in samples]))
    n_samples = sum(process.size for process in samples)
    if n_samples < LEAST_SAMPLES:
        return Estimate(value, None, f"too few samples ({n_samples})", n_samples, len(samples))
    draws = _hierarchical_draws(samples, np.random.default_rng(list(entropy)))
    return Estimate(value, _percentiles(draws), None, n_samples, len(samples), draws)


def _hierarchical_draws(processes: Sequence[Floats], generator: np.random.Generator) -> Floats:
    """Replicates of the median of medians: processes are drawn first, then samples within each one drawn."""
    medians = np.empty((DRAWS, len(processes)))
    for slot in range(len(processes)):
        chosen = generator.integers(len(processes), size=DRAWS)
        for index, samples in enumerate(processes):
            rows = np.flatnonzero(chosen == index)
            medians[rows, slot] = _resampled_medians(samples, rows.size, generator)
    return np.median(medians, axis=1)


def _resampled_medians(samples: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Medians of `count` resamples, some at a time: fast steps have samples by the ten thousand."""
    at_once = max(1, SAMPLES_AT_ONCE // samples.size)
    medians = np.empty(count)
    for start in range(0, count, at_once):
        size = (min(at_once, count - start), samples.size)
        medians[start : start + at_once] = np.median(samples[generator.integers(samples.size, size=size)], axis=1)
    return medians


def _percentiles(draws: Floats) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(low), float(high), "95 %")


def paired_ratio(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], *, entropy: Sequence[int]) -> Estimate:
    """How many times as long one thing takes as another: the median over rounds of the ratio of their medians.

    What slows a whole round down (another process, a warm machine) slows both sides and leaves their ratio alone.

    Args:
        pairs: For each round, the samples of the one and of the other; none of them empty.
        entropy: As in `median_of_medians`.
    """
    sides = [tuple(np.asarray(side, dtype=np.float64) for side in pair) for pair in pairs]
    ratios = [float(np.median(one) / np.median(other)) for one, other in sides]
    n_samples = sum(side.size for pair in sides for side in pair)
    fewest = min(sum(pair[index].size for pair in sides) for index in (0, 1))
    if fewest < LEAST_SAMPLES:
        return replace(of_readings(ratios, exact=False), n_samples=n_samples)
    draws = _paired_draws(sides, np.random.default_rng(list(entropy)))
    return Estimate(float(np.median(ratios)), _percentiles(draws), None, n_samples, len(ratios), draws)


def _paired_draws(pairs: Sequence[tuple[Floats, ...]], generator: np.random.Generator) -> Floats:
    """Replicates: rounds are drawn first, then samples within both sides of each one drawn."""
    ratios = np.empty((DRAWS, len(pairs)))
    for slot in range(len(pairs)):
        chosen = generator.integers(len(pairs), size=DRAWS)
        for index, (one, other) in enumerate(pairs):
            rows = np.flatnonzero(chosen == index)
            above, below = (_resampled_medians(side, rows.size, generator) for side in (one, other))
            ratios[rows, slot] = above / below
    return np.median(ratios, axis=1)


def of_readings(readings: Sequence[float], *, exact: bool) -> Estimate:
    """The median of one reading per process, with the range of the readings.

    Args:
        readings: One per process, at least one.
        exact: Whether a reading is a count without error, so that one is as good as many if all agree.
    """
    values = np.asarray(readings, dtype=np.float64)
    value, low, high = float(np.median(values)), float(values.min()), float(values.max())
    if exact and low == high:
        return Estimate(value, Interval(low, high, "exact"), None, len(values), len(values), np.full(DRAWS, value))
    if len(values) == 1:
        return Estimate(value, None, "one process", 1, 1)
    # A range is no distribution to draw from, unless there is nothing to choose between.
    draws = np.full(DRAWS, value) if low == high else None
    return Estimate(value, Interval(low, high, "range"), None, len(values), len(values), draws)


def per(amount: float, estimate: Estimate) -> Estimate:
    """`amount` divided by the estimate, as in tokens per second; the interval turns around with it."""
    interval = estimate.interval
    turned = interval and Interval(amount / interval.high, amount / interval.low, interval.kind)
    draws = None if estimate.draws is None else amount / estimate.draws
    value = amount / estimate.value
    return Estimate(value, turned, estimate.no_interval, estimate.n_samples, estimate.n_processes, draws)


def exponent(points: Sequence[Point]) -> Fit | CannotTell:
    """The p of y ~ x**p: the slope of log y on log x over the top three octaves of x.

    Args:
        points: x and y, both positive. Only those with x of at least an eighth of the largest x are used.
    """
    longest = max((x for x, _ in points), default=0.0)
    used = [(x, y) for x, y in points if x * 2**TOP_OCTAVES >= longest]
    if any(y.value <= 0 for _, y in used):
        return CannotTell("a value of zero has no logarithm")
    return _fit(used, logarithmic=True)


def slope(points: Sequence[Point]) -> Fit | CannotTell:
    """The slope of the least-squares line through all points, in units of y per unit of x."""
    return _fit(points, logarithmic=False)


def _fit(points: Sequence[Point], *, logarithmic: bool) -> Fit | CannotTell:
    xs = tuple(x for x, _ in points)
    if len(set(xs)) < LEAST_POINTS:
        where = " within three octaves" if logarithmic else ""
        return CannotTell(f"a fit needs at least {LEAST_POINTS} points with a result{where}, here {_are(len(set(xs)))}")
    warp = np.log if logarithmic else np.asarray
    estimates = [y for _, y in points]
    positions = np.asarray(warp(np.asarray(xs, dtype=np.float64)))
    value = float(_least_squares(positions, np.asarray(warp(np.array([[y.value] for y in estimates]))))[0])
    return Fit(_combined(estimates, value, lambda ys: _least_squares(positions, np.asarray(warp(ys)))), xs)


def _are(count: int) -> str:
    return {0: "there are none", 1: "there is 1"}.get(count, f"there are {count}")


def _least_squares(xs: Floats, ys: Floats) -> Floats:
    """Slope of each column of `ys` (points, draws) on `xs` (points)."""
    centred = xs - xs.mean()
    slopes: Floats = centred @ (ys - ys.mean(axis=0)) / (centred @ centred)
    return slopes


def ratio(numerator: Estimate, denominator: Estimate) -> Estimate | CannotTell:
    """One slope as a fraction of another, which must be positive beyond its own interval."""
    lowest = denominator.interval.low if denominator.interval else denominator.value
    if lowest <= 0:
        return CannotTell("the slope compared with is not clearly above zero")
    value = numerator.value / denominator.value
    return _combined([numerator, denominator], value, lambda ys: ys[0] / ys[1])


def _combined(estimates: Sequence[Estimate], value: float, function: Callable[[Floats], Floats]) -> Estimate:
    """A number computed from independent estimates; its interval comes from the same computation on their draws."""
    n_samples, n_processes = sum(e.n_samples for e in estimates), sum(e.n_processes for e in estimates)
    draws = [estimate.draws for estimate in estimates if estimate.draws is not None]
    if len(draws) < len(estimates):
        return Estimate(value, None, "too few readings", n_samples, n_processes)
    replicates = function(np.array(draws))
    kinds = {estimate.interval.kind for estimate in estimates if estimate.interval}
    if kinds == {"exact"}:
        interval = Interval(value, value, "exact")
    elif "95 %" in kinds:
        interval = _percentiles(replicates)
    else:
        interval = Interval(float(replicates.min()), float(replicates.max()), "range")
    return Estimate(value, interval, None, n_samples, n_processes, replicates)
