"""What a step is made of, fitted: planted prices are found, and held-out errors are what they are said to be."""

import itertools
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch

from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.ledger import predicted
from ablations.harness.measurement import Ledger
from ablations.report.statistics import CannotTell, Floats
from ablations.report.what_if.features import Feature, memory_features, time_features
from ablations.report.what_if.fit import (
    LEAST_CONFIGURATIONS,
    LEAST_FOR_QUANTILES,
    Fit,
    Measured,
    bounds_of,
    expected_share,
    fit,
)
from ablations.report.what_if.least_squares import distinct, nonnegative
from ablations.report.what_if.sizes import PARAMETERS, STATE_BYTES, monomial, sizes_of, times, value
from reformer import ReformerLM
from reformer.config import CONTROLS, VARIANTS, Residual
from tests.harness.cells import cell, config

KINDS = ("dense", "dense_query_chunked", "dense_fused", "local", "lsh")
ODD: dict[str, Any] = {"vocab_size": 900, "d_model": 104, "n_heads": 3, "d_head": 24, "d_ff": 300, "n_layers": 3}


def peak_cell(variant: str, mode: str, *, length: int = 256, **changes: Any) -> Cell:  # noqa: ANN401
    workload = PeakMemory.model_validate({"mode": mode})
    return cell(variant, length=length, config=config(variant, length=length, **changes), workload=workload)


def drawn_sizes(count: int, *, seed: int = 0) -> list[dict[str, int]]:
    """Configurations in which every size varies, each for itself."""
    generator = np.random.default_rng(seed)
    choices = {
        "d_model": (64, 128, 512),
        "n_heads": (1, 2, 8),
        "d_head": (16, 64, 96),
        "d_ff": (128, 1024, 4096),
        "n_layers": (1, 3, 12),
        "vocab_size": (256, 4000, 32000),
        "batch": (1, 3, 8),
        "length": (512, 2048, 16384),
        "n_hashes": (1, 4, 8),
        "chunk_len": (32, 64, 128),
        "query_chunk_len": (64, 128, 256),
        "loss_chunk_len": (256, 1024),
        "updates": (0, 1),
        "projections": (3,),
    }
    return [{name: int(generator.choice(values)) for name, values in choices.items()} for _ in range(count)]


def planted(features: Sequence[Feature], prices: Sequence[float], sizes: Sequence[dict[str, int]]) -> list[Measured]:
    return [
        Measured(sizes=one, value=sum(price * value(f.amount, one) for price, f in zip(prices, features, strict=True)))
        for one in sizes
    ]


def fitted(features: Sequence[Feature], measured: Sequence[Measured]) -> Fit:
    found = fit(features, measured)
    assert isinstance(found, Fit)
    return found


def line(*changes: float, least: float = 0.0) -> tuple[tuple[Feature, ...], list[Measured]]:
    """A constant and a multiple of the length, 1 + 3 L, each point changed by a factor."""
    features = (
        Feature(name="once", amount=(monomial(1),)),
        Feature(name="each", amount=(monomial(1, "length"),), least_price=least),
    )
    lengths = [2**exponent for exponent in range(len(changes))]
    return features, [
        Measured(sizes={"length": length}, value=change * (1 + 3 * length))
        for length, change in zip(lengths, changes, strict=True)
    ]


def test_a_polynomial_is_the_sum_of_its_products() -> None:
    sizes = {"batch": 2, "length": 7, "loss_chunk_len": 5}
    polynomial = (monomial(0.5, "batch length length"), monomial(3), monomial(1, "loss_positions"))
    assert value(polynomial, sizes) == 0.5 * 2 * 7 * 7 + 3 + min(7, 5)
    assert value(times(polynomial, 2, "batch"), sizes) == 2 * 2 * value(polynomial, sizes)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mode", ["forward_backward", "training_step"])
def test_the_state_counted_is_that_of_the_ledger(variant: str, mode: str) -> None:
    one = peak_cell(variant, mode, **ODD)
    ledger = predicted(one)
    assert isinstance(ledger, Ledger)
    assert value(STATE_BYTES, sizes_of(one)) == ledger.parameters + ledger.gradients + ledger.optimiser


@pytest.mark.parametrize("variant", [*VARIANTS, *CONTROLS])
def test_the_parameters_counted_are_those_of_the_model(variant: str) -> None:
    one = peak_cell(variant, "training_step", length=48, **ODD)
    model = ReformerLM(one.config, torch.Generator())
    assert value(PARAMETERS, sizes_of(one)) == sum(parameter.numel() for parameter in model.parameters())


