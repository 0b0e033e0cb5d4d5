"""HuggingFace's whole models through the converter: values and gradients, padding, lengths, and the way back.

In float64, where their large negative scores are exact enough to compare every row; in float32 for models in which no
position sees only itself in several hash rounds, which float32 cannot express there.
"""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import ReformerForMaskedLM, ReformerModel, ReformerModelWithLMHead

from reformer.config import AxialPositions, LearnedPositions, LocalAttention, LSHAttention
from reformer.huggingface import (
    config_from_huggingface,
    from_huggingface,
    rotations_like_huggingface,
    to_huggingface,
)
from reformer.model import ReformerLM
from reformer.trunk import Reformer
from tests.peers import theirs
from tests.reformer.models import gradients

IN_FLOAT64 = 1e-9
VALUES_IN_FLOAT32, GRADIENTS_IN_FLOAT32 = 1e-5, 1e-4
KINDS = {"lm": ReformerModelWithLMHead, "masked_lm": ReformerForMaskedLM, "plain": ReformerModel}
PATTERNS = {"local": ["local"] * 3, "lsh": ["lsh"] * 3, "mixed": ["local", "lsh", "lsh", "local"]}
LEARNED: dict[str, Any] = {"axial_pos_embds": False}


def built(kind: str, *, dtype: torch.dtype = torch.float64, **fields: Any) -> Any:  # noqa: ANN401  (a class of theirs)
    config = theirs.config(**{"is_decoder": kind != "masked_lm", **fields})
    return theirs.built(KINDS[kind], config, dtype=dtype)


def their_values(model: Any, token_BL: Tensor, **named: Any) -> Tensor:  # noqa: ANN401  (a class of theirs)
    values: Tensor = theirs.call(model, token_BL, **named)[0]
    return values


def our_values(model: ReformerLM | Reformer, token_BL: Tensor, **named: Any) -> Tensor:  # noqa: ANN401
    dtype = next(model.parameters()).dtype
    rotations = rotations_like_huggingface(model.config, theirs.HASH_SEED, dtype=dtype)
    values: Tensor = model(token_BL, seed=0, rotations=rotations, **named)
    return values


def assert_same_values_and_gradients(
    model: nn.Module, *, padded: bool, value_limit: float, gradient_limit: float
) -> None:
    # They compute no gradients outside training mode.
    ours = from_huggingface(model.train())
    token_BL, valid_BL = theirs.tokens(), theirs.mask() if padded else None
    expected = their_values(model, token_BL, attention_mask=valid_BL)
    values = our_values(ours, token_BL, valid_BL=valid_BL)
    # float64 is 1.2e-7 coarse where padding in a local layer sees nothing there.
    counted = torch.ones_like(token_BL, dtype=torch.bool) if valid_BL is None else valid_BL
    assert theirs.relative_error(values, expected, where=counted) < value_limit
    weight = torch.randn(values.shape, generator=torch.Generator().manual_seed(3), dtype=values.dtype)
    weight *= counted[..., None]
    theirs.call((expected * weight).sum().backward)
    (values * weight).sum().backward()
    assert worst_gradient_error(gradients(ours), their_gradients(model)) < gradient_limit


def their_gradients(model: nn.Module) -> dict[str, Tensor]:
    """Their gradients by our names: a model that has them for weights, converted."""
    holder = copy.deepcopy(model)
    with torch.no_grad():
        for held, parameter in zip(holder.parameters(), model.parameters(), strict=True):
            # Nothing there reads the head's bias.
            held.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    converted = from_huggingface(holder)
    return {name: parameter.detach() for name, parameter in converted.named_parameters() if name != "head.bias"}


