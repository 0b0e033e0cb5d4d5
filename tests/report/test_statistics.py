"""Statistics against planted answers and against slower, plainer computations."""

import itertools

import numpy as np
import pytest

from ablations.report.statistics import (
    DRAWS,
    CannotTell,
    Estimate,
    Fit,
    Interval,
    exponent,
    median_of_medians,
    of_readings,
    per,
    ratio,
    slope,
)


def counts(xs: list[int], law: float, factor: float = 3.0) -> list[tuple[float, Estimate]]:
    return [(x, of_readings([factor * float(x) ** law], exact=True)) for x in xs]


def timings(xs: list[int], law: float, seed: int) -> list[tuple[float, Estimate]]:
    generator = np.random.default_rng(seed)
    return [
        (x, median_of_medians(1e-4 * x**law * np.exp(generator.normal(0, 0.05, size=(6, 11))), entropy=[seed, x]))
        for x in xs
    ]


def fitted(fit: Fit | CannotTell) -> Estimate:
    assert isinstance(fit, Fit), fit
    return fit.slope


def bounds(estimate: Estimate) -> Interval:
    assert estimate.interval is not None, estimate
    return estimate.interval


def test_a_planted_exponent_is_recovered_exactly_from_exact_counts() -> None:
    found = fitted(exponent(counts([512, 1024, 2048, 4096], 2.0)))
    assert found.value == pytest.approx(2.0, abs=1e-12)
    assert bounds(found) == Interval(found.value, found.value, "exact")


def test_a_planted_exponent_lies_in_the_interval_of_most_noisy_samples() -> None:
    found = [bounds(fitted(exponent(timings([256, 512, 1024, 2048], 1.7, seed)))) for seed in range(30)]
    hits = sum(one.low <= 1.7 <= one.high for one in found)
    assert hits >= 24
    assert all(one.high - one.low < 0.2 for one in found)


def test_an_exponent_uses_the_top_three_octaves_only() -> None:
    misleading = [(x, of_readings([7.0], exact=True)) for x in (32, 64, 255)]
    fit = exponent(misleading + counts([256, 512, 2048], 1.5))
    assert isinstance(fit, Fit)
    assert fit.xs == (256, 512, 2048)
    assert fit.slope.value == pytest.approx(1.5)


@pytest.mark.parametrize("xs", [[], [512], [512, 4096], [128, 1024, 2048], [512, 512, 1024]])
def test_fewer_than_three_places_in_the_top_octaves_cannot_tell(xs: list[int]) -> None:
    answer = exponent(counts(xs, 2.0))
    assert isinstance(answer, CannotTell)
    assert "at least 3" in answer.reason


def test_a_value_of_zero_has_no_exponent_but_a_slope() -> None:
    points = [(x, of_readings([x - 1.0], exact=True)) for x in (1, 2, 5)]
    assert isinstance(exponent(points), CannotTell)
    assert fitted(slope(points)).value == pytest.approx(1.0)


def test_a_slope_is_the_one_of_numpy_polyfit() -> None:
    xs, ys = [1.0, 2.0, 4.0, 8.0, 11.0], [3.0, 1.0, 9.0, 12.5, 40.0]
    points = [(x, of_readings([y], exact=True)) for x, y in zip(xs, ys, strict=True)]
    assert fitted(slope(points)).value == pytest.approx(np.polyfit(xs, ys, 1)[0])


def test_a_fit_counts_all_samples_and_processes_behind_it() -> None:
    found = fitted(slope(timings([1, 2, 3], 1.0, seed=5)))
    assert (found.n_samples, found.n_processes) == (3 * 6 * 11, 3 * 6)


def test_a_fit_through_a_point_without_interval_has_none_either() -> None:
    points = [*timings([1, 2, 3], 1.0, seed=5), (4, median_of_medians([[4e-4, 4.1e-4]], entropy=[1]))]
    found = fitted(slope(points))
    assert found.interval is None
    assert found.no_interval


def test_the_value_is_the_median_of_the_medians_not_of_the_pool() -> None:
    found = median_of_medians([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [5.0, 6.0, 7.0], [9.0]], entropy=[3])
    assert found.value == 6.0
    assert (found.n_samples, found.n_processes) == (11, 3)