def best_of_all_subsets(matrix: Floats, target: Floats) -> float:
    """The least sum of squares that non-negative coefficients reach, by trying which of them are above zero."""
    least = float(target @ target)
    columns = range(matrix.shape[1])
    for some in itertools.chain.from_iterable(itertools.combinations(columns, n) for n in range(1, len(columns) + 1)):
        found = np.linalg.lstsq(matrix[:, some], target, rcond=None)[0]
        if (found >= 0).all():
            least = min(least, float(((matrix[:, some] @ found - target) ** 2).sum()))
    return least


@pytest.mark.parametrize("seed", range(30))
def test_non_negative_least_squares_is_as_good_as_the_best_of_all_subsets(seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.random((9, 5)) * 10.0 ** generator.integers(-6, 6, size=5)
    target = generator.normal(size=9)
    found = nonnegative(matrix, target)
    assert (found >= 0).all()
    assert ((matrix @ found - target) ** 2).sum() == pytest.approx(best_of_all_subsets(matrix, target), rel=1e-9)


def test_of_columns_that_are_multiples_the_first_is_kept_and_zeros_are_not() -> None:
    matrix = np.asarray([[1.0, 2.0, 0.0, 1.0], [2.0, 4.0, 0.0, 1.0], [3.0, 6.0, 0.0, 1.0]])
    assert distinct(matrix) == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("residual", get_args(Residual))
def test_planted_prices_of_memory_are_found(kind: str, residual: Residual) -> None:
    features = memory_features(kind, residual)
    prices = [0.5 + place for place in range(len(features))]
    found = fitted(features, planted(features, prices, drawn_sizes(40)))
    assert [term.price for term in found.terms] == pytest.approx(prices, rel=1e-4)
    assert found.worst < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_planted_prices_of_time_are_found(kind: str) -> None:
    features = time_features(kind, None)
    prices = [2e-11, 3e-11, 4e-3, 2e-9, 3e-8, 5e-9, 0.02]
    sizes = drawn_sizes(80)
    found = fitted(features, planted(features, prices, sizes))
    elsewhere = drawn_sizes(20, seed=1)
    expected = planted(features, prices, elsewhere)
    assert [found.at(one) for one in elsewhere] == pytest.approx([one.value for one in expected], rel=1e-5)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_fit_is_the_same_in_whatever_order_its_sums_are_taken(seed: int) -> None:
    features = time_features("lsh", None)
    configurations = planted(features, [2e-11, 3e-11, 4e-3, 2e-9, 3e-8, 5e-9, 0.02], drawn_sizes(80, seed=seed))
    generator = np.random.default_rng(seed)
    noisy = [Measured(sizes=one.sizes, value=one.value * generator.uniform(0.9, 1.1)) for one in configurations]
    one, other = fitted(features, noisy), fitted(features, noisy[::-1])
    assert one.polynomial == other.polynomial
    assert one.bounds == other.bounds


def test_what_did_not_vary_has_no_price_of_its_own() -> None:
    features = memory_features("dense", "standard")
    sizes = [{**drawn_sizes(1)[0], "length": 512 * 2**n, "n_layers": 2} for n in range(6)]
    found = fitted(features, planted(features, [1.0] * len(features), sizes))
    assert len(found.terms) < len(features)
    assert found.ranges["n_layers"] == (2, 2)
    assert found.ranges["length"] == (512, 512 * 2**5)


def test_a_fit_of_exact_values_is_off_none_that_it_was_not_shown() -> None:
    found = fitted(*line(*[1.0] * 9))
    assert found.ratios == pytest.approx([1.0] * 9)
    assert found.bounds is not None
    assert (found.bounds.low, found.bounds.high) == pytest.approx((1, 1))


def test_a_size_that_is_unlike_the_others_is_off_by_what_it_differs() -> None:
    found = fitted(*line(1, 1, 1, 1, 2, 1))
    assert found.ratios[4] == pytest.approx(2)
    assert found.bounds is not None
    assert found.bounds.high == pytest.approx(2)
    assert found.bounds.kind == "whole range of 6 held out, about 71 %"


def test_held_out_ratios_are_those_of_fits_done_one_by_one() -> None:
    features, measured = line(1.1, 0.9, 1.05, 0.98, 1.02, 1.01, 0.97, 1.03)
    found = fitted(features, measured)
    for place, one in enumerate(measured):
        others = [other for other in measured if other != one]
        rows = np.asarray([[1 / other.value, other.sizes["length"] / other.value] for other in others])
        once, each = np.linalg.lstsq(rows, np.ones(len(others)), rcond=None)[0]
        assert min(once, each) > 0
        assert found.ratios[place] == pytest.approx(one.value / (once + each * one.sizes["length"]))


def test_of_enough_sizes_the_interval_lies_between_quantiles() -> None:
    ratios = [0.5 + place / 100 for place in range(101)]
    bounds = bounds_of(ratios, 101)
    assert bounds is not None
    # Of 101 in a row the places 2.5 % and 97.5 % of the way from before the first to behind the last.
    assert (bounds.low, bounds.high) == pytest.approx((0.49 + 0.025 * 1.02, 0.49 + 0.975 * 1.02))
    assert bounds.kind == "2.5 % to 97.5 % of 101 held out, about 95 %"


@pytest.mark.parametrize("n_sizes", [8, 39, 40, 100])
def test_an_interval_holds_the_share_of_further_values_that_it_says(n_sizes: int) -> None:
    generator = np.random.default_rng(n_sizes)
    held = []
    for _ in range(2000):
        *known, further = np.exp(generator.normal(size=n_sizes + 1)).tolist()
        bounds = bounds_of(known, n_sizes)
        assert bounds is not None
        held.append(bounds.low <= further <= bounds.high)
    assert np.mean(held) == pytest.approx(expected_share(n_sizes), abs=0.03)


def test_below_forty_sizes_no_value_held_out_lies_outside_the_interval() -> None:
    ratios = [0.9, 1.3, *[1.0] * (LEAST_FOR_QUANTILES - 3)]
    bounds = bounds_of(ratios, len(ratios))
    assert bounds is not None
    assert (bounds.low, bounds.high) == (0.9, 1.3)


def test_a_step_with_an_update_and_one_without_count_as_one_size_held_out() -> None:
    features, measured = line(1, 1.1, 0.9, 1, 1)
    both = [
        Measured(sizes={**one.sizes, "updates": updates}, value=one.value) for one in measured for updates in (0, 1)
    ]
    bounds = fitted(features, both).bounds
    assert bounds is not None
    assert bounds.kind == "whole range of 5 held out, about 67 %"


def test_an_interval_contains_the_prediction_even_if_all_lie_above() -> None:
    bounds = bounds_of([1.2, 1.3, 1.4, 1.5], 4)
    assert bounds is not None
    assert (bounds.low, bounds.high) == (1.0, 1.5)


def test_a_size_that_the_others_predict_nothing_for_leaves_no_interval_and_says_so() -> None:
    features = (
        Feature(name="updates", amount=(monomial(1, "updates length"),)),
        Feature(name="rounds", amount=(monomial(1, "n_hashes"),)),
    )
    sizes = [{"length": n, "updates": 1, "n_hashes": 0} for n in (1, 2, 3)] + [
        {"length": 9, "updates": 0, "n_hashes": 1}
    ]
    found = fitted(features, planted(features, (2.0, 5.0), sizes))
    assert found.bounds is None
    assert found.no_interval == "without one of the measured sizes the fit predicts nothing there"


def test_a_step_with_an_update_does_not_vouch_for_one_of_the_same_size_without() -> None:
    features, measured = line(1, 1, 1, 2, 1)
    both = [
        Measured(sizes={**one.sizes, "updates": updates}, value=one.value) for one in measured for updates in (0, 1)
    ]
    alone, paired = fitted(features, measured), fitted(features, both)
    assert paired.ratios == pytest.approx([ratio for ratio in alone.ratios for _ in range(2)])


def test_too_few_sizes_are_not_fitted_however_many_modes_they_have() -> None:
    features, measured = line(*[1.0] * (LEAST_CONFIGURATIONS - 1))
    both = [Measured(sizes={**one.sizes, "updates": n}, value=one.value) for one in measured for n in (0, 1)]
    assert fit(features, both) == CannotTell("measured at 3 of the 4 sizes that a fit needs")
    assert isinstance(fit(*line(*[1.0] * LEAST_CONFIGURATIONS)), Fit)


def test_no_price_falls_below_its_least() -> None:
    features, measured = line(1, 1, 1, 1, 1, least=4.0)
    found = {term.feature.name: term.price for term in fitted(features, measured).terms}
    assert found["each"] == 4.0
    free = {term.feature.name: term.price for term in fitted(*line(1, 1, 1, 1, 1, least=2.0)).terms}
    assert free["each"] == pytest.approx(3.0)


def test_linear_maps_are_not_cheaper_than_the_fastest_product() -> None:
    assert time_features("dense", 5e10)[0].least_price == 1 / 5e10
