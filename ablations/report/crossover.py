"""Where one thing begins to be cheaper than another: the length at which the ratio of the two passes one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablations.report.noise import Noise
from ablations.report.statistics import CannotTell, Estimate, Floats, Interval

STEPS = 1000
"""Places looked at between two neighbouring lengths."""

Side = Literal["below", "above"]


@dataclass(frozen=True)
class Never:
    """At every measured length the ratio is on this side of one, beyond its noise."""

    side: Side


Crossover = Estimate | Never | CannotTell
"""The length, with its interval; or none within the measured ones; or no telling."""


def crossover(points: Sequence[tuple[float, Estimate]]) -> Crossover:
    """The length at which a ratio passes one, its logarithm interpolated over that of the length.

    The interval holds every length at which the interpolated ratio is within its noise of one: 95 % by the spread of
    rounds, pooled over lengths. Exact ratios leave open how they run between two lengths: these two are the range.

    Args:
        points: Lengths in ascending order, and at each of them the ratio, whose readings are one per round.
    """
    if len(points) < 2:
        return CannotTell(f"a crossing lies between two lengths, and both have a result at {len(points)}")
    noise = Noise.of_points([ratio for _, ratio in points])
    if not noise.is_known:
        return CannotTell("one round at each length")
    places, logs, errors = _between(points, noise)
    sides = np.where(np.abs(logs) <= errors, 0, np.sign(logs)).astype(int)
    decided = np.flatnonzero(sides)
    turns = np.flatnonzero(np.diff(sides[decided]))
    if turns.size > 1:
        return CannotTell("the ratio passes one more than once")
    if turns.size == 0:
        return _undecided(sides)
    last, first = decided[turns[0]], decided[turns[0] + 1]
    return _found(points, places[last : first + 1], logs[last : first + 1], exact=noise.exact)


def _between(points: Sequence[tuple[float, Estimate]], noise: Noise) -> tuple[Floats, Floats, Floats]:
    """Places on the axis of log length, the interpolated log of the ratio there, and 95 % of its error."""
    xs = np.log([x for x, _ in points])
    logs = np.array([np.log(ratio.readings).mean() for _, ratio in points])
    knots = noise.reach / np.sqrt([len(ratio.readings) for _, ratio in points])
    places = np.union1d(xs, np.concatenate([np.linspace(*ends, STEPS) for ends in itertools.pairwise(xs)]))
    left = np.clip(np.searchsorted(xs, places, side="right") - 1, 0, xs.size - 2)
    share = (places - xs[left]) / (xs[left + 1] - xs[left])
    return places, np.interp(places, xs, logs), np.hypot((1 - share) * knots[left], share * knots[left + 1])


def _undecided(sides: NDArray[np.int_]) -> Never | CannotTell:
    if (sides == 0).any():
        return CannotTell("the two are too close at some lengths to say which is less there, and do not part both ways")
    return Never("above" if sides[0] > 0 else "below")


def _found(points: Sequence[tuple[float, Estimate]], places: Floats, logs: Floats, *, exact: bool) -> Estimate:
    """The crossing within the only stretch on whose two ends the ratio is on different sides of one."""
    turns = np.flatnonzero(np.diff(np.sign(logs)))
    at = int(turns[turns.size // 2])
    value = float(np.exp(places[at] - logs[at] * (places[at + 1] - places[at]) / (logs[at + 1] - logs[at])))
    low, high = float(np.exp(places[0])), float(np.exp(places[-1]))
    if exact:
        low, high = max(x for x, _ in points if x <= value), min(x for x, _ in points if x >= value)
    n_samples, n_processes = sum(y.n_samples for _, y in points), sum(y.n_processes for _, y in points)
    return Estimate(value, Interval(low, high, "range" if exact else "95 %"), None, n_samples, n_processes)
