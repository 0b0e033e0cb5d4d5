"""Statistics against planted answers and against slower, plainer computations."""

import itertools
import math

import numpy as np
import pytest

from ablations.report.growth import Growth, growth
from ablations.report.lines import Fit, exponent, ratio, slope
from ablations.report.statistics import CannotTell, Estimate, Interval, median_of_medians, of_readings, per
from ablations.report.student import probability_within, t_quantile


def counts(xs: list[int], law: float, factor: float = 3.0) -> list[tuple[float, Estimate]]:
    return [(x, of_readings([factor * float(x) ** law], exact=True)) for x in xs]


def timings(xs: list[int], law: float, seed: int) -> list[tuple[float, Estimate]]:
    generator = np.random.default_rng(seed)
    return [(x, median_of_medians(1e-4 * x**law * np.exp(generator.normal(0, 0.05, size=(6, 11))))) for x in xs]


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


def test_a_fit_through_single_processes_has_no_interval_and_one_pair_of_them_gives_it_one() -> None:
    alone = [(x, median_of_medians([[1e-4 * x, 1.1e-4 * x]])) for x in (1, 2, 4)]
    found = fitted(slope(alone))
    assert found.interval is None
    assert found.no_interval == "one process at each point"
    pair = median_of_medians([[7e-4], [7.2e-4]])
    assert bounds(fitted(slope([*alone, (7, pair)]))).kind == "95 %"


def test_the_noise_of_a_line_is_that_of_all_its_points() -> None:
    generator = np.random.default_rng(6)
    readings = np.exp(generator.normal(0, 0.03, size=(4, 3))) * np.array([[2.0], [5.0], [7.0], [19.0]])
    found = bounds(
        fitted(exponent([(x, median_of_medians(row[:, None])) for x, row in zip((1, 2, 3, 7), readings, strict=True)]))
    )
    logs, xs = np.log(readings), np.log([1, 2, 3, 7])
    pooled = math.sqrt(sum(row.var() * 3 for row in logs) / 8)
    error = pooled / math.sqrt(3 * ((xs - xs.mean()) ** 2).sum())
    assert found.high - found.low == pytest.approx(2 * 2.306 * error, rel=1e-4)
    assert found.high + found.low == pytest.approx(2 * np.polyfit(xs, logs.mean(axis=1), 1)[0])


def test_a_power_beside_a_constant_is_recovered_exactly_from_exact_counts() -> None:
    xs = (256, 512, 1024, 2048, 4096)
    found = growth([(x, of_readings([3e5 + 2 * x**1.7], exact=True)) for x in xs])
    assert isinstance(found, Growth)
    assert found.power.value == pytest.approx(1.7, abs=1e-6)
    assert found.constant == pytest.approx(3e5, rel=1e-5)
    assert bounds(found.power).kind == "leave one out"
    assert bounds(found.power).high - bounds(found.power).low < 1e-6
    # The slope of logarithms takes the constant for slower growth.
    assert fitted(exponent([(x, of_readings([3e5 + 2 * x**1.7], exact=True)) for x in xs])).value < 1.5


def test_a_constant_below_zero_is_none() -> None:
    found = growth([(x, of_readings([x**1.5 - 3.0 * x], exact=True)) for x in (64, 128, 256, 512)])
    assert isinstance(found, Growth)
    assert found.constant == 0.0


def test_three_lengths_or_too_much_noise_cannot_tell_a_constant_from_a_power() -> None:
    few = growth(counts([512, 1024, 2048], 2.0))
    assert few == CannotTell("a fit needs at least 4 points with a result, here there are 3")
    generator = np.random.default_rng(8)
    noisy = growth(
        [(x, median_of_medians(x * np.exp(generator.normal(0, 0.4, size=(2, 1))))) for x in (512, 1024, 2048, 4096)]
    )
    assert isinstance(noisy, CannotTell)
    assert "cannot be told apart" in noisy.reason


@pytest.mark.parametrize("t", [0.3, 2.0, 5.0])
@pytest.mark.parametrize("degrees", [1, 2, 3, 6, 11])
def test_probabilities_of_t_are_the_area_under_its_density(degrees: int, t: float) -> None:
    xs = np.linspace(0, t, 100_001)
    density = (1 + xs**2 / degrees) ** (-(degrees + 1) / 2)
    scale = math.gamma((degrees + 1) / 2) / math.sqrt(degrees * math.pi) / math.gamma(degrees / 2)
    assert probability_within(t, degrees) == pytest.approx(2 * scale * np.trapezoid(density, xs), abs=1e-9)


def test_quantiles_of_t_are_those_of_the_tables() -> None:
    published = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 10: 2.228, 30: 2.042, 120: 1.980}
    assert {degrees: round(t_quantile(degrees), 3) for degrees in published} == published


def test_the_value_is_the_median_of_the_medians_not_of_the_pool() -> None:
    found = median_of_medians([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [5.0, 6.0, 7.0], [9.0]])
    assert found.value == 6.0
    assert (found.n_samples, found.n_processes) == (11, 3)


def test_processes_that_disagree_widen_the_interval_however_many_samples_they_have() -> None:
    generator = np.random.default_rng(2)
    apart = [list(generator.normal(centre, 0.001, size=200)) for centre in (1.0, 1.5, 2.0)]
    interval = bounds(median_of_medians(apart))
    assert interval.low < 1.1
    assert interval.high > 1.9


def test_one_process_has_no_interval_however_many_samples_it_took() -> None:
    found = median_of_medians([np.random.default_rng(4).normal(3.0, 0.5, size=30_000)])
    assert (found.interval, found.no_interval, found.n_samples) == (None, "one process", 30_000)


def test_one_long_step_in_each_of_three_processes_has_an_interval() -> None:
    assert bounds(median_of_medians([[0.3], [0.4], [0.35]])).kind == "95 %"


def test_an_interval_holds_the_value_that_it_stands_beside() -> None:
    lopsided = [[1.0]] * 5 + [[2.0]] * 4
    interval = bounds(median_of_medians(lopsided))
    assert interval.low == 1.0
    assert interval.high > 1.5


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
    small = slope([(x, per(1.0, per(0.25, y))) for x, y in timings([1, 2, 4, 8], 1.0, seed=3)])
    large = slope(timings([1, 2, 4, 8], 1.0, seed=4))
    assert isinstance(small, Fit)
    assert isinstance(large, Fit)
    share = ratio(large, small)
    assert isinstance(share, Estimate)
    assert bounds(share).low < 0.25 < bounds(share).high
    assert bounds(share).high - bounds(share).low < 0.1


def test_a_ratio_to_a_slope_that_may_be_zero_cannot_tell() -> None:
    generator = np.random.default_rng(9)
    flat = slope([(x, median_of_medians(generator.normal(1, 0.2, size=(3, 5)))) for x in (1, 2, 3)])
    assert isinstance(flat, Fit)
    assert isinstance(ratio(flat, flat), CannotTell)


def test_every_interval_contains_its_own_value() -> None:
    for seed, law in itertools.product(range(4), (0.5, 1.0, 2.0)):
        for _, estimate in timings([64, 128, 256], law, seed):
            assert bounds(estimate).low <= estimate.value <= bounds(estimate).high
