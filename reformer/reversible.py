"""Reversible residual layers for any functions f, g, ... (paper, section 3, equations 7 and 8).

    y1 = x1 + f(x2)        x2 = y2 - g(y1)
    y2 = x2 + g(y1)        x1 = y1 - f(x2)

A layer is any number of such halves: each adds to one stream what it makes of the other, and the streams change places.
Nothing but the last layer's outputs is kept for the backward pass; every layer rebuilds its inputs from its outputs.
Each layer is one autograd node with its parameters as inputs, so that gradients arrive, and hooks on them fire, layer
by layer. Each half is recomputed once.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint


class Half(Protocol):
    """One residual branch, as the stacks see it: bound to one call, so that running it again gives the same values."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything trainable that the branch uses."""

    @property
    def context(self) -> tuple[Tensor, ...]:
        """Tensors from outside that the branch reads and that may want a gradient, such as an encoder's output."""

    def pieces(self, length: int) -> Sequence[slice]:
        """How the sequence may be cut: pieces that the branch treats independently of each other."""

    def __call__(self, x_BLD: Tensor, piece: slice, /, *context: Tensor) -> Tensor:
        """The branch's value on `x_BLD`, which is the given piece of the sequence, and on its context."""


Layer = Sequence[Half]
"""The halves of one layer, in order: two as in the paper, or any other number."""

Streams = tuple[Tensor, Tensor]
"""Both streams, of one shape and type."""


