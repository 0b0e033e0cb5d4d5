"""Where a series steps: binary segmentation of its logarithms, judged by the noise of the series itself.

A part of the series is cut where the two sides' means differ most, in units of that difference's own standard error,
and both sides are looked at again; a cut counts if it lies above `STANDARD_ERRORS`. The noise is taken from the median
absolute difference of neighbours, which a few steps leave alone. One value that stands out from both its neighbours is
no step, and counts as their mean. Of series of pure noise, of 10 points or more, fewer than one in a hundred is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

STANDARD_ERRORS = 5.5
LEAST_POINTS = 10
"""Fewer tell too little of their noise."""
LEAST_SIDE = 3
"""A step lasts: until it has done so for as many values it may be chance."""
LEAST_NOISE = 5e-4
"""Relative: what counts of instructions scatter by; a series that happens to repeat is no more certain."""
GAUSSIAN = 0.6745 * 2**0.5
"""The median absolute difference of two draws with standard deviation 1."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChangePoint:
    """A step.

    Attributes:
        index: Of the first value after it.
        relative: By how much the values after it lie above those before, up to the next step on either side.
    """

    index: int
    relative: float


def change_points(values: Sequence[float] | Floats) -> tuple[ChangePoint, ...]:
    """All steps of a series of positive values, in order."""
    if len(values) < LEAST_POINTS:
        return ()
    logs = np.log(np.asarray(values, dtype=np.float64))
    noise = noise_of(logs)
    logs = _without_spikes(logs, STANDARD_ERRORS * noise)
    cuts = _cuts(logs, 0, noise)
    edges = [0, *cuts, len(values)]
    means = [logs[start:end].mean() for start, end in pairwise(edges)]
    return tuple(
        ChangePoint(cut, float(np.expm1(after - before)))
        for cut, (before, after) in zip(cuts, pairwise(means), strict=True)
    )


def noise_of(logs: Floats) -> float:
    """Standard deviation of one value about the level it is at."""
    differences = np.abs(np.diff(logs))
    return max(float(np.median(differences)) / GAUSSIAN, LEAST_NOISE)


def _without_spikes(logs: Floats, height: float) -> Floats:
    last = logs.size - 1
    before, after = logs[[1, *range(last)]], logs[[*range(1, last + 1), last - 1]]
    # At either end, the two values nearest to it.
    before[0], after[last] = logs[2], logs[last - 2]
    spike = (np.minimum(logs - before, logs - after) > height) | (np.maximum(logs - before, logs - after) < -height)
    return np.where(spike, (before + after) / 2, logs)


def _cuts(logs: Floats, start: int, noise: float) -> list[int]:
    """Indices of the first values after a step; `logs` begins at index `start` of the series."""
    if logs.size < 2 * LEAST_SIDE:
        return []
    places = np.arange(LEAST_SIDE, logs.size - LEAST_SIDE + 1)
    before = np.cumsum(logs)[places - 1] / places
    after = (logs.sum() - np.cumsum(logs)[places - 1]) / (logs.size - places)
    errors = noise * np.sqrt(1 / places + 1 / (logs.size - places))
    distances = np.abs(after - before) / errors
    best = int(np.argmax(distances))
    if distances[best] <= STANDARD_ERRORS:
        return []
    cut = int(places[best])
    return [*_cuts(logs[:cut], start, noise), start + cut, *_cuts(logs[cut:], start + cut, noise)]
