"""Whether something is better or worse, of each kind of workload."""

from statistics import median

import pytest

from ablations.compare.judge import Judgement, Limits, judge
from ablations.harness.cell import Cell, Exactness, KernelTimes
from ablations.harness.measurement import Discrepancy, KernelSeconds, KernelTime, LearningCurve, StepTimes
from ablations.harness.record import Record
from ablations.report.groups import Attempt, Group, groups_of
from tests.report import records

from .folders import SEEDS, Change, times_as_large, times_as_long, with_bits, with_measurement

TIME, _, MEMORY = records.STEP_WORKLOADS


def cells(workload: object, *, seeds: tuple[int, ...] = SEEDS, device: str = "cpu") -> tuple[Cell, ...]:
    return records.grid("depth", variants=("reformer",), workloads=(workload,), seeds=seeds, device=device)  # type: ignore[arg-type]


def group(measured: list[Record]) -> Group:
    (found,) = groups_of([Attempt(one.cell, one) for one in measured])
    return found


def judged(of: tuple[Cell, ...], *changes: Change, limits: Limits | None = None) -> Judgement:
    """B is A, but for the change of each seed."""
    before = [records.record(cell) for cell in of]
    after = [change(one) for change, one in zip(changes, before, strict=True)]
    return judge(group(before), group(after), limits or Limits())


def test_a_time_is_judged_by_the_median_over_seeds_of_ratios_of_medians() -> None:
    factors = (1.13, 1.15, 1.17, 1.18)
    found = judged(cells(TIME), *map(times_as_long, factors))
    assert (found.answer, found.n) == ("worse", 4)
    assert found.change == f"{median(factors):.3g} x" == "1.16 x"
    assert judged(cells(TIME), *(times_as_long(1 / factor) for factor in factors)).answer == "better"


@pytest.mark.parametrize(
    ("factors", "answer"),
    [
        ((1.0, 1.01, 0.99, 1.0), "same"),
        ((1.08, 1.07, 1.08, 1.09), "cannot tell"),
        ((1.0, 1.6, 0.7, 1.3), "cannot tell"),
    ],
)
def test_what_is_no_change_is_the_same_only_if_its_interval_is_narrow(factors: tuple[float, ...], answer: str) -> None:
    assert judged(cells(TIME), *map(times_as_long, factors)).answer == answer


def test_the_limit_of_times_can_be_set() -> None:
    changes = [times_as_long(factor) for factor in (1.059, 1.06, 1.061, 1.06)]
    assert judged(cells(TIME), *changes).answer == "cannot tell"
    assert judged(cells(TIME), *changes, limits=Limits(time=1.04)).answer == "worse"
    assert judged(cells(TIME), *changes, limits=Limits(time=1.2)).answer == "same"


def test_one_seed_has_a_ratio_and_no_verdict() -> None:
    found = judged(cells(TIME, seeds=(0,)), times_as_long(3.0))
    assert (found.answer, found.change, found.interval, found.n) == ("cannot tell", "3.00 x", "one process", 1)


def test_a_gpu_is_timed_by_its_own_clock() -> None:
    def on_the_wall_only(record: Record) -> Record:
        return times_as_long(2.0)(record)

    assert judged(cells(TIME, device="cuda"), *[on_the_wall_only] * 4).answer == "same"


@pytest.mark.parametrize(
    ("factors", "answer"),
    [
        ((1.02, 1.02), "worse"),
        ((1.005, 1.005), "same"),
        ((0.98, 0.98), "better"),
        # Counts without error: one seed is enough, and a gain at another does not make up for it.
        ((1.0, 1.02), "worse"),
        ((0.9, 1.02), "worse"),
        ((1.02,), "worse"),
        ((1.0,), "same"),
    ],
)
def test_peaks_on_a_cpu_are_exact_counts(factors: tuple[float, ...], answer: str) -> None:
    of = cells(MEMORY, seeds=tuple(range(len(factors))))
    assert judged(of, *map(times_as_large, factors)).answer == answer


