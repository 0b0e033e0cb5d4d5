"""lucidrains' attention (reformer_pytorch 1.4.4) against ours: same vectors, same rotations.

A key there is a query over its length; ours adds 1e-6 to its mean square first, as the authors' code does, which is a
difference of its own and switched off here. Theirs is computed in float64: in float32 their score of -5e4 for a
position's own key is 0.004 coarse, which shows where a position sees nothing but itself. Ours is compared with that in
both types, every row.
"""

from typing import Any
from unittest import mock

import pytest
import torch
from reformer_pytorch.reformer_pytorch import FullQKAttention, LSHAttention, LSHSelfAttention
from torch import Tensor

from reformer import config
from reformer.attention import SelfAttention
from reformer.functional import scores
from reformer.functional.dense import dense_attention
from reformer.functional.hashing import hash_vectors
from reformer.functional.lsh import lsh_attention
from reformer.functional.windows import Window
from reformer.randomness import Replay
from tests.peers.theirs import relative_error

EXAMPLES, HEADS, LENGTH, HEAD_WIDTH = 2, 3, 24, 5
CHUNK, ROUNDS = 4, 7
N_BUCKETS = LENGTH // CHUNK
WINDOW = Window(CHUNK, n_before=1, n_after=0, wrap="across_rounds")
IN_FLOAT64, IN_FLOAT32 = 1e-10, 5e-7
# They take the logarithm of a count in float32 whatever the vectors are.
WITH_COUNTS = 1e-7
SHIPPED_EPSILON, AS_SHIPPED = scores.KEY_EPSILON, 2e-6


@pytest.fixture(autouse=True)
def _keys_of_length_one_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "KEY_EPSILON", 0.0)


