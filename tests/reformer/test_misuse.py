"""What callers may get wrong is refused before any work is done, naming the argument, its value and a remedy."""

from collections.abc import Callable
from functools import partial
from typing import Any

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
from reformer.inference import InferenceModel
from tests.reformer.models import BATCH, LENGTH, config, model, tokens
from tests.reformer.test_encoder_decoder import batch, encoder_decoder

TOKEN, TARGET = tokens()
TRUE = torch.ones(BATCH, LENGTH, dtype=torch.bool)
SOURCE, DECODED, NEXT = batch()
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
    if how == "loss" and name in ("nothing", "too long", "one-hot", "one sequence without a batch"):
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
    ],
)
def test_an_encoder_s_output(given: Memory | None, message: str) -> None:
    one = model("reformer", cross_attention=True)
    assert_refused_before_any_work(one, lambda: one(TOKEN, seed=3, memory=given), message)


def test_an_encoder_s_output_that_nothing_reads() -> None:
    one = model("reformer")
    message = "memory is given, but nothing reads it: config.cross_attention=False"
    assert_refused_before_any_work(one, lambda: one(TOKEN, seed=3, memory=memory(BATCH, 7, 12)), message)


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


def test_encoding_alone_names_the_source() -> None:
    one = encoder_decoder()
    message = r"source_valid_BE has shape \(2, 53\); it must be \(3, 37\)"
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
