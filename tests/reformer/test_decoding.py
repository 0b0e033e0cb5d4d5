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


STEPS = {
    "too large": (torch.tensor([1, 29]), "token_B holds token id 29; ids run from 0 to vocab_size - 1 = 28"),
    "negative": (torch.tensor([-1, 2]), "token_B holds token id -1"),
    "one too many": (
        torch.tensor([1, 2, 3]),
        r"token_B has shape \(3,\); it must be \(2,\), one token for each sequence",
    ),
    "in columns": (torch.tensor([[1], [2]]), r"token_B has shape \(2, 1\); it must be \(2,\)"),
    "one for all": (torch.tensor(1), r"token_B has shape \(\); it must be \(2,\)"),
    "too short integers": (torch.tensor([1, 2]).int(), "token_B is torch.int32"),
    "no integers": (torch.tensor([1.0, 2.0]), "token_B is torch.float32"),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("ragged", [True, False])
def test_a_step_that_cannot_be_taken_is_refused_and_moves_nothing(name: str, ragged: bool) -> None:
    wrong_B, message = STEPS[name]
    one = sharpened(model("reformer", n_layers=2))
    valid_BL = torch.arange(9) < torch.tensor([[9], [4]]) if ragged else None
    ran = []
    one.trunk.embedding.register_forward_pre_hook(lambda *_: ran.append("embedding"))
    results = []
    for mistaken in (True, False):
        decoder = Decoder(one, capacity=11, seed=3)
        decoder.prefill(tokens(9)[0], valid_BL)
        ran.clear()
        if mistaken:
            with pytest.raises(ValueError, match=message):
                decoder.step(wrong_B)
        assert not ran
        results.append([decoder.step(torch.tensor([1, 2])), decoder.step(torch.tensor([5, 3]))])
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_a_step_before_anything_was_read_is_refused_and_what_is_read_later_is_as_ever() -> None:
    one = model("reformer")
    early, other = (Decoder(one, capacity=9, seed=3) for _ in range(2))
    with pytest.raises(ValueError, match="step comes after prefill"):
        early.step(torch.tensor([1, 2]))
    assert torch.equal(early.prefill(tokens(8)[0]), other.prefill(tokens(8)[0]))


def test_a_step_beyond_the_capacity_leaves_what_is_remembered() -> None:
    decoder = Decoder(model("reformer"), capacity=6, seed=1)
    decoder.prefill(tokens(5)[0])
    decoder.step(torch.tensor([1, 2]))
    before = [part.clone() for part in decoder.cached(2) if part is not None]
    with pytest.raises(ValueError, match="capacity of 6 positions is used up"):
        decoder.step(torch.tensor([4, 3]))
    assert len(before) == 3
    assert all(map(torch.equal, before, (part for part in decoder.cached(2) if part is not None)))


def test_a_prompt_beyond_the_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="token_BL has length 7, but capacity=6; make a Decoder with a larger one"):
        Decoder(model("dense"), capacity=6, seed=1).prefill(tokens(7)[0])


@pytest.mark.parametrize(
    ("token_BL", "message"),
    [
        (tokens(9)[0][0], r"token_BL is torch.int64 of shape \(9,\); token ids are int64 of shape \[batch, length\]"),
        (tokens(9)[0].float(), "token_BL is torch.float32"),
        (tokens(9)[0] + 29, "token_BL holds token id"),
        (tokens(9)[0][:0], r"token_BL has shape \(0, 9\), an empty batch"),
        (tokens(65)[0], r"token_BL has length 65, which is not within 1\.\.64"),
        (tokens(5)[0], "prompt_len=5 leaves nothing to read or to decode of 5 tokens"),
    ],
)
def test_an_error_of_decoding_is_measured_on_sequences_only(token_BL: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoding_error(model("dense"), token_BL, prompt_len=5, seed=1)


@pytest.mark.parametrize(
    "row_B", [torch.tensor([0, 2]), torch.tensor([-1, 0]), torch.tensor([[0], [1]]), torch.ones(2)]
)
def test_rows_that_are_not_there_are_refused(row_B: Tensor) -> None:
    decoder = Decoder(model("dense"), capacity=6, seed=1)
    decoder.prefill(tokens(5)[0])
    with pytest.raises(ValueError, match="must be a list of int64 rows from 0 to 1"):
        decoder.reorder(row_B)


@pytest.mark.parametrize("masked", [True, False])
def test_reordered_rows_are_recomputed_with_the_memory_that_belongs_to_them(masked: bool) -> None:
    one = sharpened(model("dense", cross_attention=True))
    token_BL, order = torch.randint(29, (3, 12), generator=torch.Generator().manual_seed(5)), torch.tensor([2, 0, 0, 1])
    hidden_BED = torch.randn(3, 13, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    valid_BE = torch.arange(13) < torch.tensor([[13], [6], [9]]) if masked else None
    decoder = Decoder(one, capacity=13, seed=3, memory=Memory(hidden_BED, valid_BE))
    decoder.prefill(token_BL)
    decoder.reorder(order)
    there = Memory(hidden_BED[order], None if valid_BE is None else valid_BE[order])
    expected = one.eval()(token_BL[order], seed=3, memory=there)[:, -1]
    torch.testing.assert_close(decoder.recomputed(token_BL[order]), expected, rtol=0, atol=0)
    token_B = torch.tensor([1, 2, 3, 4])
    longer_BL = torch.cat([token_BL[order], token_B[:, None]], dim=1)
    torch.testing.assert_close(decoder.step(token_B), decoder.recomputed(longer_BL), rtol=EXACT, atol=EXACT)


def test_decoding_leaves_the_mode_of_each_submodule_alone() -> None:
    one = model("reformer", dropout=0.5)
    one.trunk.layers[1].eval()
    before = [module.training for module in one.modules()]
    assert True in before
    assert False in before
    assert decoding_error(one, tokens(9)[0], prompt_len=5, seed=1).same_choice > 0
    assert [module.training for module in one.modules()] == before
