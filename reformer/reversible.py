"""Reversible residual layers for any two functions f and g (paper, section 3, equations 8 and 9).

    y1 = x1 + f(x2)        x2 = y2 - g(y1)
    y2 = x2 + g(y1)        x1 = y1 - f(x2)

Nothing but the last layer's outputs is kept for the backward pass; every layer rebuilds its inputs from its outputs.
Each layer is one autograd node with its parameters as inputs, so that gradients arrive, and hooks on them fire, layer
by layer. Each half is recomputed once.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import Parameter


class Half(Protocol):
    """One residual branch, as the stacks see it: bound to one call, so that running it again gives the same values."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything trainable that the branch uses."""

    def pieces(self, length: int) -> Sequence[slice]:
        """How the sequence may be cut: pieces that the branch treats independently of each other."""

    def __call__(self, x_BLD: Tensor, piece: slice, /) -> Tensor:
        """The branch's value on `x_BLD`, which is the given piece of the sequence."""


def run_half(half: Half, x_BLD: Tensor) -> Tensor:
    """The branch on the whole sequence, piece by piece."""
    pieces = half.pieces(x_BLD.shape[1])
    if len(pieces) == 1:
        return half(x_BLD, pieces[0])
    return torch.cat([half(x_BLD[:, piece], piece) for piece in pieces], dim=1)


def reversible_sequence(layers: Sequence[tuple[Half, Half]], x1_BLD: Tensor, x2_BLD: Tensor) -> tuple[Tensor, Tensor]:
    """Run reversible layers over two streams.

    The backward pass may run once for each forward pass, and the two results must not be changed in place before it.

    Args:
        layers: f and g of each layer, bound to this call.
        x1_BLD: First stream.
        x2_BLD: Second stream.

    Returns:
        Both streams after the last layer.
    """
    if not torch.is_grad_enabled():
        for f, g in layers:
            x1_BLD, x2_BLD = two_streams(f, g, x1_BLD, x2_BLD)
        return x1_BLD, x2_BLD
    chain = _Chain()
    for depth, (f, g) in enumerate(layers):
        inputs = (chain, depth, f, g, x1_BLD, x2_BLD, *f.parameters, *g.parameters)
        x1_BLD, x2_BLD = _ReversibleLayer.apply(*inputs)  # type: ignore[no-untyped-call]
    return x1_BLD, x2_BLD


def two_streams(f: Half, g: Half, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    """One layer, forwards."""
    y1 = x1 + run_half(f, x2)
    return y1, x2 + run_half(g, y1)


class _Chain:
    """Streams handed from layer to layer: forward its outputs, backward its rebuilt inputs. One for each call."""

    def __init__(self) -> None:
        self._depth = -1
        self._streams: tuple[Tensor, Tensor] | None = None
        self._versions: tuple[int, int] | None = None

    def put(self, depth: int, y1: Tensor, y2: Tensor) -> None:
        """Leave what stands above layer `depth`, in either direction."""
        # Detached: the outputs themselves will point to the autograd node, and the node to this chain.
        self._depth, self._streams = depth, (y1.detach(), y2.detach())
        self._versions = (y1._version, y2._version)

    def take(self, depth: int) -> tuple[Tensor, Tensor]:
        """The outputs of layer `depth`, once."""
        if self._streams is None or self._depth != depth:
            raise RuntimeError(
                "A reversible stack rebuilds its activations once: its backward pass cannot run a second time, nor in "
                "part. Run the forward pass again, or use residual='standard'."
            )
        if tuple(stream._version for stream in self._streams) != self._versions:
            raise RuntimeError(
                "The output of a reversible stack was changed in place before its backward pass, which rebuilds "
                "activations from it. Change a copy instead."
            )
        streams, self._streams = self._streams, None
        return streams


class _Context(FunctionCtx):
    chain: _Chain
    depth: int
    halves: tuple[Half, Half]
    autocast: AbstractContextManager[Any]
    versions: tuple[int, ...]


class _ReversibleLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context, chain: _Chain, depth: int, f: Half, g: Half, x1: Tensor, x2: Tensor, *parameters: Parameter
    ) -> tuple[Tensor, Tensor]:
        y1, y2 = two_streams(f, g, x1, x2)
        chain.put(depth, y1, y2)
        ctx.chain, ctx.depth, ctx.halves, ctx.autocast = chain, depth, (f, g), _present_autocast(x1.device.type)
        ctx.versions = _versions(parameters)
        return y1, y2

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, d1: Tensor, d2: Tensor) -> tuple[Tensor | None, ...]:
        (f, g), (y1, y2) = ctx.halves, ctx.chain.take(ctx.depth)
        if _versions((*f.parameters, *g.parameters)) != ctx.versions:
            raise RuntimeError(
                "A parameter of a reversible layer was changed in place between the forward and the backward pass, "
                "which rebuilds activations with it. Step the optimiser after the backward pass."
            )
        with ctx.autocast:
            x2, d_y1, d_g = _invert_half(g, y1, y2, d2)
            d1 = d1 + d_y1
            del y2, d_y1
            x1, d_x2, d_f = _invert_half(f, x2, y1, d1)
            d2 = d2 + d_x2
        if ctx.depth > 0:
            ctx.chain.put(ctx.depth - 1, x1, x2)
        return (None, None, None, None, d1, d2, *d_f, *d_g)


def _versions(parameters: Sequence[Parameter]) -> tuple[int, ...]:
    return tuple(parameter._version for parameter in parameters)


def _present_autocast(device_type: str) -> AbstractContextManager[Any]:
    return torch.autocast(
        device_type,
        dtype=torch.get_autocast_dtype(device_type),
        enabled=torch.is_autocast_enabled(device_type),
        cache_enabled=torch.is_autocast_cache_enabled(),
    )


def _invert_half(
    half: Half, given_BLD: Tensor, total_BLD: Tensor, d_total_BLD: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
    """Undo `total = other + half(given)` and pull the gradient back through it.

    Piece by piece, so that a branch that treats positions independently needs the memory of one piece only.

    Returns:
        other_BLD, the gradient with respect to `given`, and those with respect to the branch's parameters.
    """
    trainable = [parameter for parameter in half.parameters if parameter.requires_grad]
    d_trainable: list[Tensor | None] = [None] * len(trainable)
    other, d_given = [], []
    for piece in half.pieces(given_BLD.shape[1]):
        leaf = given_BLD[:, piece].detach().requires_grad_()
        with torch.enable_grad():
            branch = half(leaf, piece)
        other.append(total_BLD[:, piece] - branch.detach())
        d_branch = d_total_BLD[:, piece].to(branch.dtype)
        d_leaf, *d_piece = torch.autograd.grad(branch, [leaf, *trainable], d_branch, allow_unused=True)
        del branch, leaf
        d_given.append(torch.zeros_like(given_BLD[:, piece]) if d_leaf is None else d_leaf)
        d_trainable = [_plus(old, new) for old, new in zip(d_trainable, d_piece, strict=True)]
    found = iter(d_trainable)
    d_parameters = tuple(next(found) if parameter.requires_grad else None for parameter in half.parameters)
    return _joined(other), _joined(d_given), d_parameters


def _plus(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    if old is None or new is None:
        return new if old is None else old
    # Not in place: what autograd returned may be another gradient's memory.
    return old + new


def _joined(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim=1)
