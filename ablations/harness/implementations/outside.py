"""Contenders of other packages, loaded in the cell's own process: what their import does stays in it.

What they draw from the stream of the process, which is theirs alone, is drawn anew in every step, as a peer's draws
are; weights are drawn under the cell's seed, and the stream shows no trace of that.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from ablations.harness.cell import OUTSIDE, Cell
from ablations.harness.contender import Contender, ContenderError, load
from ablations.harness.errors import UnsupportedError
from ablations.harness.implementations.inputs import drawn_alike, tokens, torch_dtype, vectors
from ablations.harness.trial import Trial
from reformer.randomness import derived_seed

Made = TypeVar("Made")


def attention_trial(cell: Cell) -> Trial:
    """The attention of one layer; gradients are those of its inputs, and of its parameters if it is a module."""
    make = _contender(cell).attention
    if make is None:
        raise UnsupportedError(f"contender {cell.contender} has no attention alone, only a model")
    *inputs, gradient = vectors(cell, 3 if cell.config.attentions[0].share_qk else 4)
    leaves = tuple(tensor.requires_grad_() for tensor in inputs)
    query, key, value = (leaves[0], *leaves) if len(leaves) == 2 else leaves
    attend = _on_device(_made(make, cell), cell)

    def output() -> Tensor:
        return _checked(attend(query, key, value), value.shape, value.dtype, "attention", cell)

    return Trial(
        output,
        drawn_alike(output, cell),
        gradient,
        (*leaves, *_parameters(attend)),
        value.device,
        cell.batch * cell.length,
        cell.batch,
    )


def model_trial(cell: Cell) -> Trial:
    """The whole language model, with the cross-entropy of all its logits."""
    make = _contender(cell).model
    if make is None:
        raise UnsupportedError(f"contender {cell.contender} has no whole model, only an attention")
    model, (token_BL, target_BL) = _on_device(_made(make, cell), cell), tokens(cell)
    if not isinstance(model, nn.Module):
        raise ContenderError(
            f"the model of contender {cell.contender} is no torch.nn.Module but a {type(model).__name__}"
        )
    shape, dtype = (*token_BL.shape, cell.config.vocab_size), torch_dtype(cell)

    def output() -> Tensor:
        logits_BLV = _checked(model(token_BL), shape, dtype, "model", cell)
        # In float32 as ours is: half precision holds so few digits that a step of training would leave the loss alone.
        return nn.functional.cross_entropy(logits_BLV.flatten(0, 1).float(), target_BL.flatten())

    return Trial(
        output,
        drawn_alike(output, cell),
        None,
        _parameters(model),
        token_BL.device,
        token_BL.numel(),
        cell.batch,
    )


def _contender(cell: Cell) -> Contender:
    return load(cell.implementation.removeprefix(OUTSIDE))


def _made(make: Callable[[Cell], Made], cell: Cell) -> Made:
    with torch.random.fork_rng(devices=[] if cell.device == "cpu" else [torch.cuda.current_device()]):
        torch.manual_seed(derived_seed(cell.seed, "weights"))
        return make(cell)


def _on_device(made: Made, cell: Cell) -> Made:
    return made.to(device=cell.device, dtype=torch_dtype(cell)) if isinstance(made, nn.Module) else made


def _parameters(made: object) -> tuple[Tensor, ...]:
    return tuple(one for one in made.parameters() if one.requires_grad) if isinstance(made, nn.Module) else ()


def _checked(out: object, shape: tuple[int, ...], dtype: torch.dtype, what: str, cell: Cell) -> Tensor:
    """What was returned, if it is what a contender has to return: asked of every call, for the answer costs nothing."""
    if not isinstance(out, Tensor):
        raise ContenderError(f"the {what} of contender {cell.contender} returned no tensor but a {type(out).__name__}")
    if (out.shape, out.dtype) != (shape, dtype):
        raise ContenderError(
            f"the {what} of contender {cell.contender} returned {list(out.shape)} in {out.dtype} and has to return "
            f"{list(shape)} in {dtype}"
        )
    return out
