"""The feed-forward half of a layer."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from reformer.config import ReformerConfig
from reformer.layers import Linear
from reformer.randomness import Replay

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "swish": F.silu,
}


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, each position on its own.

    Positions do not meet here, so the sequence may be cut anywhere (paper, section 3, "Chunking"): with `ff_chunk_len`
    only that many positions have their hidden layer of width F in memory, in the forward pass and in the backward pass.
    Values and gradients do not depend on the cut. With dropout on, each piece draws a mask of its own.
    """

    def __init__(self, config: ReformerConfig) -> None:
        super().__init__()
        self.inner = Linear(config.d_model, config.d_ff)
        self.outer = Linear(config.d_ff, config.d_model)
        self._activation = ACTIVATIONS[config.activation]
        self._dropout = config.dropout
        self._chunk_len = config.ff_chunk_len

    def pieces(self, length: int) -> tuple[slice, ...]:
        """The sequence cut into pieces of `ff_chunk_len`."""
        step = self._chunk_len
        if step is None:
            return (slice(0, length),)
        return tuple(slice(start, min(start + step, length)) for start in range(0, length, step))

    def forward(self, x_BLD: Tensor, piece: slice, replay: Replay) -> Tensor:
        """The half's value on one piece of the sequence."""
        hidden_BLF = replay.dropped(self._activation(self.inner(x_BLD)), self._dropout, f"hidden dropout {piece.start}")
        out_BLD: Tensor = self.outer(hidden_BLF)
        return out_BLD