def worst_gradient_error(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    assert ours.keys() - {"head.bias"} == expected.keys()
    return max(theirs.relative_error(ours[name], gradient) for name, gradient in expected.items())


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("positions", [{}, LEARNED], ids=["axial", "learned"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_agree_in_float64(
    kind: str, pattern: str, positions: dict[str, Any], padded: bool
) -> None:
    model = built(kind, attn_layers=PATTERNS[pattern], **positions)
    assert_same_values_and_gradients(model, padded=padded, value_limit=IN_FLOAT64, gradient_limit=IN_FLOAT64)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_buckets": [2, 4]},
        {"num_buckets": [2, 4, 6], "num_hashes": 2},
        {"num_buckets": [10]},
        {"lsh_num_chunks_before": 2, "local_num_chunks_before": 0},
        {"lsh_num_chunks_before": 0, "local_num_chunks_before": 3},
        {"chunk_size_feed_forward": 8},
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"hidden_act": "silu"},
        {"layer_norm_eps": 0.1},
    ],
    ids=str,
)
def test_values_and_gradients_agree_for_every_field(fields: dict[str, Any]) -> None:
    model = built("lm", attn_layers=PATTERNS["mixed"], **fields)
    assert_same_values_and_gradients(model, padded=True, value_limit=IN_FLOAT64, gradient_limit=IN_FLOAT64)


def test_values_and_gradients_agree_when_chunks_ahead_are_seen() -> None:
    ahead: dict[str, Any] = {"lsh_num_chunks_after": 1, "local_num_chunks_after": 2}
    model = built("masked_lm", **ahead, attn_layers=PATTERNS["mixed"])
    assert_same_values_and_gradients(model, padded=True, value_limit=IN_FLOAT64, gradient_limit=IN_FLOAT64)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("kind", "pattern", "n_hashes"), [("lm", "local", 3), ("lm", "mixed", 1), ("masked_lm", "mixed", 3)]
)
def test_values_and_gradients_agree_in_float32(kind: str, pattern: str, n_hashes: int, padded: bool) -> None:
    model = built(kind, attn_layers=PATTERNS[pattern], num_hashes=n_hashes, dtype=torch.float32)
    limits = {"value_limit": VALUES_IN_FLOAT32, "gradient_limit": GRADIENTS_IN_FLOAT32}
    assert_same_values_and_gradients(model, padded=padded, **limits)


@pytest.mark.parametrize("kind", ["lm", "masked_lm"])
@pytest.mark.parametrize(
    ("pattern", "length"),
    [("mixed", 22), ("mixed", 4), ("mixed", 3), ("lsh", 23), ("lsh", 21), ("lsh", 4), ("lsh", 1), ("local", 19)],
)
def test_lengths_that_they_pad_themselves_agree_in_evaluation(kind: str, pattern: str, length: int) -> None:
    model, token_BL = built(kind, attn_layers=PATTERNS[pattern]), theirs.tokens(length)
    values = our_values(from_huggingface(model), token_BL)
    assert theirs.relative_error(values, their_values(model, token_BL)) < IN_FLOAT64


def test_a_length_padded_by_whole_chunks_agrees_if_the_padding_is_passed_as_such() -> None:
    length, padded_length = 13, 24
    model, token_BL = built("lm", attn_layers=PATTERNS["mixed"]), theirs.tokens(13)
    expected, ours = their_values(model, token_BL), from_huggingface(model)
    padded = nn.functional.pad(token_BL, (0, padded_length - length))
    valid_BL = (torch.arange(padded_length) < length).expand(theirs.BATCH, -1)
    values = our_values(ours, padded, valid_BL=valid_BL)[:, :length]
    assert theirs.relative_error(values, expected) < IN_FLOAT64
    # Left to itself, ours has no chunk of nothing but padding for the next hash round to look back at.
    assert theirs.relative_error(our_values(ours, token_BL), expected) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", [{}, LEARNED], ids=["axial", "learned"])
