"""The attention half of a layer: project, call a function of `reformer.functional`, project back."""

from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from reformer.config import (
    AnyAttention,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    ReformerConfig,
)
from reformer.functional.attention import (
    dense_attention,
    fused_attention,
    local_attention,
    lsh_attention,
    query_chunked_attention,
    unit_keys,
)
from reformer.functional.hashing import hash_vectors, random_rotations
from reformer.randomness import Replay
from reformer.uninitialised import Linear

Attend = Callable[[Tensor, Tensor, Tensor, Replay], Tensor]
"""Scaled keys and everything else of shape BHLK in, out_BHLK out."""


class SelfAttention(nn.Module):
    """Multi-head self-attention of one of the configured kinds.

    With shared queries and keys the parameters are the same whatever the kind, so that weights move between variants.
    """

    def __init__(self, config: ReformerConfig, attention: AnyAttention) -> None:
        super().__init__()
        d_heads = config.n_heads * config.d_head
        linear = partial(Linear, bias=False)
        self.query = linear(config.d_model, d_heads)
        self.key = None if attention.share_qk else linear(config.d_model, d_heads)
        self.value = linear(config.d_model, d_heads)
        self.output = linear(d_heads, config.d_model)
        self._n_heads = config.n_heads
        self._attend = attend_as(attention, causal=config.causal)

    def pieces(self, length: int) -> tuple[slice, ...]:
        """One piece: any position may attend to any other."""
        return (slice(0, length),)

    def forward(self, x_BLD: Tensor, piece: slice, replay: Replay) -> Tensor:
        """The half's value on the whole sequence."""
        query_BHLK, value_BHLK = self._heads(self.query(x_BLD)), self._heads(self.value(x_BLD))
        key_BHLK = self._scaled_keys(x_BLD, query_BHLK)
        out_BHLK = self._attend(query_BHLK, key_BHLK, value_BHLK, replay)
        out_BLD: Tensor = self.output(out_BHLK.transpose(1, 2).flatten(2, 3))
        return out_BLD

    def _heads(self, x_BLx: Tensor) -> Tensor:
        x_BHLK: Tensor = x_BLx.unflatten(-1, (self._n_heads, -1)).transpose(1, 2)
        return x_BHLK

    def _scaled_keys(self, x_BLD: Tensor, query_BHLK: Tensor) -> Tensor:
        if self.key is None:
            return unit_keys(query_BHLK)
        key_BHLK = self._heads(self.key(x_BLD))
        return key_BHLK * float(key_BHLK.shape[-1] ** -0.5)


def attend_as(attention: AnyAttention, *, causal: bool) -> Attend:
    """The function that computes this kind of attention."""
    exact: dict[str, Any] = {"causal": causal, "exclude_self": attention.share_qk}
    match attention:
        case DenseAttention():
            return _without_replay(partial(dense_attention, **exact))
        case QueryChunkedAttention(query_chunk_len=query_chunk_len):
            return _without_replay(partial(query_chunked_attention, **exact, query_chunk_len=query_chunk_len))
        case FusedAttention():
            return _without_replay(partial(fused_attention, **exact))
        case LocalAttention():
            return _without_replay(partial(local_attention, **exact, **_window(attention)))
        case LSHAttention():
            return partial(_hash_and_attend, attention, causal)
        case _:
            assert_never(attention)


def _without_replay(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Attend:
    return lambda query, key, value, _replay: function(query, key, value)


def _window(attention: LocalAttention | LSHAttention) -> dict[str, Any]:
    return attention.model_dump(include={"chunk_len", "n_chunks_before", "n_chunks_after"})


def _hash_and_attend(
    attention: LSHAttention, causal: bool, query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, replay: Replay
) -> Tensor:
    bucket_BHRL = replay.decide("buckets", lambda: _buckets(attention, query_BHLK, replay))
    return lsh_attention(query_BHLK, key_BHLK, value_BHLK, bucket_BHRL, causal=causal, **_window(attention))


def _buckets(attention: LSHAttention, query_BHLK: Tensor, replay: Replay) -> Tensor:
    assert attention.n_buckets is not None, "ReformerConfig fixes the bucket count"
    rotation_HRKN = random_rotations(
        # Drawn on the CPU: the same seed gives the same buckets on every device.
        replay.generator("rotations", torch.device("cpu")),
        n_heads=query_BHLK.shape[1],
        d_head=query_BHLK.shape[3],
        n_hashes=attention.n_hashes,
        n_buckets=attention.n_buckets,
    )
    return hash_vectors(query_BHLK, rotation_HRKN, n_buckets=attention.n_buckets)
