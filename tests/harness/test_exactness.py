"""What exactness finds: nothing where there is nothing to find, and what was planted."""

from collections.abc import Sequence
from typing import Literal

import pytest
import torch
from torch import Tensor

from ablations.harness.cell import Cell, Dtype, Exactness
from ablations.harness.errors import UnsupportedError
from ablations.harness.implementations.ours import build_model
from ablations.harness.measurement import Discrepancy
from ablations.harness.workloads import exactness
from reformer.blocks import BoundBranch
from reformer.config import LSHAttention
from reformer.feed_forward import FeedForward
from reformer.reversible import Layer, Streams, plain_sequence
from tests.harness.cells import cell, config

BATCH, LENGTH, LAYERS, WIDTH = 3, 40, 5, 12
GRID_BITS = 12

Check = Literal["inversion", "chunking", "parameters"]


def exact_cell(
    check: Check, variant: str = "reformer", *, dtype: Dtype = "float32", n_layers: int = LAYERS, **model: object
) -> Cell:
    fields: dict[str, object] = {"d_model": WIDTH, "n_heads": 2, "d_head": 7, "d_ff": 22, "n_layers": n_layers, **model}
    if variant in ("lsh_only", "reformer"):
        fields["attention"] = LSHAttention(n_hashes=2, chunk_len=8)
    return cell(
        variant,
        length=LENGTH,
        batch=BATCH,
        dtype=dtype,
        config=config(variant, length=LENGTH, **fields),
        workload=Exactness(check=check),
    )


def measured(one: Cell) -> Discrepancy:
    assert isinstance(one.workload, Exactness)
    return exactness.measure_exactness(one, one.workload)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", ["reversible_only", "reformer", "local_reversible"])
def test_on_a_grid_layers_are_undone_to_the_bit(variant: str, dtype: Dtype) -> None:
    found = measured(exact_cell("inversion", variant, dtype=dtype, grid_bits=GRID_BITS))
    assert found.largest_difference == found.relative_difference == 0
    assert found.largest_value > 0
    assert found.n_compared == 2 * BATCH * LENGTH * WIDTH


@pytest.mark.parametrize("variant", ["reversible_only", "reformer"])
def test_without_a_grid_rounding_is_left_and_more_of_it_the_deeper(variant: str) -> None:
    shallow, deep = (measured(exact_cell("inversion", variant, n_layers=depth)) for depth in (2, 16))
    assert 0 < shallow.relative_difference < deep.relative_difference < 1e-4


@pytest.mark.parametrize(("dtype", "narrow"), [("float32", False), ("bfloat16", True)])
def test_parameters_are_of_the_cell_s_type(dtype: Dtype, narrow: bool) -> None:
    largest = torch.tensor(measured(exact_cell("inversion", dtype=dtype)).largest_value)
    assert bool(largest.bfloat16().float() == largest) == narrow


@pytest.mark.parametrize("grid_bits", [None, GRID_BITS])
def test_a_weight_that_changes_between_the_passes_is_found(
    grid_bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = exact_cell("inversion", grid_bits=grid_bits)
    sound = measured(one)
    model = build_model(one)
    monkeypatch.setattr(exactness, "build_model", lambda _: model)

    def changing(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
        after = plain_sequence(layers, x1_BLD, x2_BLD)
        next(model.trunk.layers[3].feed_forward.parameters()).add_(0.5)
        return after

    monkeypatch.setattr(exactness, "plain_sequence", changing)
    assert measured(one).relative_difference > max(1e-2, 1000 * sound.relative_difference)


def test_layers_that_keep_their_activations_are_not_undone() -> None:
    with pytest.raises(UnsupportedError, match="residual='standard' keeps activations"):
        measured(exact_cell("inversion", "dense"))


@pytest.mark.parametrize("variant", ["dense", "reversible_only", "lsh_only", "reformer"])
def test_chunks_change_loss_and_gradients_by_rounding_only(variant: str) -> None:
    one = exact_cell("chunking", variant, ff_chunk_len=9)
    found = measured(one)
    assert found.largest_difference < 1e-6 < found.largest_value
    assert found.relative_difference < 1e-6
    assert found.n_compared == 1 + found.n_parameters


def test_a_chunk_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_last(self: FeedForward, length: int) -> tuple[slice, ...]:
        return (slice(0, length),) if self._chunk_len is None else (slice(0, length // 2), slice(length // 2, length))

    def forgetful(self: BoundBranch, x_BLD: Tensor, piece: slice, *context: Tensor) -> Tensor:
        out_BLD = sound(self, x_BLD, piece, *context)
        return out_BLD * (1.0 if piece.start == 0 else 0.0)

    sound = BoundBranch.__call__
    monkeypatch.setattr(FeedForward, "pieces", without_last)
    assert measured(exact_cell("chunking", ff_chunk_len=9)).relative_difference < 1e-6
    monkeypatch.setattr(BoundBranch, "__call__", forgetful)
    assert measured(exact_cell("chunking", ff_chunk_len=9)).relative_difference > 1e-2


def test_without_chunks_there_is_nothing_to_compare_them_with() -> None:
    with pytest.raises(UnsupportedError, match="ff_chunk_len=None"):
        measured(exact_cell("chunking"))


@pytest.mark.parametrize(
    ("variant", "projections"),
    [
        ("transformer", 4),
        ("reversible_separate_qk", 4),
        ("dense", 3),
        ("reversible_only", 3),
        ("lsh_only", 3),
        ("reformer", 3),
    ],
)
def test_parameters_are_counted_and_nothing_is_compared(variant: str, projections: int) -> None:
    norm, heads, hidden, vocabulary = 2 * WIDTH, 2 * 7, 22, 256
    layer = 2 * norm + projections * WIDTH * heads + 2 * WIDTH * hidden + hidden + WIDTH
    expected = vocabulary * WIDTH + LENGTH * WIDTH + LAYERS * layer + norm + (WIDTH + 1) * vocabulary
    found = measured(exact_cell("parameters", variant))
    assert found == Discrepancy(
        largest_difference=0.0, largest_value=0.0, relative_difference=0.0, n_compared=0, n_parameters=expected
    )


def test_what_is_not_finite_is_no_discrepancy(monkeypatch: pytest.MonkeyPatch) -> None:
    one = exact_cell("chunking", ff_chunk_len=9)
    broken = build_model(one)
    with torch.no_grad():
        broken.head.weight[0, 0] = torch.nan
    monkeypatch.setattr(exactness, "build_model", lambda _: broken)
    with pytest.raises(RuntimeError, match="not finite"):
        measured(one)


def test_only_whole_models_of_ours_are_checked() -> None:
    alone = exact_cell("parameters").model_copy(update={"scope": "attention"})
    with pytest.raises(UnsupportedError, match="whole models of this project"):
        measured(alone)