def vectors(*, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Queries and values in float64 that float32 holds exactly."""
    drawn = torch.randn(2, EXAMPLES, HEADS, LENGTH, HEAD_WIDTH, generator=torch.Generator().manual_seed(seed))
    query_BHLK, value_BHLK = drawn.double()
    return query_BHLK, value_BHLK


def rotations(*, seed: int = 1) -> Tensor:
    size = (HEADS, ROUNDS, HEAD_WIDTH, N_BUCKETS // 2)
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).double()


def as_they_draw(rotation_HRKN: Tensor) -> Any:  # noqa: ANN401  (a class of mock's)
    """While it lasts, their rotations are these: [heads of all examples, K, R, N]."""
    theirs = rotation_HRKN.transpose(1, 2)
    return mock.patch("torch.randn", lambda *size, **how: theirs.expand(*size[0]))


def their_lsh(query_BHLK: Tensor, value_BHLK: Tensor, rotation_HRKN: Tensor, **options: bool) -> tuple[Tensor, Tensor]:
    """Their output and buckets by our letters: BHLK, and BHRL counted within each round."""
    attention = LSHAttention(bucket_size=CHUNK, n_hashes=ROUNDS, random_rotations_per_head=True, **options).eval()
    with as_they_draw(rotation_HRKN.repeat(EXAMPLES, 1, 1, 1)):
        out, _, buckets = attention(query_BHLK.flatten(0, 1), value_BHLK.flatten(0, 1))
    bucket_BHRL = buckets.view(EXAMPLES, HEADS, ROUNDS, LENGTH) - N_BUCKETS * torch.arange(ROUNDS)[:, None]
    return out.view_as(value_BHLK), bucket_BHRL


SCALE = float(HEAD_WIDTH**-0.5)
"""Theirs is a product of query and unit key over the root of the width."""


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert relative_error(ours, theirs) < (IN_FLOAT32 if ours.dtype == torch.float32 else IN_FLOAT64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_lsh_attention_agrees(seed: int, causal: bool, dtype: torch.dtype) -> None:
    (query, value), rotation = vectors(seed=seed), rotations(seed=seed + 100)
    expected, their_buckets = their_lsh(query, value, rotation, causal=causal)
    query, value = query.to(dtype), value.to(dtype)
    bucket = hash_vectors(query, rotation, n_buckets=[N_BUCKETS])
    assert torch.equal(bucket.long(), their_buckets)
    assert_close(lsh_attention(query, value, bucket, score_scale=SCALE, window=WINDOW, causal=causal), expected)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_lsh_attention_as_it_is_agrees_but_for_the_authors_epsilon(
    seed: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "KEY_EPSILON", SHIPPED_EPSILON)
    (query, value), rotation = vectors(seed=seed), rotations(seed=seed + 100)
    expected, _ = their_lsh(query, value, rotation, causal=causal)
    query, value = query.float(), value.float()
    bucket = hash_vectors(query, rotation, n_buckets=[N_BUCKETS])
    ours = lsh_attention(query, value, bucket, score_scale=SCALE, window=WINDOW, causal=causal)
    assert relative_error(ours, expected) < AS_SHIPPED


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_within_buckets_counting_pairs_once_agrees(seed: int, causal: bool) -> None:
    (query, value), rotation = vectors(seed=seed), rotations(seed=seed + 100)
    options = {"allow_duplicate_attention": False, "attend_across_buckets": False}
    expected, _ = their_lsh(query, value, rotation, causal=causal, **options)
    bucket = hash_vectors(query, rotation, n_buckets=[N_BUCKETS])
    choices: dict[str, Any] = {"same_bucket_only": True, "deduplicate": True}
    ours = lsh_attention(query, value, bucket, score_scale=SCALE, window=WINDOW, causal=causal, **choices)
    assert relative_error(ours, expected) < WITH_COUNTS


def test_counting_pairs_once_across_buckets_is_wrong_there_for_the_first_chunk_of_a_round_only() -> None:
    query, value = vectors()
    rotation = rotations()
    expected, _ = their_lsh(query, value, rotation, allow_duplicate_attention=False)
    bucket = hash_vectors(query, rotation, n_buckets=[N_BUCKETS])
    ours = lsh_attention(query, value, bucket, score_scale=SCALE, window=WINDOW, causal=False, deduplicate=True)
    position_BHRL = bucket.sort(dim=-1, stable=True).indices
    touched_BHL = torch.zeros(EXAMPLES, HEADS, LENGTH, dtype=torch.bool)
    touched_BHL.scatter_(2, position_BHRL[..., :CHUNK].flatten(2), torch.ones(1, dtype=torch.bool).expand(2, 3, 28))
    error_BHL = (ours - expected).abs().amax(-1) / expected.abs().max()
    assert error_BHL[touched_BHL].max() > 0.1
    assert error_BHL[~touched_BHL].max() < WITH_COUNTS


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_dense_attention_agrees(causal: bool, padded: bool, dtype: torch.dtype) -> None:
    query, value = vectors()
    valid_BL = torch.rand(EXAMPLES, LENGTH, generator=torch.Generator().manual_seed(2)) < 0.7 if padded else None
    # Padding there sees nothing at all: only rows that are none are compared.
    counted_BL = torch.ones(EXAMPLES, LENGTH, dtype=torch.bool) if valid_BL is None else valid_BL
    their_mask = None if valid_BL is None else valid_BL.repeat_interleave(HEADS, dim=0)
    attention = FullQKAttention(causal=causal).eval()
    expected = attention(query.flatten(0, 1), value.flatten(0, 1), input_mask=their_mask)[0].view_as(value)
    query, value = query.to(dtype), value.to(dtype)
    ours = dense_attention(
        query, scores.unit_keys(query) * SCALE, value, causal=causal, exclude_self=True, valid_BL=valid_BL
    )
    counted = counted_BL[:, None, :, None]
    assert_close(ours * counted, expected * counted)


@pytest.mark.parametrize("use_full_attn", [True, False], ids=["dense", "lsh"])
@pytest.mark.parametrize("causal", [True, False])
def test_a_layer_with_their_scale_agrees(causal: bool, use_full_attn: bool) -> None:
    width = 14
    with torch.random.fork_rng(devices=[]):
        options = {"random_rotations_per_head": True, "use_full_attn": use_full_attn}
        their = LSHSelfAttention(
            width, heads=HEADS, dim_head=HEAD_WIDTH, bucket_size=CHUNK, n_hashes=ROUNDS, causal=causal, **options
        )
    their.double().eval().requires_grad_(requires_grad=False)
    drawn = torch.Generator().manual_seed(3)
    for parameter in their.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=drawn, dtype=torch.float64))
    # Ours has no bias there.
    their.to_out.bias.zero_()
    ours = our_layer(width, causal=causal, dense=use_full_attn)
    names = {"query": "toqk", "value": "tov", "output": "to_out"}
    ours.load_state_dict({f"{mine}.weight": getattr(their, its).weight for mine, its in names.items()})
    x_BLD = torch.randn(EXAMPLES, LENGTH, width, generator=drawn, dtype=torch.float64)
    rotation_HRKN = rotations()
    with as_they_draw(rotation_HRKN.repeat(EXAMPLES, 1, 1, 1)):
        expected = their(x_BLD)
    replay = Replay(0, 0, "attention", training=False, rotation_HRKN=rotation_HRKN)
    assert_close(ours(x_BLD, slice(0, LENGTH), replay), expected)


def our_layer(width: int, *, causal: bool, dense: bool) -> SelfAttention:
    scale: config.ScoreScale = "unit_key_over_root_width"
    attention = (
        config.DenseAttention(score_scale=scale)
        if dense
        else config.LSHAttention(score_scale=scale, n_hashes=ROUNDS, chunk_len=CHUNK, n_buckets=(N_BUCKETS,))
    )
    settings = config.ReformerConfig(
        vocab_size=31,
        d_model=width,
        n_heads=HEADS,
        d_head=HEAD_WIDTH,
        d_ff=22,
        n_layers=1,
        max_len=LENGTH,
        attention=attention,
        residual="standard",
        causal=causal,
    )
    return SelfAttention(settings, attention).double().requires_grad_(requires_grad=False)


def test_their_dense_attention_ignores_the_positions_that_it_is_given() -> None:
    query, value = (x.flatten(0, 1) for x in vectors())
    attention = FullQKAttention().eval()
    turn = torch.randn(1, LENGTH, HEAD_WIDTH, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert torch.equal(attention(query, value, pos_emb=turn)[0], attention(query, value)[0])
