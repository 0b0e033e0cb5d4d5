"""What must be less than what, whatever the committed file says."""

from itertools import product

import pytest

from ablations.harness.cell import Mode
from reformer.config import VARIANTS
from tests.performance.cells import DEEP, LAYERS, LENGTHS, attention, model
from tests.performance.counting import Counting

PAIRS = (("reversible_only", "dense"), ("reformer", "lsh_only"))
MODES: tuple[Mode, ...] = ("forward_backward", "training_step")


def growth_with_depth(counting: Counting, variant: str) -> float:
    """Of the bytes that are kept for the backward pass, per layer."""
    deep, shallow = (counting.of(model(variant, n_layers=layers))["saved_bytes"] for layers in (DEEP, LAYERS))
    return (deep - shallow) / (DEEP - LAYERS)


@pytest.mark.parametrize(("reversible", "standard"), PAIRS)
def test_what_reversible_layers_keep_does_not_grow_with_depth(
    reversible: str, standard: str, counting: Counting
) -> None:
    # Of LSH each layer keeps its buckets, small integers.
    assert growth_with_depth(counting, reversible) <= 0.01 * growth_with_depth(counting, standard)


def test_without_lsh_reversible_layers_keep_the_same_bytes_at_any_depth(counting: Counting) -> None:
    assert growth_with_depth(counting, "reversible_only") == 0 < growth_with_depth(counting, "dense")


@pytest.mark.parametrize(("pair", "length"), [*product(PAIRS, LENGTHS)])
def test_reversible_layers_peak_lower_and_keep_less(pair: tuple[str, str], length: int, counting: Counting) -> None:
    reversible, standard = (counting.of(model(variant, length=length)) for variant in pair)
    assert reversible["peak_bytes"] < standard["peak_bytes"]
    assert reversible["saved_bytes"] < 0.25 * standard["saved_bytes"]


@pytest.mark.parametrize("length", [length for length in LENGTHS if length >= 1024])
def test_lsh_attention_peaks_lower_than_materialised_dense_attention(length: int, counting: Counting) -> None:
    for lsh, dense in (("lsh_only", "dense"), ("reformer", "reversible_only")):
        least, most = (counting.of(model(variant, length=length))["peak_bytes"] for variant in (lsh, dense))
        assert least < 0.6 * most


@pytest.mark.parametrize(("reversible", "standard"), PAIRS)
def test_recomputation_costs_at_most_another_forward_pass(reversible: str, standard: str, counting: Counting) -> None:
    # A forward pass is a third of forward and backward; recomputed attention weights add less than a fifth.
    ratio = counting.of(model(reversible))["flops"] / counting.of(model(standard))["flops"]
    assert 1 < ratio <= 4 / 3


def test_dense_peaks_grow_with_the_square_of_the_length_and_those_of_lsh_no_faster_than_the_length(
    counting: Counting,
) -> None:
    found = {variant: counting.exponents([model(variant, length=length) for length in LENGTHS]) for variant in VARIANTS}
    for variant in ("dense", "reversible_only"):
        assert found[variant]["peak_bytes_exponent"] >= 1.8
    for variant in ("lsh_only", "reformer"):
        assert found[variant]["peak_bytes_exponent"] <= 1.05
        assert found[variant]["flops_exponent"] == pytest.approx(1, abs=0.05)
    assert found["lsh_only"]["saved_bytes_exponent"] == pytest.approx(1, abs=0.05)


def test_blocked_lsh_attention_keeps_and_peaks_below_the_eager_one(counting: Counting) -> None:
    blocked, eager = (counting.of(attention(backend)) for backend in ("blocked", "eager"))
    assert blocked["peak_bytes"] < eager["peak_bytes"]
    assert blocked["saved_bytes"] < 0.1 * eager["saved_bytes"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_of_adam_holds_two_more_numbers_per_parameter_and_peaks_no_higher(
    variant: str, counting: Counting
) -> None:
    plain, training = (counting.of(model(variant, mode=mode)) for mode in MODES)
    # Parameters and gradients are two, Adam's two moments two more, and its count of steps next to nothing.
    assert training["held_bytes"] == pytest.approx(2 * plain["held_bytes"], rel=0.001)
    assert training["peak_bytes"] == plain["peak_bytes"]


def test_a_decoded_token_takes_a_fraction_of_a_step_and_keeps_nothing(counting: Counting) -> None:
    decoded, step = counting.of(model("reformer", mode="decode")), counting.of(model("reformer"))
    assert decoded["saved_bytes"] == 0
    for name in ("peak_bytes", "flops"):
        assert decoded[name] < 0.02 * step[name]