@pytest.mark.parametrize(
    ("factors", "answer"),
    [((1.02, 1.03), "worse"), ((1.0, 1.02), "cannot tell"), ((1.0, 1.005), "same"), ((1.02,), "cannot tell")],
)
def test_peaks_on_a_gpu_are_judged_by_their_range(factors: tuple[float, ...], answer: str) -> None:
    of = cells(MEMORY, seeds=tuple(range(len(factors))), device="cuda")
    assert judged(of, *map(times_as_large, factors)).answer == answer


def learned(before: tuple[float, ...], after: tuple[float, ...]) -> Judgement:
    measured = [records.record(one) for one in cells(records.LEARN, seeds=tuple(range(len(before))))]
    sides = [[with_bits(bits)(one) for bits, one in zip(side, measured, strict=True)] for side in (before, after)]
    return judge(group(sides[0]), group(sides[1]), Limits())


@pytest.mark.parametrize(
    ("after", "answer"),
    [
        ((2.05, 2.55, 2.352), "worse"),
        ((1.95, 2.45, 2.252), "better"),
        ((2.001, 2.5, 2.3), "same"),
        ((2.0, 2.5, 2.4), "cannot tell"),
        # Clearly more, and yet no more than the limit allows.
        ((2.009, 2.509, 2.309), "same"),
    ],
)
def test_training_is_judged_by_the_differences_of_each_seed(after: tuple[float, ...], answer: str) -> None:
    assert learned((2.0, 2.5, 2.3), after).answer == answer


def test_one_seed_of_training_tells_nothing() -> None:
    assert learned((2.0,), (3.0,)).answer == "cannot tell"


def test_runs_that_ended_after_different_steps_are_not_compared() -> None:
    def cut(record: Record) -> Record:
        curve = record.measurement
        assert isinstance(curve, LearningCurve)
        return with_measurement(record, curve.model_copy(update={"evaluations": curve.evaluations[:-1]}))

    found = judged(cells(records.LEARN, seeds=(0, 1)), cut, lambda record: record)
    assert (found.answer, found.change) == ("cannot tell", "")
    assert found.reason == "training ended after step 60 in A, 50 in B"


def exactness(**changes: float) -> Change:
    def change(record: Record) -> Record:
        measured = record.measurement
        assert isinstance(measured, Discrepancy)
        return with_measurement(record, measured.model_copy(update=changes))

    return change


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"relative_difference": 3e-7}, "same"),
        ({"relative_difference": 5e-7}, "worse"),
        ({"relative_difference": 0.0}, "better"),
        ({"n_parameters": 123_457}, "worse"),
        ({"n_parameters": 123_455}, "better"),
    ],
)
def test_exactness_is_worse_where_the_difference_doubles_or_parameters_are_gained(
    changes: dict[str, float], answer: str
) -> None:
    assert judged(cells(Exactness(check="inversion"), seeds=(0,)), exactness(**changes)).answer == answer


def test_differences_below_the_rounding_of_a_float_are_none() -> None:
    (cell,) = cells(Exactness(check="inversion"), seeds=(0,))
    zero, tiny = (exactness(relative_difference=value)(records.record(cell)) for value in (0.0, 4e-8))
    assert judge(group([zero]), group([tiny]), Limits()).answer == "same"


def test_kernels_are_judged_by_what_they_take_together() -> None:
    of = cells(KernelTimes(mode="forward"), device="cuda")

    def lasting(seconds: float) -> Change:
        kernels = (KernelTime(name="a", calls=1, seconds=seconds), KernelTime(name="b", calls=1, seconds=2 * seconds))
        return lambda record: with_measurement(record, KernelSeconds(kernels=kernels, steps=10))

    before = group([lasting(1.0)(records.record(one)) for one in of])
    after = group([lasting(1.2 + one.seed / 1000)(records.record(one)) for one in of])
    found = judge(before, after, Limits())
    assert (found.answer, found.before, found.after) == ("worse", "300 ms", "360 ms")


def test_the_numbers_beside_a_verdict_are_those_of_each_side() -> None:
    of = cells(TIME)
    found = judged(of, *[times_as_long(2.0)] * 4)
    steps = [one.measurement for one in map(records.record, of)]
    usual = 1e3 * median(median(one.wall_seconds) for one in steps if isinstance(one, StepTimes))
    assert (found.before, found.after) == (f"{usual:.3g} ms", f"{2 * usual:.3g} ms")
