"""Planted steps are found, and none where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ablations.history.change_points import change_points

Floats = NDArray[np.float64]


def noisy(seed: int, *, count: int = 30, noise: float = 0.005) -> Floats:
    drawn: Floats = 1e7 * np.exp(noise * np.random.default_rng(seed).standard_normal(count))
    return drawn


@pytest.mark.parametrize("count", [10, 30, 60])
def test_of_200_series_of_pure_noise_at_most_two_have_a_step(count: int) -> None:
    assert sum(bool(change_points(noisy(seed, count=count, noise=0.01))) for seed in range(200)) <= 2


@pytest.mark.parametrize("factor", [1.03, 1 / 1.03])
@pytest.mark.parametrize("place", [8, 15, 22])
def test_a_step_of_three_per_cent_is_found_where_it_is(factor: float, place: int) -> None:
    found = 0
    for seed in range(100):
        values = noisy(seed)
        values[place:] *= factor
        points = change_points(values)
        found += len(points) == 1 and abs(points[0].index - place) <= 1
        assert all(abs(point.relative - (factor - 1)) < 0.01 for point in points if abs(point.index - place) <= 1)
    assert found >= 95


def test_two_steps_are_both_found_and_told_in_order() -> None:
    values = noisy(1, count=45, noise=0.003)
    values[15:] *= 1.05
    values[30:] *= 0.97
    up, down = change_points(values)
    assert (up.index, down.index) == (15, 30)
    assert up.relative == pytest.approx(0.05, abs=0.005)
    assert down.relative == pytest.approx(-0.03, abs=0.005)


@pytest.mark.parametrize("place", [0, 1, 12, 28, 29])
@pytest.mark.parametrize("factor", [1.2, 0.8])
def test_one_value_that_stands_out_is_no_step(place: int, factor: float) -> None:
    values = noisy(2)
    values[place] *= factor
    assert change_points(values) == ()


def test_the_scatter_of_counts_is_no_step_though_most_of_them_repeat() -> None:
    values = [10_000_000] * 12 + [10_001_000] * 12
    assert change_points(values) == ()


def test_counts_that_repeat_and_step_by_one_per_cent_do_step() -> None:
    (found,) = change_points([10_000_000] * 12 + [10_100_000] * 12)
    assert (found.index, round(found.relative, 6)) == (12, 0.01)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_short_a_series_says_nothing(count: int) -> None:
    assert change_points([1.0] * (count // 2) + [2.0] * (count - count // 2)) == ()
