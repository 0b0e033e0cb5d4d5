"""One layer: attention, in a decoder cross-attention, and feed-forward halves, bound to one call."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import Parameter

from reformer.attention import CrossAttention, SelfAttention
from reformer.config import AnyAttention, ReformerConfig
from reformer.feed_forward import FeedForward
from reformer.layers import StreamNorm
from reformer.randomness import Replay
from reformer.reversible import Half


class Memory(NamedTuple):
    """An encoder's output, as cross-attention reads it.

    Attributes:
        hidden_BED: The output, D the decoder's width, in the type of its parameters; under autocast in any float type.
        valid_BE: bool, false where the source is padding; `None` if nowhere.
    """

    hidden_BED: Tensor
    valid_BE: Tensor | None = None


class Call(NamedTuple):
    """What one call of a model means to each of its layers.

    Attributes:
        seed: Everything random follows from it.
        training: Whether the model is in training mode.
        valid_BL: False where a position is padding; `None` if none is.
        memory: What cross-attention reads.
    """

    seed: int
    training: bool
    valid_BL: Tensor | None = None
    memory: Memory | None = None


class Branch(nn.Module):
    """Normalise, transform, drop out: one half of a layer, before it is added to a stream."""

    def __init__(self, config: ReformerConfig, inner: SelfAttention | CrossAttention | FeedForward) -> None:
        super().__init__()
        self.norm = StreamNorm(config.d_model, eps=config.norm_epsilon)
        self.inner = inner
        self._dropout = config.dropout

    def forward(self, x_BLD: Tensor, piece: slice, replay: Replay, *context: Tensor) -> Tensor:
        """What this half adds to its stream."""
        out_BLD: Tensor = self.inner(self.norm(x_BLD), piece, replay, *context)
        return replay.dropped(out_BLD, self._dropout, f"branch dropout {piece.start}")


class Block(nn.Module):
    """One layer. Every stack chains the same blocks."""

    def __init__(self, config: ReformerConfig, attention: AnyAttention, depth: int) -> None:
        super().__init__()
        self.attention = Branch(config, SelfAttention(config, attention))
        self.cross_attention = Branch(config, CrossAttention(config)) if config.cross_attention else None
        self.feed_forward = Branch(config, FeedForward(config))
        self._depth = depth
        # On a grid what is rebuilt is what was: it hashes alike, and a bucket for each position need not be kept.
        self._keeps_decisions = not (config.residual == "reversible" and config.grid_bits is not None)

    def bound(self, call: Call, rotation_HRKN: Tensor | None) -> list[Half]:
        """The halves, tied to the randomness and the masks of one call."""
        halves = [BoundBranch(self.attention, self.replay(call, "attention", call.valid_BL, rotation_HRKN))]
        if self.cross_attention is not None:
            assert call.memory is not None, "Reformer.forward refuses to run cross-attention without memory"
            replay = self.replay(call, "cross_attention", call.memory.valid_BE)
            halves.append(BoundBranch(self.cross_attention, replay, call.memory.hidden_BED))
        halves.append(BoundBranch(self.feed_forward, self.replay(call, "feed_forward", None)))
        return list(halves)

    def rotation(self, call: Call) -> Tensor | None:
        """What this layer hashes against in this call, or `None`: given again, it is the same call's hashing."""
        attention = self.attention.inner
        assert isinstance(attention, SelfAttention), "Block builds it so"
        return attention.rotation(self.replay(call, "attention", None))

    def replay(self, call: Call, half: str, valid_BL: Tensor | None, rotation_HRKN: Tensor | None = None) -> Replay:
        """The randomness of one half in one call."""
        return Replay(
            call.seed,
            self._depth,
            half,
            training=call.training,
            valid_BL=valid_BL,
            rotation_HRKN=rotation_HRKN,
            keeps_decisions=self._keeps_decisions,
        )


class BoundBranch:
    """A branch with the randomness of one call: run again, it gives the same values."""

    def __init__(self, branch: Branch, replay: Replay, *context: Tensor) -> None:
        self._branch = branch
        self._replay = replay
        self._context = context

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of the branch."""
        return tuple(self._branch.parameters())

    @property
    def context(self) -> tuple[Tensor, ...]:
        """What the branch reads beside its stream."""
        return self._context

    def pieces(self, length: int) -> Sequence[slice]:
        """As the branch's inner module allows."""
        return self._branch.inner.pieces(length)

    def __call__(self, x_BLD: Tensor, piece: slice, *context: Tensor) -> Tensor:
        """The branch's value."""
        out_BLD: Tensor = self._branch(x_BLD, piece, self._replay, *context)
        return out_BLD
