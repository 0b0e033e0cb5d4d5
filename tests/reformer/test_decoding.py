"""Cached decoding against full recomputation, row by row."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from reformer.attention import SelfAttention
from reformer.blocks import Memory
from reformer.config import (
    AxialPositions,
    LocalAttention,
    LSHAttention,
    RotaryPositions,
    SinusoidalPositions,
)
from reformer.decoding import Decoder, decoding_error
from reformer.model import ReformerLM
from reformer.positions import LearnedTable
from tests.reformer.models import EVERY_VARIANT, model, tokens

EXACT = 1e-12
LSH = LSHAttention(n_hashes=3, chunk_len=8)
LOCAL = LocalAttention(chunk_len=8, share_qk=False)


def sharpened(one: ReformerLM) -> ReformerLM:
    """Larger weights: attention that is nearly uniform would hide a wrong key."""
    with torch.no_grad():
        for layer in one.trunk.layers:
            cast(SelfAttention, layer.attention.inner).query.weight.mul_(3)
    return one


def worst(one: ReformerLM, *, prompt_len: int = 5, length: int = 37, memory: Memory | None = None) -> float:
    token_BL, _ = tokens(length)
    return max(decoding_error(one, token_BL, prompt_len=prompt_len, seed=11, memory=memory).relative)


@pytest.mark.parametrize("variant", [name for name, one in EVERY_VARIANT.items() if one.attention.kind != "lsh"])
def test_without_lsh_every_step_equals_full_recomputation_at_any_depth(variant: str) -> None:
    assert worst(sharpened(model(variant))) < EXACT


OPTIONS: list[dict[str, Any]] = [
    {},
    {"wrap": "per_round"},
    {"wrap": "none", "n_chunks_before": 2},
    {"same_bucket_only": True},
    {"deduplicate": True},
    {"deduplicate": True, "same_bucket_only": True, "n_chunks_after": 1},
    {"n_chunks_before": 0},
    {"score_scale": "unit_key_over_root_width"},
    {"n_hashes_eval": 5},
    {"n_buckets": (4, 6)},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("prompt_len", [1, 7, 8, 20])
def test_one_lsh_layer_decodes_exactly_whatever_the_prompt(options: dict[str, Any], prompt_len: int) -> None:
    one = sharpened(model("reformer", attention=LSH.model_copy(update=options), n_layers=1))
    assert worst(one, prompt_len=prompt_len) < EXACT


def test_an_lsh_layer_above_others_decodes_exactly() -> None:
    assert worst(sharpened(model("reformer", attention=(LOCAL, LOCAL, LSH), n_layers=3))) < EXACT


def test_lsh_layers_below_others_decode_approximately_and_the_size_is_measured() -> None:
    one = sharpened(model("reformer", n_layers=3))
    error = decoding_error(one, tokens(37)[0], prompt_len=5, seed=11)
    assert len(error.relative) == 32
    assert 1e-6 < max(error.relative) < 1
    assert 0.5 < error.same_choice <= 1


@pytest.mark.parametrize(
    "positions", [AxialPositions(shape=(8, 8), dims=(5, 7)), SinusoidalPositions(), RotaryPositions()]
)
def test_positions_go_on_where_the_prompt_ended(positions: Any) -> None:  # noqa: ANN401
    one = model("reformer", positions=positions, n_layers=1, d_head=6)
    assert worst(sharpened(one)) < EXACT


def test_decoding_hashes_alike_at_every_step() -> None:
    one = model("reformer", n_layers=1, attention=LSH.model_copy(update={"n_hashes": 7}))
    decoder = Decoder(one, capacity=40, seed=3)
    with torch.no_grad():
        # Without positions the layer sees the same vector for the same token.
        cast(LearnedTable, one.trunk.positions).table.zero_()
    decoder.prefill(torch.tensor([[4, 9, 4], [1, 2, 2]]))
    for token in (9, 17, 4):
        decoder.step(torch.tensor([token, 2]))
    past = decoder.cached(0)
    assert past.bucket_BHRL is not None
    bucket_BHRL = past.bucket_BHRL[:, :, :, :6]
    assert torch.equal(bucket_BHRL[0, ..., 0], bucket_BHRL[0, ..., 2])
    assert torch.equal(bucket_BHRL[0, ..., 0], bucket_BHRL[0, ..., 5])
    assert torch.equal(bucket_BHRL[0, ..., 1], bucket_BHRL[0, ..., 3])
    assert torch.equal(bucket_BHRL[1, ..., 1], bucket_BHRL[1, ..., 5])


@pytest.mark.parametrize("attention", [LSH, LOCAL, (LOCAL, LSH)])
def test_each_row_of_a_batch_decodes_as_it_does_alone(attention: Any) -> None:  # noqa: ANN401
    one = sharpened(model("reformer", attention=attention, n_layers=2))
    generator = torch.Generator().manual_seed(5)
    token_BL = torch.randint(29, (5, 31), generator=generator)
    together = decoded(one, token_BL, prompt_len=9)
    for row in range(5):
        alone = decoded(one, token_BL[row : row + 1], prompt_len=9)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=EXACT, atol=EXACT)


def decoded(one: ReformerLM, token_BL: Tensor, *, prompt_len: int, lengths: list[int] | None = None) -> Tensor:
    """Logits of every step; with `lengths` the prompts are shorter than `prompt_len`, and what follows is appended."""
    decoder = Decoder(one, capacity=token_BL.shape[1], seed=3)
    valid_BL = None if lengths is None else torch.arange(prompt_len) < torch.tensor(lengths)[:, None]
    logits = [decoder.prefill(token_BL[:, :prompt_len], valid_BL)]
    logits += [decoder.step(token_B) for token_B in token_BL[:, prompt_len:].unbind(1)]
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("variant", ["dense", "reversible_only", "local_only", "reformer"])
def test_prompts_of_different_lengths_decode_as_they_do_alone(variant: str) -> None:
    changes: dict[str, Any] = {}
    if variant == "reformer":
        # Around a ring the padding of the longest prompt takes part: a round must have ends for this to be exact.
        changes = {"attention": LSH.model_copy(update={"wrap": "none"}), "n_layers": 2}
    one = sharpened(model(variant, **changes))
    lengths = [4, 17, 1]
    token_BL = torch.randint(29, (3, 29), generator=torch.Generator().manual_seed(5))
    together = decoded(one, token_BL, prompt_len=17, lengths=lengths)
    for row, length in enumerate(lengths):
        own = torch.cat([token_BL[row, :length], token_BL[row, 17:]])[None]
        alone = decoded(one, own, prompt_len=length)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=EXACT, atol=EXACT)


def test_cross_attention_decodes_exactly() -> None:
    one = sharpened(model("dense", cross_attention=True))
    memory = Memory(
        torch.randn(2, 13, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64),
        torch.arange(13) < torch.tensor([13, 6])[:, None],
    )
    assert worst(one, memory=memory) < EXACT


def test_reordered_rows_go_on_as_the_rows_they_came_from() -> None:
    one = sharpened(model("reformer", n_layers=2))
    token_BL = torch.randint(29, (3, 12), generator=torch.Generator().manual_seed(5))
    order = torch.tensor([2, 0, 0, 1])
    moved, still = (Decoder(one, capacity=13, seed=3) for _ in range(2))
    moved.prefill(token_BL)
    moved.reorder(order)
    still.prefill(token_BL[order])
    token_B = torch.tensor([1, 2, 3, 4])
    torch.testing.assert_close(moved.step(token_B), still.step(token_B), rtol=EXACT, atol=EXACT)


def test_decoding_leaves_the_model_s_mode_and_the_global_stream_alone() -> None:
    one, before = model("reformer", dropout=0.5), torch.get_rng_state()
    first, second = (decoded(one, tokens(20)[0], prompt_len=5) for _ in range(2))
    assert torch.equal(first, second)
    assert one.training
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("changes", "capacity", "message"),
    [
        ({"causal": False}, 20, "config.causal=False"),
        ({}, 65, "capacity=65 positions, prompt and new tokens together, is not within 1..max_len = 64"),
        ({"cross_attention": True}, 20, "memory=None, but config.cross_attention=True"),
    ],
)
def test_a_model_that_cannot_write_is_refused(changes: dict[str, Any], capacity: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoder(model("dense", **changes), capacity=capacity, seed=1).prefill(tokens(5)[0])


@pytest.mark.parametrize("mask", [[[False, True, True], [True, True, True]], [[True, False, True], [True, True, True]]])
def test_padding_anywhere_but_behind_a_prompt_is_refused(mask: list[list[bool]]) -> None:
    with pytest.raises(ValueError, match="move padding to the right"):
        Decoder(model("dense"), capacity=9, seed=1).prefill(tokens(3)[0], torch.tensor(mask))


def test_a_used_up_capacity_is_refused() -> None:
    decoder = Decoder(model("dense"), capacity=6, seed=1)
    decoder.prefill(tokens(5)[0])
    decoder.step(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="capacity of 6 positions is used up"):
        decoder.step(torch.tensor([1, 2]))