def test_a_model_comes_back_as_it_was(kind: str, positions: dict[str, Any]) -> None:
    model = built(kind, attn_layers=PATTERNS["mixed"], num_buckets=[2, 4], **positions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state = torch.get_rng_state()
        returned: Any = to_huggingface(from_huggingface(model))
        assert torch.equal(torch.get_rng_state(), state)
    assert type(returned) is KINDS[kind]
    assert not returned.training
    assert config_from_huggingface(returned.config) == config_from_huggingface(model.config)
    assert returned.state_dict().keys() == model.state_dict().keys()
    for name, tensor in returned.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    returned.config.hash_seed = theirs.HASH_SEED
    for layer in getattr(returned, "reformer", returned).encoder.layers:
        layer.attention.self_attention.hash_seed = theirs.HASH_SEED
    token_BL = theirs.tokens()
    assert torch.equal(their_values(returned, token_BL), their_values(model, token_BL))


def test_settings_are_translated_one_by_one() -> None:
    fields: dict[str, Any] = {
        "attn_layers": ["local", "lsh"],
        "local_num_chunks_before": 2,
        "local_num_chunks_after": 1,
        "local_attention_probs_dropout_prob": 0.125,
        "lsh_num_chunks_before": 3,
        "lsh_num_chunks_after": 0,
        "lsh_attention_probs_dropout_prob": 0.25,
        "hidden_dropout_prob": 0.375,
        "num_buckets": [4, 10],
        "chunk_size_feed_forward": 9,
        "hidden_act": "gelu_new",
        "max_position_embeddings": 23,
    }
    ours = config_from_huggingface(theirs.config(**fields))
    local = LocalAttention(
        share_qk=False,
        chunk_len=6,
        n_chunks_before=2,
        n_chunks_after=1,
        wrap="ring",
        unseen="window_sum",
        dropout=0.125,
    )
    lsh = LSHAttention(n_hashes=3, chunk_len=4, n_chunks_before=3, n_chunks_after=0, n_buckets=(4, 10), dropout=0.25)
    assert ours.attention == (local, lsh)
    assert (ours.vocab_size, ours.d_model, ours.n_heads, ours.d_head, ours.d_ff, ours.n_layers) == (31, 14, 3, 5, 22, 2)
    assert (ours.max_len, ours.positions) == (23, AxialPositions(shape=(4, 6), dims=(5, 9)))
    assert (ours.residual, ours.merge, ours.causal, ours.norm_epsilon) == ("reversible", "concatenate", True, 1e-12)
    assert (ours.activation, ours.dropout, ours.ff_chunk_len) == ("gelu_tanh", 0.375, 9)


def test_axial_positions_bound_the_length_and_learned_ones_are_the_table_s() -> None:
    assert config_from_huggingface(theirs.config(max_position_embeddings=50)).max_len == 24
    learned = config_from_huggingface(theirs.config(max_position_embeddings=50, **LEARNED))
    assert (learned.max_len, learned.positions) == (50, LearnedPositions())


def test_a_config_without_lsh_layers_needs_no_bucket_count() -> None:
    config = theirs.config(attn_layers=["local"], num_buckets=None)
    assert config_from_huggingface(config).attentions[0].kind == "local"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_buckets": None}, "num_buckets=None.*set num_buckets"),
        ({"hidden_act": "tanh"}, "hidden_act='tanh' has no counterpart; use one of gelu, gelu_new"),
        ({"num_buckets": 7}, "n_buckets=7 is odd"),
        ({"attn_layers": ["local", "global"]}, "attn_layers"),
        ({"axial_pos_embds_dim": [5, 8]}, "add up to 13, not to d_model=14"),
    ],
)
def test_a_config_that_cannot_be_converted_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_huggingface({**theirs.SIZES, **fields})


def test_a_bucket_count_that_they_chose_at_the_first_call_is_converted() -> None:
    model, token_BL = built("lm", attn_layers=PATTERNS["lsh"], num_buckets=None), theirs.tokens()
    with pytest.raises(ValueError, match="run one such call before converting"):
        from_huggingface(model)
    expected = their_values(model, token_BL)
    assert theirs.relative_error(our_values(from_huggingface(model), token_BL), expected) < IN_FLOAT64


