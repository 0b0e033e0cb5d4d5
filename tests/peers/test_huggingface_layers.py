"""HuggingFace's two attention layers against ours: same weights, same rotations.

All rows are compared in float64. In float32 their large negative scores are coarse: 0.008 at the -1e5 of a position's
own key, which shows where a position sees nothing but itself in several hash rounds, and 64 at the -1e9 of hidden keys,
which turns the mean over a window in which a padding position sees nothing into a sum. The comparisons in float32 leave
such rows out, and two tests show them.
"""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.reformer.modeling_reformer import LocalSelfAttention, LSHSelfAttention

from reformer.attention import SelfAttention
from reformer.config import LSHAttention, ReformerConfig
from reformer.huggingface import config_from_huggingface, rotations_like_huggingface
from reformer.randomness import Replay
from tests import oracles
from tests.peers import theirs

BATCH, HEADS, HEAD_WIDTH = theirs.BATCH, theirs.HEADS, theirs.HEAD_WIDTH
# What their layer returns has not yet gone through the output projection: ours is made the identity.
WIDTH = HEADS * HEAD_WIDTH
IN_FLOAT64, IN_FLOAT32 = 1e-10, 1e-6
# float64 too is 1.2e-7 coarse at -1e9.
WHERE_NOTHING_IS_SEEN = 2e-7


class Pair:
    """Their layer and ours with the same weights and rotations, on the same input."""

    def __init__(self, kind: str, length: int, dtype: torch.dtype, *, padded: bool, seed: int, **fields: Any) -> None:  # noqa: ANN401
        config = theirs.config(hidden_size=WIDTH, attn_layers=[kind], axial_pos_embds=False, **fields)
        self.theirs = theirs.built(LSHSelfAttention if kind == "lsh" else LocalSelfAttention, config, dtype=dtype)
        self.config = config_from_huggingface(config)
        self.attention = self.config.attentions[0]
        self.ours = our_layer(self.config, self.theirs, dtype)
        drawn = torch.Generator().manual_seed(seed)
        self.x_BLD = torch.randn(BATCH, length, WIDTH, generator=drawn, dtype=torch.float64).to(dtype)
        self.valid_BL = theirs.mask(length, seed=seed) if padded else None
        self.rotation = rotations_like_huggingface(self.config, theirs.HASH_SEED, dtype=dtype)[0]

    def their_output(self) -> Any:  # noqa: ANN401  (a class of theirs)
        with torch.no_grad():
            return theirs.call(self.theirs, self.x_BLD, attention_mask=self.valid_BL)

    @torch.no_grad()
    def our_output(self) -> Tensor:
        out_BLD: Tensor = self.ours(self.x_BLD, slice(0, self.x_BLD.shape[1]), self.replay())
        return out_BLD

    @torch.no_grad()
    def our_buckets(self) -> Tensor:
        bucket_BHRL = self.ours.heads(self.x_BLD, torch.arange(self.x_BLD.shape[1]), self.replay()).bucket_BHRL
        assert bucket_BHRL is not None
        return bucket_BHRL

    def replay(self) -> Replay:
        return Replay(0, 0, "attention", training=False, valid_BL=self.valid_BL, rotation_HRKN=self.rotation)

    def sees_others(self) -> Tensor:
        """True where, in some round, a position sees another one, by head: [B, L, H]."""
        valid_BL = torch.ones(self.x_BLD.shape[:2]) if self.valid_BL is None else self.valid_BL
        rows_BHL = [
            [(self._counts(head) * valid_L).sum(-1) for head in example]
            for example, valid_L in zip(self.our_buckets(), valid_BL, strict=True)
        ]
        return torch.stack([torch.stack(rows_HL, dim=-1) for rows_HL in rows_BHL]) > 0

    def _counts(self, bucket_RL: Tensor) -> Tensor:
        attention = self.attention
        assert isinstance(attention, LSHAttention)
        return oracles.lsh_counts(
            bucket_RL,
            chunk_len=attention.chunk_len,
            n_before=attention.n_chunks_before,
            n_after=attention.n_chunks_after,
            causal=self.config.causal,
        )


