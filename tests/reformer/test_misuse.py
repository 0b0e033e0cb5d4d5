"""What callers may get wrong is refused before any work is done, naming the argument, its value and a remedy."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from reformer.blocks import Memory
from reformer.config import (
    EncoderDecoderConfig,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    ReformerConfig,
    RotaryPositions,
)
from reformer.decoding import decoding_error
from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.generation import Greedy, Sample, generate
from reformer.inference import InferenceModel
from reformer.randomness import derived_seed
from tests.reformer.models import BATCH, LENGTH, config, encoder_decoder, model, sequence_pairs, tokens

TOKEN, TARGET = tokens()
TRUE = torch.ones(BATCH, LENGTH, dtype=torch.bool)
SOURCE, DECODED, NEXT = sequence_pairs()
Call = Callable[..., Any]


def with_token(value: int) -> Tensor:
    token = TOKEN.clone()
    token[1, 7] = value
    return token


def assert_refused_before_any_work(of: nn.Module, call: Callable[[], object], message: str) -> None:
    ran: list[str] = []
    for name, module in of.named_modules():
        if name:
            module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    with pytest.raises(ValueError, match=message):
        call()
    # The trunk is where a language model's arguments are looked at.
    assert set(ran) <= {"trunk", "model"}


OF_TOKENS = {
    "not integers": (TOKEN.float(), r"token_BL is torch.float32 of shape \(2, 53\); token ids are int64"),
    "too short integers": (TOKEN.int(), r"token_BL is torch.int32 of shape \(2, 53\); token ids are int64"),
    "one sequence without a batch": (TOKEN[0], r"token_BL is torch.int64 of shape \(53,\); .* \[batch, length\]"),
    "one-hot": (TOKEN[..., None], r"token_BL is torch.int64 of shape \(2, 53, 1\)"),
    "an empty batch": (TOKEN[:0], r"token_BL has shape \(0, 53\), an empty batch; give one sequence at least"),
    "nothing": (TOKEN[:, :0], r"token_BL has length 0, which is not within 1\.\.64; shorten it or raise max_len"),
    "too long": (TOKEN.repeat(1, 2), r"token_BL has length 106, which is not within 1\.\.64; shorten it or raise"),
    "negative": (with_token(-1), r"token_BL holds token id -1; ids run from 0 to vocab_size - 1 = 28"),
    "too large": (with_token(29), r"token_BL holds token id 29; ids run from 0 to vocab_size - 1 = 28"),
}


@pytest.mark.parametrize("name", OF_TOKENS)
@pytest.mark.parametrize("how", ["forward", "loss", "trunk", "inference"])
def test_tokens(name: str, how: str) -> None:
    token, message = OF_TOKENS[name]
    one = model("reformer")
    calls: dict[str, Call] = {
        "forward": lambda: one(token, seed=3),
        "loss": lambda: one.loss(token, token.new_zeros(token.shape, dtype=torch.int64), seed=3),
        "trunk": lambda: one.trunk(token, seed=3),
        "inference": lambda: InferenceModel(one, seed=3)(token),
    }
    if how == "loss" and name in ("nothing", "too long", "one-hot", "one sequence without a batch", "an empty batch"):
        message = message.replace("token_BL", "target_BL", 1)
    assert_refused_before_any_work(one, calls[how], message)


OF_MASKS = {
    "of numbers": (TRUE.float(), r"{} is torch.float32; masks are bool.*use {}.bool\(\)"),
    "of another length": (TRUE[:, :52], r"{} has shape \(2, 52\); it must be \(2, 53\)"),
    "of another batch": (TRUE[:1], r"{} has shape \(1, 53\); it must be \(2, 53\)"),
    "of pairs": (TRUE[:, :, None] & TRUE[:, None], r"{} has shape \(2, 53, 53\); it must be \(2, 53\)"),
}


@pytest.mark.parametrize("name", OF_MASKS)
@pytest.mark.parametrize("argument", ["valid_BL", "counted_BL"])
def test_masks(name: str, argument: str) -> None:
    mask, message = OF_MASKS[name]
    one = model("reformer")
    given: dict[str, Any] = {argument: mask}
    assert_refused_before_any_work(
        one, lambda: one.loss(TOKEN, TARGET, seed=3, **given), message.replace("{}", argument)
    )


def test_nothing_to_average_over() -> None:
    one = model("reformer")
    assert_refused_before_any_work(
        one, lambda: one.loss(TOKEN, TARGET, seed=3, counted_BL=~TRUE), "counted_BL is false everywhere.*mark one"
    )


def test_targets() -> None:
    one = model("reformer")
    short = "target_BL has shape .2, 52. and token_BL .2, 53.; give one target for each token"
    assert_refused_before_any_work(one, lambda: one.loss(TOKEN, TARGET[:, :52], seed=3), short)
    ignored = r"target_BL holds token id -100; ids run from 0 to vocab_size - 1 = 28"
    assert_refused_before_any_work(one, lambda: one.loss(TOKEN, with_token(-100), seed=3), ignored)


@pytest.mark.parametrize("share_qk", [True, False])
def test_a_mask_for_fused_attention(share_qk: bool) -> None:
    one = model("dense", attention=(QueryChunkedAttention(), FusedAttention(share_qk=share_qk)))
    assert_refused_before_any_work(
        one, lambda: one(TOKEN, seed=3, valid_BL=TRUE), "valid_BL cannot be given to fused.*use kind 'dense_query_chun"
    )


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_parameters_of_a_type_that_nothing_computes_with(dtype: torch.dtype) -> None:
    one = model("reformer")
    for module in one.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach().to(dtype)))
    message = f"parameters are {dtype}, which backend 'eager' cannot compute with; convert it to one of torch.float16"
    assert_refused_before_any_work(one, lambda: one(TOKEN, seed=3), message)
    assert_refused_before_any_work(one, lambda: generate(one, TOKEN, n_new=2, seed=3), message)


PATTERN: dict[str, Any] = {
    "attention": (LocalAttention(chunk_len=8), LSHAttention(n_hashes=3, n_hashes_eval=5, chunk_len=8, n_buckets=(4, 6)))
}


def test_rotations() -> None:
    one = model("reformer", **PATTERN)
    right = one.trunk.rotations(3)
    rotation = right[1]
    assert rotation is not None
    needed = r"layer 1, of kind 'lsh', takes \(3, 3, 5, 5\); pass what rotations\(seed\) returns"
    for wrong, message in {
        tuple(right[:3]): "rotations has 3 entries, but the model has 4 layers; give one for each",
        (rotation, *right[1:]): r"rotations\[0\] has shape \(3, 3, 5, 5\), but layer 0, of kind 'local', takes None",
        (None, None, *right[2:]): r"rotations\[1\] has shape None, but " + needed,
        (None, rotation[:2], *right[2:]): r"rotations\[1\] has shape \(2, 3, 5, 5\), but " + needed,
        (None, rotation[:, :, :4], *right[2:]): r"rotations\[1\] has shape \(3, 3, 4, 5\), but " + needed,
        (None, rotation[..., :3], *right[2:]): r"rotations\[1\] has shape \(3, 3, 5, 3\), but " + needed,
    }.items():
        assert_refused_before_any_work(one, partial(one, TOKEN, seed=3, rotations=wrong), message)
    assert torch.equal(one(TOKEN, seed=3, rotations=right), one(TOKEN, seed=3))
    # Evaluation hashes five times.
    of_training = r"rotations\[1\] has shape \(3, 3, 5, 5\), but layer 1, of kind 'lsh', takes \(3, 5, 5, 5\)"
    assert_refused_before_any_work(one.eval(), lambda: one(TOKEN, seed=3, rotations=right), of_training)


def memory(*shape: int) -> Memory:
    return Memory(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "memory=None, but config.cross_attention=True: pass a Memory with an encoder's output"),
        (memory(BATCH, 7, 11), r"memory.hidden_BED has shape \(2, 7, 11\); it must be \[2, source length, 12\]"),
        (memory(3, 7, 12), r"memory.hidden_BED has shape \(3, 7, 12\); it must be \[2, source length, 12\]"),
        (memory(BATCH, 0, 12), r"memory.hidden_BED has shape \(2, 0, 12\); it must be"),
        (memory(7, 12), r"memory.hidden_BED has shape \(7, 12\); it must be"),
        (
            memory(BATCH, 7, 12)._replace(valid_BE=TRUE[:, :6]),
            r"memory.valid_BE has shape \(2, 6\); it must be \(2, 7\)",
        ),
        (memory(BATCH, 7, 12)._replace(valid_BE=torch.ones(BATCH, 7)), "memory.valid_BE is torch.float32; masks are"),
        (memory(BATCH, 7, 12).hidden_BED, r"memory is a Tensor; pass Memory\(hidden_BED, valid_BE\)"),
        (
            Memory(torch.zeros(BATCH, 7, 12)),
            "memory.hidden_BED is torch.float32, but the decoder's parameters are .*64",
        ),
        (Memory(torch.zeros(BATCH, 7, 12).long()), "memory.hidden_BED is torch.int64, but the decoder's parameters"),
    ],
)
@pytest.mark.parametrize("how", ["forward", "loss", "generate", "decoding error"])
def test_an_encoder_s_output(given: Memory | None, message: str, how: str) -> None:
    one = model("reformer", cross_attention=True)
    calls: dict[str, Call] = {
        "forward": lambda: one(TOKEN, seed=3, memory=given),
        "loss": lambda: one.loss(TOKEN, TARGET, seed=3, memory=given),
        "generate": lambda: generate(one, TOKEN, n_new=2, seed=3, memory=given),
        "decoding error": lambda: decoding_error(one, TOKEN, prompt_len=52, seed=3, memory=given),
    }
    assert_refused_before_any_work(one, calls[how], message)


def test_an_encoder_s_output_that_nothing_reads() -> None:
    one = model("reformer")
    message = "memory is given, but nothing reads it: config.cross_attention=False"
    assert_refused_before_any_work(one, lambda: one(TOKEN, seed=3, memory=memory(BATCH, 7, 12)), message)


OF_GENERATION: dict[str, tuple[dict[str, Any], str]] = {
    "no tokens to write": ({"n_new": 0}, "n_new=0; ask for a whole number of tokens, one at least"),
    "half a token": ({"n_new": 2.5}, r"n_new=2.5; ask for a whole number of tokens"),
    "a number in words": ({"n_new": "3"}, "n_new='3'; ask for a whole number of tokens"),
    "too many tokens": (
        {"n_new": 12},
        r"capacity=65 positions, prompt and new tokens together, is not within 1\.\.max",
    ),
    "more tokens than there are": ({"strategy": Sample(top_k=30)}, "top_k=30 is more than the 29 tokens of the vocab"),
    "a strategy by name": ({"strategy": "greedy"}, r"strategy='greedy'; use Greedy\(\), Sample\(...\) or Beam\(...\)"),
    "a strategy not made": ({"strategy": Greedy}, "strategy=<class .*; use Greedy"),
    "an end that is no token": ({"end_token": 29}, "end_token=29 is no token; ids run from 0 to vocab_size - 1 = 28"),
    "a negative end": ({"end_token": -1}, "end_token=-1 is no token"),
    "a prompt of one sequence": ({"prompt_BL": TOKEN[0]}, r"prompt_BL is torch.int64 of shape \(53,\)"),
    "an empty batch": ({"prompt_BL": TOKEN[:0]}, r"prompt_BL has shape \(0, 53\), an empty batch"),
    "no token": ({"prompt_BL": with_token(29)}, "prompt_BL holds token id 29"),
    "a mask of numbers": ({"valid_BL": TRUE.float()}, "valid_BL is torch.float32; masks are bool"),
    "padding in front": ({"valid_BL": torch.arange(LENGTH).expand(2, -1) > 3}, "valid_BL must be true for the first"),
}


@pytest.mark.parametrize("name", OF_GENERATION)
def test_generation(name: str) -> None:
    changes, message = OF_GENERATION[name]
    one, given = model("reformer"), {"prompt_BL": TOKEN, "n_new": 2, "seed": 3, **changes}
    assert_refused_before_any_work(one, lambda: generate(one, **given), message)


def test_generation_with_a_mask_that_fused_attention_does_not_take() -> None:
    one = model("dense_fused")
    message = "valid_BL cannot be given to fused attention, which takes no mask; use kind 'dense_query_chunked'"
    assert_refused_before_any_work(one, lambda: generate(one, TOKEN, n_new=2, seed=3, valid_BL=TRUE), message)


@pytest.mark.parametrize("seed", [3.0, "3", None])
def test_a_seed_that_is_no_whole_number(seed: Any) -> None:  # noqa: ANN401
    message = rf"seed={seed!r} is a {type(seed).__name__}; a seed is a whole number"
    # A model that neither hashes nor drops out would not need one.
    for variant in ("reformer", "dense"):
        one = model(variant)
        assert_refused_before_any_work(one, partial(one, TOKEN, seed=seed), message)
        assert_refused_before_any_work(one, partial(one.loss, TOKEN, TARGET, seed=seed), message)
        assert_refused_before_any_work(one, partial(generate, one, TOKEN, n_new=2, seed=seed), message)
        assert_refused_before_any_work(one, partial(decoding_error, one, TOKEN, prompt_len=5, seed=seed), message)
    pair = encoder_decoder()
    assert_refused_before_any_work(pair, partial(pair, SOURCE, DECODED, seed=seed), message)
    assert_refused_before_any_work(pair, partial(pair.loss, SOURCE, DECODED, NEXT, seed=seed), message)
    assert_refused_before_any_work(pair, partial(pair.encode, SOURCE, seed=seed), message)
    with pytest.raises(ValueError, match=message):
        derived_seed(seed, "rotations")


def test_whole_numbers_of_any_type_are_equal_seeds() -> None:
    one = model("reformer", dropout=0.3)
    expected = one(TOKEN, seed=3)
    for seed in (np.int64(3), torch.tensor(3)):
        assert torch.equal(one(TOKEN, seed=seed), expected)
    assert not torch.equal(one(TOKEN, seed=np.int64(4)), expected)


OF_OTHER_SIZES: dict[str, tuple[dict[str, Any], str, tuple[int, ...], tuple[int, ...]]] = {
    "another vocabulary": ({"vocab_size": 30}, "embedding.weight", (30, 12), (29, 12)),
    "other positions": ({"max_len": 72}, "positions.table", (72, 12), (64, 12)),
    "another hidden layer": ({"d_ff": 21}, "blocks.0.feed_forward.inner.inner.weight", (21, 12), (22, 12)),
    "other heads": ({"n_heads": 2}, "blocks.0.attention.inner.query.weight", (10, 12), (15, 12)),
}


def other_sizes(prefix: str, name: str) -> tuple[dict[str, Tensor], str]:
    """A checkpoint with other sizes, all zeros, and how it is refused."""
    changes, tensor, found, needed = OF_OTHER_SIZES[name]
    state = model("reformer", **changes).trunk.state_dict()
    message = f"checkpoint tensor {prefix}{tensor} has shape {found}, but the config makes it {needed}; use the config"
    return {prefix + key: torch.zeros_like(value) for key, value in state.items()}, re.escape(message)


@pytest.mark.parametrize("name", OF_OTHER_SIZES)
@pytest.mark.parametrize("prefix", ["", "trunk."])
def test_a_checkpoint_of_other_sizes(prefix: str, name: str) -> None:
    one = model("reformer") if prefix else model("reformer").trunk
    state, message = other_sizes(prefix, name)
    before = {key: value.clone() for key, value in one.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        one.load_state_dict(before | state)
    torch.testing.assert_close(dict(one.state_dict()), before, rtol=0, atol=0, msg="something of it was loaded")


@pytest.mark.parametrize("name", OF_OTHER_SIZES)
@pytest.mark.parametrize("prefix", ["encoder.", "decoder.trunk."])
def test_a_checkpoint_of_an_encoder_decoder_of_other_sizes(prefix: str, name: str) -> None:
    halves = {"encoder": config("reformer", causal=False), "decoder": config("reformer", cross_attention=True)}
    one = ReformerEncoderDecoder(EncoderDecoderConfig(**halves), torch.Generator().manual_seed(0)).double()
    state, message = other_sizes(prefix, name)
    with pytest.raises(ValueError, match=message):
        one.load_state_dict({**one.state_dict(), **state})


def test_a_checkpoint_with_another_head() -> None:
    one = model("reformer")
    state = {**one.state_dict(), "head.weight": torch.zeros(29, 24, dtype=torch.float64)}
    message = r"checkpoint tensor head.weight has shape \(29, 24\), but the config makes it \(29, 12\); use the config"
    with pytest.raises(ValueError, match=message):
        one.load_state_dict(state)


def test_untied_weights_for_a_tied_model() -> None:
    tied, untied = model("reformer", tie_embeddings=True), model("reformer")
    message = "checkpoint tensors trunk.embedding.weight and head.weight differ, but tie_embeddings=True makes them one"
    with pytest.raises(ValueError, match=message):
        tied.load_state_dict(untied.state_dict())
    equal = {**untied.state_dict(), "head.weight": untied.trunk.embedding.weight.detach().clone()}
    tied.load_state_dict(equal)
    assert tied.head.weight is tied.trunk.embedding.weight
    torch.testing.assert_close(dict(tied.state_dict()), equal, rtol=0, atol=0)


OF_PAIRS: dict[str, tuple[dict[str, Any], str]] = {
    "a source token": ({"source_BE": SOURCE + 31}, r"source_BE holds token id \d+; ids run from 0 to .* = 30"),
    "a source's length": ({"source_BE": SOURCE.repeat(1, 2)}, r"source_BE has length 74, which is not within 1\.\.40"),
    "a source's mask": (
        {"source_valid_BE": torch.ones(3, 36, dtype=torch.bool)},
        r"source_valid_BE has shape \(3, 36\); it must be \(3, 37\)",
    ),
    "a source too few": ({"source_BE": SOURCE[:2]}, "source_BE holds 2 examples and token_BL 3; give one source for"),
    "a target token": ({"token_BL": DECODED + 29}, r"token_BL holds token id \d+; ids run from 0 to .* = 28"),
    "a target's mask": ({"valid_BL": torch.ones(3, 23)}, "valid_BL is torch.float32; masks are bool"),
    "what to predict": ({"target_BL": NEXT + 29}, r"target_BL holds token id \d+; ids run"),
    "what counts": ({"counted_BL": torch.zeros(3, 23, dtype=torch.bool)}, "counted_BL is false everywhere"),
}


@pytest.mark.parametrize("name", OF_PAIRS)
@pytest.mark.parametrize("how", ["forward", "loss"])
def test_an_encoder_decoder_looks_at_everything_before_its_encoder_runs(name: str, how: str) -> None:
    changes, message = OF_PAIRS[name]
    one = encoder_decoder()
    given = {"source_BE": SOURCE, "token_BL": DECODED, "target_BL": NEXT, **changes}
    if how == "loss":
        assert_refused_before_any_work(one, lambda: one.loss(**given, seed=3), message)
    elif not {"target_BL", "counted_BL"} & set(changes):
        del given["target_BL"]
        assert_refused_before_any_work(one, lambda: one(**given, seed=3), message)


def test_encoding_alone_names_its_own_argument() -> None:
    one = encoder_decoder()
    message = r"^valid_BE has shape \(2, 53\); it must be \(3, 37\)"
    assert_refused_before_any_work(one, lambda: one.encode(SOURCE, seed=3, valid_BE=TRUE), message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSHAttention(n_buckets=(4, 7)), "n_buckets=7 is odd.*use 6 or 8"),
        (
            lambda: config("dense", positions=RotaryPositions()),
            "rotary positions rotate pairs of channels, but d_head=5 is odd; use 6",
        ),
        (
            lambda: config("dense", merge="concatenate", tie_embeddings=True),
            "tie_embeddings=True needs a head of width d_model=12, but merge='concatenate' .* 24 wide; use merge=",
        ),
        (
            lambda: config("transformer", merge="concatenate"),
            "merge='concatenate' needs two streams, but residual='single_stream' has one; use 'mean'",
        ),
        (lambda: config("dense", dropout=1.0), "dropout"),
        (lambda: config("dense", residual="reversed"), "residual"),
    ],
)
def test_a_config_that_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


@pytest.mark.parametrize(
    ("half", "changes", "message"),
    [
        ("encoder", {"causal": True}, "encoder.causal=True, but an encoder-decoder needs encoder.causal=False"),
        ("encoder", {"cross_attention": True}, "encoder.cross_attention=True, but .* needs encoder.cross_attention=F"),
        ("encoder", {"merge": "concatenate"}, "encoder.merge='concatenate', but .* needs encoder.merge='mean'"),
        ("decoder", {"causal": False}, "decoder.causal=False, but an encoder-decoder needs decoder.causal=True"),
        ("decoder", {"cross_attention": False}, "decoder.cross_attention=False, but .* needs .*=True"),
        ("decoder", {"d_model": 10}, "decoder.d_model=10, but an encoder-decoder needs decoder.d_model=12"),
    ],
)
def test_halves_that_do_not_fit(half: str, changes: dict[str, Any], message: str) -> None:
    right = {
        "encoder": config("reformer", causal=False),
        "decoder": config("reformer", cross_attention=True),
    }
    assert EncoderDecoderConfig(**right)
    changed = ReformerConfig.model_validate({**right[half].model_dump(), **changes})
    with pytest.raises(ValidationError, match=message):
        EncoderDecoderConfig(**{**right, half: changed})