def test_a_head_bias_is_added_or_ignored_as_asked() -> None:
    model, token_BL = built("lm", attn_layers=PATTERNS["local"]), theirs.tokens()
    expected = their_values(model, token_BL)
    with torch.no_grad():
        model.lm_head.bias.copy_(torch.arange(theirs.VOCABULARY))
    assert torch.equal(their_values(model, token_BL), expected), "transformers 5 ignores it"
    with pytest.raises(ValueError, match=r"lm_head.bias is not zero \(up to 30\).*head_bias='add'"):
        from_huggingface(model)
    ignored = our_values(from_huggingface(model, head_bias="ignore"), token_BL)
    added = our_values(from_huggingface(model, head_bias="add"), token_BL)
    assert theirs.relative_error(ignored, expected) < IN_FLOAT64
    assert theirs.relative_error(added, expected + torch.arange(theirs.VOCABULARY)) < IN_FLOAT64


def ours_like_theirs(**changes: Any) -> ReformerLM:  # noqa: ANN401  (any field of the config)
    config = config_from_huggingface(theirs.config(attn_layers=["local", "lsh"])).model_copy(update=changes)
    return ReformerLM(config, torch.Generator().manual_seed(0))


LOCAL, LSH = config_from_huggingface(theirs.config(attn_layers=["local", "lsh"])).attentions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"residual": "standard"}, "residual='standard'.*residual='reversible' only"),
        ({"merge": "mean"}, "merge='mean'"),
        ({"merge": "mean", "tie_embeddings": True}, "merge='mean'"),
        ({"cross_attention": True}, "cross_attention=True"),
        ({"attention": LOCAL.model_copy(update={"wrap": "none"})}, "attention.wrap='none'.*attention.wrap='ring' only"),
        ({"attention": LOCAL.model_copy(update={"unseen": "own_value"})}, "attention.unseen='own_value'"),
        ({"attention": LOCAL.model_copy(update={"share_qk": True})}, "attention.share_qk=True"),
        ({"attention": LSH.model_copy(update={"wrap": "per_round"})}, "attention.wrap='per_round'"),
        ({"attention": LSH.model_copy(update={"deduplicate": True})}, "attention.deduplicate=True"),
        ({"attention": LSH.model_copy(update={"same_bucket_only": True})}, "attention.same_bucket_only=True"),
        ({"attention": LSH.model_copy(update={"score_scale": "unit_key_over_root_width"})}, "attention.score_scale="),
        ({"attention": LSH.model_copy(update={"n_hashes_eval": 8})}, "attention.n_hashes_eval=8"),
        ({"attention": LSH.model_copy(update={"n_chunks_after": 1})}, "attention.n_chunks_after=1"),
        ({"attention": (LSH, LSH.model_copy(update={"n_hashes": 5}))}, "LSHAttention with 2 different settings"),
        ({"attention": (LOCAL, LOCAL.model_copy(update={"chunk_len": 5}))}, "LocalAttention with 2 different settings"),
        ({"positions": AxialPositions(shape=(2, 3, 4), dims=(2, 5, 7))}, r"positions.shape=\(2, 3, 4\) has 3 axes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_they_cannot_express_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_huggingface(ours_like_theirs(**changes))


@pytest.mark.parametrize("kind", ["sinusoidal", "rotary"])
def test_positions_that_they_do_not_have_are_refused(kind: str) -> None:
    config = ours_like_theirs().config.model_dump() | {"positions": {"kind": kind}, "d_head": 6}
    model = ReformerLM(type(ours_like_theirs().config).model_validate(config), torch.Generator())
    with pytest.raises(ValueError, match=f"positions.kind='{kind}'"):
        to_huggingface(model)


@pytest.mark.parametrize("kind", ["dense", "dense_query_chunked"])
def test_attention_that_they_do_not_have_is_refused(kind: str) -> None:
    config = ours_like_theirs().config.model_dump() | {"attention": {"kind": kind}}
    model = ReformerLM(type(ours_like_theirs().config).model_validate(config), torch.Generator())
    with pytest.raises(ValueError, match=f"attention.kind='{kind}'"):
        to_huggingface(model)


def test_a_trained_head_bias_is_refused_on_the_way_back() -> None:
    model = ours_like_theirs()
    torch.nn.init.constant_(model.head.bias, 0.5)
    with pytest.raises(ValueError, match=r"head.bias is not zero \(up to 0.5\).*set it to zero"):
        to_huggingface(model)