def test_the_bootstrap_agrees_with_a_plain_loop() -> None:
    generator = np.random.default_rng(71)
    processes = [list(generator.lognormal(mean, 0.1, size=size)) for mean, size in ((0.0, 7), (0.1, 9), (0.25, 5))]
    fast = bounds(median_of_medians(processes, entropy=[13]))

    medians = []
    for _ in range(4000):
        drawn = [processes[generator.integers(3)] for _ in processes]
        medians.append(np.median([np.median(generator.choice(one, size=len(one))) for one in drawn]))
    low, high = np.percentile(medians, [2.5, 97.5])
    assert fast.low == pytest.approx(low, rel=0.02)
    assert fast.high == pytest.approx(high, rel=0.02)


def test_the_interval_contains_the_truth_of_most_planted_samples() -> None:
    hits = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        processes = [0.2 * np.exp(generator.normal(0, 0.1) + generator.normal(0, 0.05, size=9)) for _ in range(7)]
        interval = bounds(median_of_medians(processes, entropy=[seed]))
        hits += interval.low <= 0.2 <= interval.high
    assert 32 <= hits < 40


def test_processes_that_disagree_widen_the_interval_however_many_samples_they_have() -> None:
    generator = np.random.default_rng(2)
    apart = [list(generator.normal(centre, 0.001, size=200)) for centre in (1.0, 1.5, 2.0)]
    interval = bounds(median_of_medians(apart, entropy=[17]))
    assert interval.low < 1.1
    assert interval.high > 1.9


def test_samples_by_the_ten_thousand_are_resampled_too() -> None:
    many = np.random.default_rng(4).normal(3.0, 0.5, size=(2, 30_000))
    interval = bounds(median_of_medians(many, entropy=[23]))
    assert 2.97 < interval.low < interval.high < 3.03


def test_fewer_than_five_samples_have_no_interval_and_say_so() -> None:
    found = median_of_medians([[0.3, 0.5], [0.4, 0.6]], entropy=[1])
    assert found.interval is None
    assert found.no_interval == "too few samples (4)"
    assert median_of_medians([[0.3, 0.5], [0.4, 0.6, 0.7]], entropy=[1]).interval is not None


def test_the_same_entropy_draws_the_same_and_another_draws_otherwise() -> None:
    processes = [[0.31, 0.52, 0.47, 0.39], [0.44, 0.61, 0.58]]
    first, again, other = (median_of_medians(processes, entropy=[seed]).draws for seed in (5, 5, 6))
    assert first is not None
    assert again is not None
    assert other is not None
    assert len(first) == DRAWS
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_equal_exact_counts_are_exact_and_differing_ones_a_range() -> None:
    assert of_readings([42], exact=True).interval == Interval(42, 42, "exact")
    assert of_readings([42, 42], exact=True).interval == Interval(42, 42, "exact")
    assert of_readings([40, 44, 41], exact=True).interval == Interval(40, 44, "range")


def test_one_inexact_reading_has_no_interval_and_two_have_a_range() -> None:
    alone = of_readings([2.5], exact=False)
    assert alone.interval is None
    assert alone.no_interval == "one process"
    pair = of_readings([2.5, 2.7], exact=False)
    assert pair.value == pytest.approx(2.6)
    assert pair.interval == Interval(2.5, 2.7, "range")


def test_a_rate_turns_its_interval_around() -> None:
    seconds = of_readings([0.5, 0.8], exact=False)
    rate = per(40, seconds)
    assert rate.interval == Interval(50, 80, "range")
    assert rate.value == pytest.approx(40 / 0.65)


def test_a_ratio_of_planted_slopes_is_recovered_with_its_interval() -> None:
    small = fitted(slope([(x, per(1.0, per(0.25, y))) for x, y in timings([1, 2, 4, 8], 1.0, seed=3)]))
    large = fitted(slope(timings([1, 2, 4, 8], 1.0, seed=4)))
    share = ratio(large, small)
    assert isinstance(share, Estimate)
    assert bounds(share).low < 0.25 < bounds(share).high
    assert bounds(share).high - bounds(share).low < 0.1


def test_a_ratio_to_a_slope_that_may_be_zero_cannot_tell() -> None:
    generator = np.random.default_rng(9)
    flat = fitted(
        slope([(x, median_of_medians(generator.normal(1, 0.2, size=(3, 5)), entropy=[x])) for x in (1, 2, 3)])
    )
    assert isinstance(ratio(flat, flat), CannotTell)


def test_every_interval_contains_its_own_value() -> None:
    for seed, law in itertools.product(range(4), (0.5, 1.0, 2.0)):
        for _, estimate in timings([64, 128, 256], law, seed):
            assert bounds(estimate).low <= estimate.value <= bounds(estimate).high
