"""The residual switch: how layers are chained, and what is kept for the backward pass."""

from collections.abc import Callable, Sequence
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint

from reformer.attention import SelfAttention
from reformer.config import AnyAttention, ReformerConfig, Residual
from reformer.feed_forward import FeedForward
from reformer.randomness import Replay, derived_seed, dropout
from reformer.reversible import Half, reversible_sequence, run_half, two_streams


class Branch(nn.Module):
    """Normalise, transform, drop out: one half of a layer, before it is added to a stream."""

    def __init__(self, config: ReformerConfig, inner: SelfAttention | FeedForward) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model)
        self.inner = inner
        self._dropout = config.dropout

    def forward(self, x_BLD: Tensor, piece: slice, replay: Replay) -> Tensor:
        """What this half adds to its stream."""
        out_BLD: Tensor = self.inner(self.norm(x_BLD), piece, replay)
        if replay.training and self._dropout:
            generator = replay.generator(f"branch dropout {piece.start}", x_BLD.device)
            out_BLD = dropout(out_BLD, self._dropout, generator)
        return out_BLD


class Block(nn.Module):
    """One layer: an attention half and a feed-forward half. Every stack chains the same blocks."""

    def __init__(self, config: ReformerConfig, attention: AnyAttention) -> None:
        super().__init__()
        self.attention = Branch(config, SelfAttention(config, attention))
        self.feed_forward = Branch(config, FeedForward(config))

    def bound(self, seed: int) -> tuple[Half, Half]:
        """Both halves, tied to the randomness of one call."""
        return (
            BoundBranch(self.attention, Replay(derived_seed(seed, "attention"), training=self.training)),
            BoundBranch(self.feed_forward, Replay(derived_seed(seed, "feed_forward"), training=self.training)),
        )


class BoundBranch:
    """A branch with the randomness of one call: run again, it gives the same values."""

    def __init__(self, branch: Branch, replay: Replay) -> None:
        self._branch = branch
        self._replay = replay

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of the branch."""
        return tuple(self._branch.parameters())

    def pieces(self, length: int) -> Sequence[slice]:
        """As the branch's inner module allows."""
        return self._branch.inner.pieces(length)

    def __call__(self, x_BLD: Tensor, piece: slice) -> Tensor:
        """The branch's value."""
        out_BLD: Tensor = self._branch(x_BLD, piece, self._replay)
        return out_BLD


Stack = Callable[[Sequence[tuple[Half, Half]], Tensor], Tensor]
"""Layers bound to one call, and the embedding, to the merged stream that the head reads; both of shape BLD."""


def stack_for(residual: Residual) -> Stack:
    """The function that chains layers in this way."""
    match residual:
        case "standard":
            return standard_stack
        case "checkpointed":
            return checkpointed_stack
        case "reversible":
            return reversible_stack
        case "single_stream":
            return single_stream_stack
        case _:
            assert_never(residual)


def standard_stack(layers: Sequence[tuple[Half, Half]], x_BLD: Tensor) -> Tensor:
    """Two streams, every activation kept."""
    x1, x2 = x_BLD, x_BLD
    for f, g in layers:
        x1 = x1 + recomputed_pieces(f, x2)
        x2 = x2 + recomputed_pieces(g, x1)
    return merged(x1, x2)


def checkpointed_stack(layers: Sequence[tuple[Half, Half]], x_BLD: Tensor) -> Tensor:
    """Two streams, each layer's inputs kept and the rest recomputed: the usual alternative to reversibility."""
    x1, x2 = x_BLD, x_BLD
    for layer in layers:
        x1, x2 = checkpoint(two_streams, *layer, x1, x2, use_reentrant=False, preserve_rng_state=False)
    return merged(x1, x2)


def reversible_stack(layers: Sequence[tuple[Half, Half]], x_BLD: Tensor) -> Tensor:
    """Two streams, only the last outputs kept."""
    return merged(*reversible_sequence(layers, x_BLD, x_BLD))


def single_stream_stack(layers: Sequence[tuple[Half, Half]], x_BLD: Tensor) -> Tensor:
    """The ordinary Transformer's x + f(x), every activation kept."""
    for f, g in layers:
        x_BLD = x_BLD + recomputed_pieces(f, x_BLD)
        x_BLD = x_BLD + recomputed_pieces(g, x_BLD)
    return x_BLD


def merged(x1_BLD: Tensor, x2_BLD: Tensor) -> Tensor:
    """Both streams as one: their mean."""
    return (x1_BLD + x2_BLD) / 2


def recomputed_pieces(half: Half, x_BLD: Tensor) -> Tensor:
    """The branch piece by piece; where there are several, each is recomputed in the backward pass and keeps nothing."""
    pieces = half.pieces(x_BLD.shape[1])
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return run_half(half, x_BLD)
    recomputed = [
        checkpoint(half, x_BLD[:, piece], piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces
    ]
    return torch.cat(recomputed, dim=1)