def our_layer(config: ReformerConfig, their_layer: Any, dtype: torch.dtype) -> SelfAttention:  # noqa: ANN401
    layer = SelfAttention(config, config.attentions[0]).to(dtype)
    names = {"query": "query_key" if layer.key is None else "query", "key": "key", "value": "value"}
    weights = {
        f"{ours}.weight": getattr(their_layer, its).weight for ours, its in names.items() if getattr(layer, ours)
    }
    layer.load_state_dict(weights | {"output.weight": torch.eye(WIDTH)})
    return layer


def without_round_offsets(pair: Pair, buckets: Tensor) -> Tensor:
    """Their bucket ids, which count on from round to round, counted within each round."""
    assert isinstance(pair.attention, LSHAttention)
    assert pair.attention.n_buckets is not None
    any_padding = pair.valid_BL is not None and not bool(pair.valid_BL.all())
    per_round = math.prod(pair.attention.n_buckets) + any_padding
    return buckets - per_round * torch.arange(buckets.shape[2])[:, None]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    chunk_len=st.integers(2, 7),
    n_chunks=st.integers(1, 5),
    n_hashes=st.integers(1, 4),
    n_buckets=st.sampled_from([2, 6, [4], [2, 4], [4, 6], [2, 4, 6]]),
    n_before=st.integers(0, 2),
    n_after=st.integers(0, 2),
    causal=st.booleans(),
    padded=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_lsh_layers_agree_bucket_by_bucket_and_row_by_row(
    dtype: torch.dtype,
    chunk_len: int,
    n_chunks: int,
    n_hashes: int,
    n_buckets: int | list[int],
    n_before: int,
    n_after: int,
    causal: bool,
    padded: bool,
    seed: int,
) -> None:
    # Beyond that their windows meet a chunk twice, which a test of its own shows.
    assume(n_chunks == 1 or n_before + 1 + n_after <= n_chunks * n_hashes)
    pair = Pair(
        "lsh",
        chunk_len * n_chunks,
        dtype,
        padded=padded,
        seed=seed,
        lsh_attn_chunk_length=chunk_len,
        num_hashes=n_hashes,
        num_buckets=n_buckets,
        lsh_num_chunks_before=n_before,
        lsh_num_chunks_after=n_after,
        is_decoder=causal,
    )
    their = pair.their_output()
    # They hash only where there are several chunks.
    assert (their.buckets is None) == (n_chunks == 1)
    if their.buckets is not None:
        assert torch.equal(pair.our_buckets().long(), without_round_offsets(pair, their.buckets))
    ours, expected = pair.our_output(), their.hidden_states
    if dtype == torch.float64:
        assert theirs.relative_error(ours, expected) < IN_FLOAT64
    else:
        compared_BLD = pair.sees_others().repeat_interleave(HEAD_WIDTH, dim=-1)
        assert theirs.relative_error(ours, expected, where=compared_BLD) < IN_FLOAT32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    chunk_len=st.integers(1, 7),
    n_chunks=st.integers(1, 5),
    n_before=st.integers(0, 2),
    n_after=st.integers(0, 2),
    causal=st.booleans(),
    padded=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_local_layers_agree_in_every_row(
    dtype: torch.dtype,
    chunk_len: int,
    n_chunks: int,
    n_before: int,
    n_after: int,
    causal: bool,
    padded: bool,
    seed: int,
) -> None:
    assume(n_chunks == 1 or n_before + 1 + n_after <= n_chunks)
    pair = Pair(
        "local",
        chunk_len * n_chunks,
        dtype,
        padded=padded,
        seed=seed,
        local_attn_chunk_length=chunk_len,
        local_num_chunks_before=n_before,
        local_num_chunks_after=n_after,
        is_decoder=causal,
    )
    ours, expected = pair.our_output(), pair.their_output().hidden_states
    if dtype == torch.float32:
        assert theirs.relative_error(ours, expected) < IN_FLOAT32
    else:
        # Padding that sees nothing is another matter in their float64, see below; any other row sees itself at least.
        valid_BL = torch.ones(ours.shape[:2], dtype=torch.bool) if pair.valid_BL is None else pair.valid_BL
        assert theirs.relative_error(ours, expected, where=valid_BL) < IN_FLOAT64


