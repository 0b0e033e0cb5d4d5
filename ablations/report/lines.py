"""Straight lines through estimates: exponents, as slopes of logarithms, and slopes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablations.report.noise import Noise
from ablations.report.statistics import CannotTell, Estimate, Floats, Interval, is_exact

LEAST_POINTS = 3
"""A line through two points always fits, so it says nothing about whether there is a line."""

TOP_OCTAVES = 3
"""Exponents are asymptotic claims: they are fitted where lengths are within this many doublings of the longest."""

Point = tuple[float, Estimate]


@dataclass(frozen=True)
class Fit:
    """The slope of a least-squares line.

    Attributes:
        slope: In units of y per unit of x, of logarithms without unit.
        xs: What it went through.
        noise: Of the points.
        leverage: Variance of the slope, where that of one reading's relative error is 1.
    """

    slope: Estimate
    xs: tuple[float, ...]
    noise: Noise
    leverage: float


def exponent(points: Sequence[Point]) -> Fit | CannotTell:
    """The p of y ~ x**p: the slope of log y on log x over the top three octaves of x.

    Args:
        points: x and y, both positive. Only those with x of at least an eighth of the largest x are used.
    """
    longest = max((x for x, _ in points), default=0.0)
    used = [(x, y) for x, y in points if x * 2**TOP_OCTAVES >= longest]
    if any(min(y.readings) <= 0 for _, y in used):
        return CannotTell("a value of zero has no logarithm")
    if few := too_few(used, LEAST_POINTS, where=" within three octaves"):
        return few
    xs, ys = values_of(used)
    return _line(used, np.log(xs), np.log(ys), errors=np.ones_like(ys))


def slope(points: Sequence[Point]) -> Fit | CannotTell:
    """The slope of the least-squares line through all points, in units of y per unit of x."""
    if few := too_few(points, LEAST_POINTS):
        return few
    if any(min(y.readings) <= 0 for _, y in points if not is_exact(y)):
        return CannotTell("a reading of zero has no relative error")
    xs, ys = values_of(points)
    return _line(points, xs, ys, errors=ys)


def too_few(points: Sequence[Point], least: int, where: str = "") -> CannotTell | None:
    """The answer where there are fewer places than a fit needs."""
    count = len({x for x, _ in points})
    there = {0: "there are none", 1: "there is 1"}.get(count, f"there are {count}")
    return (
        CannotTell(f"a fit needs at least {least} points with a result{where}, here {there}") if count < least else None
    )


def values_of(points: Sequence[Point]) -> tuple[Floats, Floats]:
    """Place and value of each point: an exact count, else the geometric mean of its readings."""
    return np.array([x for x, _ in points], dtype=np.float64), np.array([_value(y) for _, y in points])


def counts_of(points: Sequence[Point]) -> Floats:
    """Readings behind each y."""
    return np.array([len(y.readings) for _, y in points], dtype=np.float64)


def _value(y: Estimate) -> float:
    return y.value if is_exact(y) else float(np.exp(np.log(y.readings).mean()))


def _line(points: Sequence[Point], xs: Floats, ys: Floats, *, errors: Floats) -> Fit:
    """Least squares of `ys` on `xs`; `errors` is what a relative error of 1 in a reading adds to each y."""
    centred = xs - xs.mean()
    weights = centred / (centred @ centred)
    noise = Noise.of_points([y for _, y in points])
    leverage = 0.0 if noise.exact else float(((weights * errors) ** 2 / counts_of(points)).sum())
    found = estimate(points, float(weights @ ys), noise, leverage)
    return Fit(found, tuple(x for x, _ in points), noise, leverage)


def estimate(points: Sequence[Point], value: float, noise: Noise, leverage: float) -> Estimate:
    """A number computed from points, with its 95 % interval by the noise of all of them."""
    n_samples, n_processes = sum(y.n_samples for _, y in points), sum(y.n_processes for _, y in points)
    if not noise.is_known:
        return Estimate(value, None, "one process at each point", n_samples, n_processes)
    reach = noise.reach * leverage**0.5
    interval = Interval(value - reach, value + reach, "exact" if noise.exact else "95 %")
    return Estimate(value, interval, None, n_samples, n_processes)


def ratio(numerator: Fit, denominator: Fit) -> Estimate | CannotTell:
    """One slope as a fraction of another, which must be positive beyond its own interval.

    The interval is Fieller's (1954): all ratios r for which `numerator - r * denominator` is within its noise of zero.
    """
    above, below = numerator.slope, denominator.slope
    n_samples, n_processes = above.n_samples + below.n_samples, above.n_processes + below.n_processes
    known = numerator.noise.is_known and denominator.noise.is_known
    noise = numerator.noise.and_of(denominator.noise)
    reach = noise.reach if known else 0.0
    certain = below.value**2 - reach**2 * denominator.leverage
    if below.value <= 0 or certain <= 0:
        return CannotTell("the slope compared with is not clearly above zero")
    value = above.value / below.value
    if not known:
        return Estimate(value, None, "one process at each point", n_samples, n_processes)
    if noise.exact:
        return Estimate(value, Interval(value, value, "exact"), None, n_samples, n_processes)
    centre = above.value * below.value / certain
    root = (centre**2 - (above.value**2 - reach**2 * numerator.leverage) / certain) ** 0.5
    return Estimate(value, Interval(centre - root, centre + root, "95 %"), None, n_samples, n_processes)
