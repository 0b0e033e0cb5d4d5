"""The attention halves of a layer: project, call a function of `reformer.functional`, project back."""

from functools import partial

import torch
from torch import Tensor, nn

from reformer.config import AnyAttention, LSHAttention, ReformerConfig, RotaryPositions
from reformer.functional.dense import cross_attention
from reformer.functional.hashing import random_rotations
from reformer.kinds import Heads, Past, kind_of, lsh_functions, scaled_keys
from reformer.layers import Linear
from reformer.positions import rotated
from reformer.randomness import Replay


class SelfAttention(nn.Module):
    """Multi-head self-attention of one of the configured kinds.

    With shared queries and keys the parameters are the same whatever the kind, so that weights move between variants.
    """

    def __init__(self, config: ReformerConfig, attention: AnyAttention) -> None:
        super().__init__()
        if isinstance(attention, LSHAttention) and attention.n_buckets is None:
            raise ValueError(
                "attention.n_buckets=None: a config that was copied with another attention is not checked again; "
                "make it by ReformerConfig(...), or use attention.resolved(max_len)"
            )
        d_heads = config.n_heads * config.d_head
        linear = partial(Linear, bias=False)
        self.query = linear(config.d_model, d_heads)
        self.key = None if attention.share_qk else linear(config.d_model, d_heads)
        self.value = linear(config.d_model, d_heads)
        self.output = linear(d_heads, config.d_model)
        self._attention = attention
        self._n_heads = config.n_heads
        self._kind = kind_of(attention, causal=config.causal)
        self._rotary_base = config.positions.base if isinstance(config.positions, RotaryPositions) else None

    def pieces(self, length: int) -> tuple[slice, ...]:
        """One piece: any position may attend to any other."""
        return (slice(0, length),)

    def forward(self, x_BLD: Tensor, piece: slice, replay: Replay) -> Tensor:
        """The half's value on the whole sequence."""
        heads = self.heads(x_BLD, torch.arange(x_BLD.shape[1], device=x_BLD.device), replay)
        return self.whole(heads, replay)

    def whole(self, heads: Heads, replay: Replay) -> Tensor:
        """The half's value on the whole sequence, given its heads."""
        return self._merged(self._kind.whole(heads, replay))

    def at(self, position_B: Tensor, query_BH1K: Tensor, past: Past, valid_BL: Tensor | None) -> Tensor:
        """The half's value at one position of each example, [B, 1, D], given everything up to it."""
        return self._merged(self._kind.at(position_B, query_BH1K, past, valid_BL))

    def heads(self, x_BLD: Tensor, position: Tensor, replay: Replay) -> Heads:
        """Project to heads, and hash if this attention does; `position` is [L] or [B, 1, L]."""
        query_BHLK, value_BHLK = (split_heads(linear(x_BLD), self._n_heads) for linear in (self.query, self.value))
        key_BHLK = query_BHLK if self.key is None else split_heads(self.key(x_BLD), self._n_heads)
        # Before any rotation by position: buckets are to depend on content alone.
        bucket_BHRL = self._buckets(query_BHLK, replay)
        if self._rotary_base is not None:
            turn = partial(rotated, position=position, base=self._rotary_base)
            shared, query_BHLK = key_BHLK is query_BHLK, turn(query_BHLK)
            key_BHLK = query_BHLK if shared else turn(key_BHLK)
        return Heads(query_BHLK, key_BHLK, value_BHLK, bucket_BHRL)

    def past(self, heads: Heads) -> Past:
        """What later positions need of these."""
        return Past(scaled_keys(self._attention, heads.key_BHLK), heads.value_BHLK, heads.bucket_BHRL)

    def rotation(self, replay: Replay) -> Tensor | None:
        """What this attention hashes against in this call, rotation_HRKN; `None` if it does not hash."""
        if not isinstance(self._attention, LSHAttention):
            return None
        assert self._attention.n_buckets is not None, "the constructor refuses it"
        return random_rotations(
            # Drawn on the CPU: the same seed gives the same buckets on every device.
            replay.generator("rotations", torch.device("cpu")),
            n_heads=self._n_heads,
            d_head=self.query.out_features // self._n_heads,
            n_hashes=self._attention.rounds(training=replay.training),
            n_buckets=self._attention.n_buckets,
        )

    def _buckets(self, query_BHLK: Tensor, replay: Replay) -> Tensor | None:
        if not isinstance(self._attention, LSHAttention):
            return None
        hash_vectors, n_buckets = lsh_functions(self._attention.backend).hash_vectors, self._attention.n_buckets
        assert n_buckets is not None, "the constructor refuses it"

        def choose() -> Tensor:
            rotation_HRKN = self.rotation(replay) if replay.rotation_HRKN is None else replay.rotation_HRKN
            assert rotation_HRKN is not None, "LSH attention always hashes"
            return hash_vectors(query_BHLK, rotation_HRKN, n_buckets=n_buckets, valid_BL=replay.valid_BL)

        return replay.decide("buckets", choose)

    def _merged(self, out_BHLK: Tensor) -> Tensor:
        out_BLD: Tensor = self.output(out_BHLK.transpose(1, 2).flatten(2, 3))
        return out_BLD


class CrossAttention(nn.Module):
    """Multi-head dense attention from a decoder's stream to an encoder's output, with separate queries and keys.

    No position enters the scores but what the encoder's output holds.
    """

    def __init__(self, config: ReformerConfig) -> None:
        super().__init__()
        d_heads = config.n_heads * config.d_head
        linear = partial(Linear, bias=False)
        self.query = linear(config.d_model, d_heads)
        self.key = linear(config.d_model, d_heads)
        self.value = linear(config.d_model, d_heads)
        self.output = linear(d_heads, config.d_model)
        self._n_heads = config.n_heads

    def pieces(self, length: int) -> tuple[slice, ...]:
        """One piece, so that the encoder's output is projected once."""
        return (slice(0, length),)

    def forward(self, x_BLD: Tensor, piece: slice, replay: Replay, memory_BED: Tensor) -> Tensor:
        """The half's value on the whole sequence; `replay.valid_BL` masks the encoder's output."""
        return self.reading(x_BLD, *self.memory_heads(memory_BED), replay.valid_BL)

    def memory_heads(self, memory_BED: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled keys and values of an encoder's output, BHEK."""
        key_BHEK, value_BHEK = (split_heads(linear(memory_BED), self._n_heads) for linear in (self.key, self.value))
        return key_BHEK * float(key_BHEK.shape[-1] ** -0.5), value_BHEK

    def reading(self, x_BLD: Tensor, key_BHEK: Tensor, value_BHEK: Tensor, valid_BE: Tensor | None) -> Tensor:
        """The half's value, given the projected encoder output."""
        query_BHLK = split_heads(self.query(x_BLD), self._n_heads)
        out_BHLK = cross_attention(query_BHLK, key_BHEK, value_BHEK, valid_BE=valid_BE)
        out_BLD: Tensor = self.output(out_BHLK.transpose(1, 2).flatten(2, 3))
        return out_BLD


def split_heads(x_BLx: Tensor, n_heads: int) -> Tensor:
    """The channels cut into heads, [B, H, L, K]."""
    x_BHLK: Tensor = x_BLx.unflatten(-1, (n_heads, -1)).transpose(1, 2)
    return x_BHLK