def test_a_window_wider_than_the_ring_counts_a_chunk_twice_there_and_once_here() -> None:
    chunk_len, n_chunks = 5, 2
    pair = Pair(
        "lsh",
        chunk_len * n_chunks,
        torch.float64,
        padded=False,
        seed=3,
        lsh_attn_chunk_length=chunk_len,
        num_hashes=1,
        lsh_num_chunks_before=2,
        is_decoder=False,
    )
    their = pair.their_output()
    bucket_HRL = pair.our_buckets()[0]
    sizes: dict[str, Any] = {"chunk_len": chunk_len, "n_before": 0, "causal": False}
    own_chunk = torch.stack([oracles.lsh_counts(head, n_after=0, **sizes) for head in bucket_HRL])
    both_chunks = torch.stack([oracles.lsh_counts(head, n_after=1, **sizes) for head in bucket_HRL])
    heads = pair.ours.heads(pair.x_BLD[:1], torch.arange(10), pair.replay())
    query, value = heads.query_BHLK.detach(), heads.value_BHLK.detach()

    def brute_force(count: Tensor) -> Tensor:
        return oracles.every_head(query, oracles.unit_keys(query), value, count[None]).transpose(1, 2).flatten(2)

    assert theirs.relative_error(pair.our_output()[:1], brute_force(both_chunks)) < IN_FLOAT64
    # Two chunks before the own one stands, on a ring of two, the own one.
    assert theirs.relative_error(their.hidden_states[:1], brute_force(both_chunks + own_chunk)) < IN_FLOAT64
    assert theirs.relative_error(pair.our_output(), their.hidden_states) > 0.01


def test_a_position_that_sees_only_itself_in_several_rounds_is_off_there_in_float32_but_not_here() -> None:
    pair = Pair("lsh", 20, torch.float32, padded=False, seed=4, lsh_attn_chunk_length=5, num_hashes=3)
    value_BLD = pair.x_BLD @ pair.theirs.value.weight.T.detach()
    ours, their = (out[:, 0] for out in (pair.our_output(), pair.their_output().hidden_states))
    assert theirs.relative_error(ours, value_BLD[:, 0]) < IN_FLOAT32
    assert 1e-4 < theirs.relative_error(their, value_BLD[:, 0]) < 1e-2


def test_padding_that_sees_nothing_gets_the_window_s_sum_here_and_there_but_its_mean_there_in_float64() -> None:
    out = {}
    for dtype in (torch.float32, torch.float64):
        pair = Pair("local", 7, dtype, padded=True, seed=0, local_attn_chunk_length=7)
        assert pair.valid_BL is not None
        pair.valid_BL[0] = torch.arange(7) > 0
        value_BLD = pair.x_BLD @ pair.theirs.value.weight.T.detach()
        out[dtype] = (pair.our_output()[0, 0], pair.their_output().hidden_states[0, 0], value_BLD[0].sum(0))
    ours, their, total = out[torch.float64]
    assert theirs.relative_error(ours, total) < IN_FLOAT64
    assert theirs.relative_error(their, total / 7) < WHERE_NOTHING_IS_SEEN
    ours, their, total = out[torch.float32]
    assert max(theirs.relative_error(ours, total), theirs.relative_error(their, total)) < IN_FLOAT32