def run_half(half: Half, x_BLD: Tensor) -> Tensor:
    """The branch on the whole sequence, piece by piece.

    Where gradients are recorded and there are several pieces, each is recomputed in the backward pass: otherwise all of
    them would be kept, and cutting would save nothing.
    """
    pieces = half.pieces(x_BLD.shape[1])
    if len(pieces) == 1:
        return half(x_BLD, pieces[0], *half.context)
    run: Callable[..., Tensor] = half
    if torch.is_grad_enabled():
        run = partial(checkpoint, half, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([run(x_BLD[:, piece], piece, *half.context) for piece in pieces], dim=1)


def run_layer(layer: Layer, x1: Tensor, x2: Tensor) -> Streams:
    """One layer, forwards."""
    for half in layer:
        x1, x2 = x2, x1 + run_half(half, x2)
    return x1, x2


def plain_sequence(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    """The same function as `reversible_sequence` by plain autograd, every activation kept.

    Args:
        layers: As in `reversible_sequence`, and so are the streams and the result.
        x1_BLD: See above.
        x2_BLD: See above.

    Returns:
        See above.
    """
    for layer in layers:
        x1_BLD, x2_BLD = run_layer(layer, x1_BLD, x2_BLD)
    return x1_BLD, x2_BLD


def checkpointed_sequence(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    """The same function by `torch.utils.checkpoint`, each layer's inputs kept and the rest recomputed.

    Random streams are not restored for that: as in `reversible_sequence`, a half repeats itself.

    Args:
        layers: As in `reversible_sequence`, and so are the streams and the result.
        x1_BLD: See above.
        x2_BLD: See above.

    Returns:
        See above.
    """
    for layer in layers:
        x1_BLD, x2_BLD = checkpoint(run_layer, layer, x1_BLD, x2_BLD, use_reentrant=False, preserve_rng_state=False)
    return x1_BLD, x2_BLD


def reversible_sequence(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    """Run reversible layers over two streams (paper, section 3, equations 7 and 8).

    The backward pass may run once for each forward pass, and the two results must not be changed in place before it.
    Where gradients are wanted, `torch.compile` leaves the layers as they are: what it makes of a half need not round
    alike with and without gradients.

    Args:
        layers: The halves of each layer, bound to this call: run again, a half gives the same values.
        x1_BLD: First stream.
        x2_BLD: Second stream, of the same shape.

    Returns:
        Both streams after the last layer, of that shape.

    Raises:
        RuntimeError: In the backward pass: it runs a second time, if only for the layers that the first left out; the
            result, a parameter or a context tensor was changed in place or replaced after the forward pass; or a half
            reads a tensor that wants a gradient and is neither among its parameters nor its context.
    """
    if not torch.is_grad_enabled():
        return plain_sequence(layers, x1_BLD, x2_BLD)
    if torch.compiler.is_compiling():
        # Not a decorator: that would import the compiler, which takes two seconds, with this module.
        streams: Streams = torch.compiler.disable(_chained)(layers, x1_BLD, x2_BLD)
        return streams
    return _chained(layers, x1_BLD, x2_BLD)


def _chained(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    chain = _Chain()
    for depth, layer in enumerate(layers):
        inputs = (chain, depth, layer, x1_BLD, x2_BLD, *_contexts(layer), *_parameters(layer))
        x1_BLD, x2_BLD = _ReversibleLayer.apply(*inputs)  # type: ignore[no-untyped-call]
    return x1_BLD, x2_BLD


def _contexts(layer: Layer) -> list[Tensor]:
    return [tensor for half in layer for tensor in half.context]


def _parameters(layer: Layer) -> list[Parameter]:
    return [parameter for half in layer for parameter in half.parameters]


class _Chain:
    """Streams handed from layer to layer: forward its outputs, backward its rebuilt inputs. One for each call."""

    def __init__(self) -> None:
        self._depth = -1
        self._streams: tuple[Tensor, Tensor] | None = None
        self._versions: tuple[int, ...] = ()

    def put(self, depth: int, y1: Tensor, y2: Tensor) -> None:
        """Leave what stands above layer `depth`, in either direction."""
        # Detached: the outputs themselves will point to the autograd node, and the node to this chain.
        self._depth, self._streams = depth, (y1.detach(), y2.detach())
        self._versions = _versions((y1, y2))

    def take(self, depth: int) -> tuple[Tensor, Tensor]:
        """The outputs of layer `depth`, once."""
        if self._streams is None or self._depth != depth:
            raise RuntimeError(
                "A reversible stack rebuilds its activations once: its backward pass cannot run a second time, nor in "
                "part. Run the forward pass again, or use residual='standard'."
            )
        if _versions(self._streams) != self._versions:
            raise RuntimeError(
                "The output of a reversible stack was changed in place before its backward pass, which rebuilds "
                "activations from it. Change a copy instead."
            )
        streams, self._streams = self._streams, None
        return streams


class _Context(FunctionCtx):
    chain: _Chain
    depth: int
    layer: Layer
    inputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    autocast: AbstractContextManager[Any]


class _ReversibleLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context, chain: _Chain, depth: int, layer: Layer, x1: Tensor, x2: Tensor, *inputs: Tensor
    ) -> Streams:
        y1, y2 = run_layer(layer, x1, x2)
        chain.put(depth, y1, y2)
        ctx.chain, ctx.depth, ctx.layer, ctx.autocast = chain, depth, layer, _present_autocast(x1.device.type)
        ctx.inputs, ctx.versions = inputs, _versions(inputs)
        return y1, y2

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, d1: Tensor, d2: Tensor) -> tuple[Tensor | None, ...]:
        y1, y2 = ctx.chain.take(ctx.depth)
        _check_inputs(ctx)
        d_contexts: list[Tensor | None] = []
        d_parameters: list[Tensor | None] = []
        with ctx.autocast:
            for half in reversed(ctx.layer):
                undone = _undo_half(half, y1, y2, d2)
                y1, y2 = undone.other, y1
                d1, d2 = d2, d1 + undone.d_given
                d_contexts[:0], d_parameters[:0] = undone.d_context, undone.d_parameters
                del undone
        if ctx.depth > 0:
            ctx.chain.put(ctx.depth - 1, y1, y2)
        # A loss that is kept keeps this node, which need not keep buckets and an encoder's output.
        ctx.layer, ctx.inputs = (), ()
        return (None, None, None, d1, d2, *d_contexts, *d_parameters)


def _check_inputs(ctx: _Context) -> None:
    """Parameters and context are the tensors they were in the forward pass, and hold what they held."""
    now = (*_contexts(ctx.layer), *_parameters(ctx.layer))
    same = len(now) == len(ctx.inputs) and all(one is other for one, other in zip(now, ctx.inputs, strict=True))
    if not same or _versions(now) != ctx.versions:
        raise RuntimeError(
            "A parameter or context tensor of a reversible layer was changed in place or replaced between the forward "
            "and the backward pass, which rebuilds activations with it. Step the optimiser after the backward pass."
        )


def version_of(tensor: Tensor) -> int:
    """How often the tensor was changed in place; 0 for those made in inference mode, which nobody counts."""
    return 0 if tensor.is_inference() else tensor._version


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(version_of(tensor) for tensor in tensors)


def _present_autocast(device_type: str) -> AbstractContextManager[Any]:
    return torch.autocast(
        device_type,
        dtype=torch.get_autocast_dtype(device_type),
        enabled=torch.is_autocast_enabled(device_type),
        cache_enabled=torch.is_autocast_cache_enabled(),
    )


class _Undone(NamedTuple):
    other: Tensor
    d_given: Tensor
    d_context: list[Tensor | None]
    d_parameters: list[Tensor | None]


def _undo_half(half: Half, given_BLD: Tensor, total_BLD: Tensor, d_total_BLD: Tensor) -> _Undone:
    """Undo `total = other + half(given)` and pull the gradient back through it.

    Piece by piece, so that a branch that treats positions independently needs the memory of one piece only.
    """
    context = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in half.context]
    wanted = [tensor for tensor in (*context, *half.parameters) if tensor.requires_grad]
    d_wanted: list[Tensor | None] = [None] * len(wanted)
    other, d_given = [], []
    for piece in half.pieces(given_BLD.shape[1]):
        leaf = given_BLD[:, piece].detach().requires_grad_()
        with torch.enable_grad():
            branch = half(leaf, piece, *context)
        _check_leaves(branch, (leaf, *wanted))
        other.append(total_BLD[:, piece] - branch.detach())
        d_leaf, *d_piece = _gradients(branch, [leaf, *wanted], d_total_BLD[:, piece])
        del branch
        d_given.append(torch.zeros_like(leaf) if d_leaf is None else d_leaf)
        del leaf
        d_wanted = [_plus(old, new) for old, new in zip(d_wanted, d_piece, strict=True)]
    found = iter(d_wanted)
    d_context = [next(found) if tensor.requires_grad else None for tensor in context]
    d_parameters = [next(found) if parameter.requires_grad else None for parameter in half.parameters]
    return _Undone(_joined(other), _joined(d_given), d_context, d_parameters)


def _check_leaves(branch: Tensor, known: Sequence[Tensor]) -> None:
    """No gradient is lost: all tensors that the branch would send one to are known.

    A branch that reads a tensor it does not name would leave it without a gradient, in silence: one from a closure, or
    parameters that a wrapper put in place of the module's own.
    """
    names, seen, todo = {id(tensor) for tensor in known}, set(), [branch.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in names:
            raise RuntimeError(
                f"A half of a reversible layer reads a tensor of shape {tuple(variable.shape)} that wants a gradient "
                "but is neither among its parameters nor its context. Pass it as context; shard whole models, not "
                "parts of a layer."
            )
        todo += [following for following, _ in node.next_functions]


def _gradients(branch: Tensor, inputs: Sequence[Tensor], d_branch: Tensor) -> Sequence[Tensor | None]:
    if not branch.requires_grad:
        return [None] * len(inputs)
    return torch.autograd.grad(branch, inputs, d_branch.to(branch.dtype), allow_unused=True)


def _plus(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    if old is None or new is None:
        return new if old is None else old
    # Not in place: what autograd returned may be another gradient's memory.
    return old + new


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim=1)
