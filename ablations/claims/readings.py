"""Numbers read off measurements, and what they make across groups, seed by seed.

What is compared is read under one seed on both sides, and the interval is over seeds: what a seed does to both sides
cancels.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

import numpy as np

from ablations.claims.evidence import NoEvidenceError
from ablations.harness.measurement import (
    ConditionResult,
    Discrepancy,
    LearningCurve,
    Measurement,
    PeakBytes,
    StepTimes,
)
from ablations.report.groups import Group, samples
from ablations.report.lines import LEAST_POINTS, Point
from ablations.report.statistics import CannotTell, Estimate, is_exact, mean_of, of_readings, over_processes

Kind = TypeVar("Kind", StepTimes, PeakBytes, LearningCurve, Discrepancy)
Read = Callable[[Measurement], float]
Combine = Callable[[Sequence[float]], float]


def seconds(measurement: Measurement) -> float:
    """Of a step."""
    return median(samples(expect(measurement, StepTimes)))


def peak(measurement: Measurement) -> float:
    """Bytes of a step's peak, above parameters and gradients."""
    return expect(measurement, PeakBytes).peak_bytes


def whole_peak(measurement: Measurement) -> float:
    """Bytes of a step's peak, parameters and gradients among them."""
    found = expect(measurement, PeakBytes)
    return found.peak_bytes + found.parameter_bytes + found.gradient_bytes


def bits(measurement: Measurement) -> float:
    """Held-out bits per token after the last step."""
    curve = expect(measurement, LearningCurve)
    if not curve.evaluations:
        raise NoEvidenceError("a training run ended before its first evaluation")
    return curve.evaluations[-1].bits_per_token


def mean_bits(measurement: Measurement) -> float:
    """Held-out bits per token, mean over the evaluations along the way: less for what learns faster."""
    bits(measurement)
    evaluations = expect(measurement, LearningCurve).evaluations
    return sum(one.bits_per_token for one in evaluations) / len(evaluations)


def bits_under(condition: str) -> Read:
    """Held-out bits per token of the trained model under a condition."""
    return lambda measurement: _under(measurement, condition).bits_per_token


def accuracy_under(condition: str) -> Read:
    """Share of right predictions of the trained model under a condition."""

    def read(measurement: Measurement) -> float:
        found = _under(measurement, condition).accuracy
        if found is None:
            raise NoEvidenceError(f"no accuracy was counted under the condition {condition}")
        return found

    return read


def bleu(measurement: Measurement) -> float:
    """Of the translated test part."""
    found = expect(measurement, LearningCurve).translations
    if found is None:
        raise NoEvidenceError("nothing was translated")
    return found.bleu


def trained_numbers(measurement: Measurement) -> float:
    """How many parameters a training run trains."""
    curve = expect(measurement, LearningCurve)
    if curve.n_parameters is None:
        raise NoEvidenceError(f"parameters were not counted: {curve.peak_missing}")
    return curve.n_parameters


def counted_numbers(measurement: Measurement) -> float:
    """How many parameters the model of a check on exactness has."""
    return expect(measurement, Discrepancy).n_parameters


def expect(measurement: Measurement, kind: type[Kind]) -> Kind:
    """The measurement, which is of that kind."""
    if not isinstance(measurement, kind):
        raise NoEvidenceError(f"a measurement of kind {measurement.kind!r} does not tell")
    return measurement


def _under(measurement: Measurement, condition: str) -> ConditionResult:
    curve = expect(measurement, LearningCurve)
    found = next((one for one in curve.conditions if one.condition == condition), None)
    if found is None:
        raise NoEvidenceError(f"no trained model was evaluated under the condition {condition}")
    return found


def by_seed(group: Group, read: Read) -> Mapping[int, float]:
    """What is read off each measurement of the group."""
    found = ((one.cell.seed, one.record.measurement) for one in group.attempts if one.record)
    return {seed: read(measurement) for seed, measurement in found if measurement is not None}


def across(groups: Sequence[Group], read: Read | Sequence[Read], combine: Combine) -> Estimate | CannotTell:
    """One number from one reading of each group, for every seed that measured them all.

    Args:
        groups: In the order in which `combine` takes their readings.
        read: What is read; if several, one for each group.
        combine: The number.

    Returns:
        Exact counts stay exact where seeds agree. Else the mean over seeds with Student's t.
    """
    reads = [read] * len(groups) if callable(read) else read
    readings = [by_seed(group, one) for group, one in zip(groups, reads, strict=True)]
    seeds = sorted(set.intersection(*map(set, readings)))
    if not seeds:
        return CannotTell("no seed measured all that is compared")
    numbers = [combine([reading[seed] for reading in readings]) for seed in seeds]
    if all(is_counted(group) for group in groups) and len(set(numbers)) == 1:
        return of_readings(numbers, exact=True)
    return mean_of(numbers)


def is_counted(group: Group) -> bool:
    """Whether its readings are counts without error: bytes by the allocator's events."""
    return bool(group.peaks) and all(one.method == "profiler_allocation_events" for one in group.peaks)


def ratio(one: Group, other: Group, read: Read) -> Estimate | CannotTell:
    """The one's reading over the other's, over seeds: Student's t on logarithms, as ratios have it."""
    found = across((one, other), read, lambda pair: pair[0] / pair[1])
    return found if isinstance(found, CannotTell) or is_exact(found) else over_processes(found.readings)


def difference(one: Group, other: Group, read: Read | Sequence[Read]) -> Estimate | CannotTell:
    """By how much the one's reading exceeds the other's, over seeds."""
    return across((one, other), read, lambda pair: pair[0] - pair[1])


def points(groups: Sequence[Group], axis: str) -> list[Point]:
    """Place and estimate of each group, for fits."""
    found = ((group.settings.get(axis), group.estimate) for group in groups)
    return [(float(x), y) for x, y in found if y is not None and isinstance(x, int | float)]


def slope_share(one: Sequence[Group], other: Sequence[Group], axis: str, read: Read) -> Estimate | CannotTell:
    """The one's slope along an axis as a share of the other's, over the places that both have.

    Slopes over different places are no pair, and nothing is a share of what does not rise.
    """
    sides = [{group.settings.get(axis): group for group in groups} for groups in (one, other)]
    places = sorted(float(x) for x in sides[0].keys() & sides[1].keys() if isinstance(x, int | float))
    if len(places) < LEAST_POINTS:
        return CannotTell(f"a slope needs at least {LEAST_POINTS} places, both have a result at {len(places)}")
    groups = [side[x] for side in sides for x in places]
    below = across(groups, read, lambda ys: _slopes(places, ys)[1])
    if isinstance(below, CannotTell) or min(below.readings) <= 0:
        return CannotTell("what it is compared with does not rise")
    return across(groups, read, lambda ys: _slopes(places, ys)[0] / _slopes(places, ys)[1])


def _slopes(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Of two lines over the same places, one after the other; exactly 0 of equal counts."""
    centred = np.asarray(xs) - np.mean(xs)
    sides = (np.asarray(ys[: len(xs)]), np.asarray(ys[len(xs) :]))
    one, other = (float(centred @ (side - side.mean()) / (centred @ centred)) for side in sides)
    return one, other


def spread(group: Group, read: Read) -> float | None:
    """Standard deviation over seeds; `None` of a single one."""
    readings = list(by_seed(group, read).values())
    return float(np.std(readings, ddof=1)) if len(readings) > 1 else None
