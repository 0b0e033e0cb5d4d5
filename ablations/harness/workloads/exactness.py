"""How far two ways to compute the same thing lie apart."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self, assert_never

import torch
from torch import Tensor

from ablations.harness.cell import Cell, Exactness
from ablations.harness.errors import UnsupportedError
from ablations.harness.implementations.inputs import tokens
from ablations.harness.implementations.ours import build_model
from ablations.harness.measurement import Discrepancy
from reformer.blocks import Call
from reformer.config import ReformerConfig
from reformer.model import ReformerLM
from reformer.randomness import derived_seed
from reformer.residual import summing
from reformer.reversible import Layer, Streams, plain_sequence, run_half


def measure_exactness(cell: Cell, workload: Exactness) -> Discrepancy:
    """Compute both, and compare.

    Raises:
        RuntimeError: What was compared is not finite.
        UnsupportedError: There is only one way to compute the cell's model.
    """
    if (cell.scope, cell.implementation) != ("model", "ours"):
        raise UnsupportedError("exactness is checked of whole models of this project only")
    match workload.check:
        case "inversion":
            return _inversion(cell)
        case "chunking":
            return _chunking(cell)
        case "parameters":
            return _discrepancy((), (), model=build_model(cell))
        case _:
            assert_never(workload.check)


def _inversion(cell: Cell) -> Discrepancy:
    """Both streams before the first layer, and what undoing all layers makes of those after the last one."""
    if cell.config.residual != "reversible":
        raise UnsupportedError(f"residual={cell.config.residual!r} keeps activations and undoes no layer")
    model = build_model(cell).train()
    trunk, (token_BL, _) = model.trunk, tokens(cell)
    call = Call(derived_seed(cell.seed, "call"), trunk.training)
    layers = [block.bound(call, None) for block in trunk.layers]
    found: list[Discrepancy] = []

    def there_and_back(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
        rebuilt = undone(layers, *plain_sequence(layers, x1_BLD, x2_BLD))
        # Within the sequence: with a grid, these are what was rounded to it.
        found.append(_discrepancy(rebuilt, (x1_BLD, x2_BLD), model=model))
        return rebuilt

    with torch.no_grad():
        x_BLD = trunk.embedded(token_BL, torch.arange(cell.length, device=token_BL.device))
        summing(cell.config, there_and_back)(layers, x_BLD, x_BLD)
    return found[0]


def undone(layers: Sequence[Layer], y1_BLD: Tensor, y2_BLD: Tensor) -> Streams:
    """Both streams before the first layer, from those after the last one (paper, equation 8)."""
    for layer in reversed(layers):
        for half in reversed(layer):
            y1_BLD, y2_BLD = y2_BLD - run_half(half, y1_BLD), y1_BLD
    return y1_BLD, y2_BLD


def _chunking(cell: Cell) -> Discrepancy:
    """Loss and all gradients, with the feed-forward half in chunks and in one piece, of the same weights."""
    if cell.config.ff_chunk_len is None:
        raise UnsupportedError("ff_chunk_len=None takes the feed-forward half in one piece: there are no chunks")
    whole = ReformerConfig(**dict(cell.config) | {"ff_chunk_len": None})
    chunked, unchunked = build_model(cell), build_model(cell.model_copy(update={"config": whole}))
    of_batch = partial(_loss_and_gradients, cell=cell)
    return _discrepancy(of_batch(chunked), of_batch(unchunked), model=chunked)


def _loss_and_gradients(model: ReformerLM, *, cell: Cell) -> tuple[Tensor, ...]:
    token_BL, target_BL = tokens(cell)
    loss = model.train().loss(token_BL, target_BL, seed=derived_seed(cell.seed, "call"))
    return (loss.detach(), *torch.autograd.grad(loss, tuple(model.parameters())))


def _discrepancy(found: Sequence[Tensor], expected: Sequence[Tensor], *, model: ReformerLM) -> Discrepancy:
    differences = _Size.of([one.double() - other.double() for one, other in zip(found, expected, strict=True)])
    values = _Size.of([other.double() for other in expected])
    if not math.isfinite(differences.norm):
        raise RuntimeError("what was compared is not finite")
    return Discrepancy(
        largest_difference=differences.largest,
        largest_value=values.largest,
        relative_difference=differences.norm / (values.norm or 1.0),
        n_compared=sum(one.numel() for one in expected),
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


class _Size(NamedTuple):
    """Of many numbers: the largest of their absolute values, and their norm."""

    largest: float
    norm: float

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Self:
        """Of all the tensors' numbers together; 0 of none."""
        largest = [float(tensor.abs().max()) for tensor in tensors]
        squares = [float(tensor.square().sum()) for tensor in tensors]
        return cls(max(largest, default=0.0), math.sqrt(sum(squares)))
