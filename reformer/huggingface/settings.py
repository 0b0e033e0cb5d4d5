"""Settings from and to transformers' `ReformerConfig`."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ConfigDict

from reformer.config import (
    AnyAttention,
    AxialPositions,
    Chunks,
    Count,
    Frozen,
    LearnedPositions,
    LocalAttention,
    LSHAttention,
    Rate,
    ReformerConfig,
)
from reformer.model import ReformerLM
from reformer.trunk import Reformer

ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh", "relu", "swish"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
    "silu": "swish",
    "swish": "swish",
}
"""Activations by transformers' name; where two mean the same, the first is written."""


class HuggingFaceFields(Frozen):
    """The fields of transformers' `ReformerConfig` that define a model's function, with its defaults.

    `config.json` may leave out any of them. Other fields, of which there are many, change nothing here.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    vocab_size: Count = 320
    hidden_size: Count = 256
    num_attention_heads: Count = 12
    attention_head_size: Count = 64
    feed_forward_size: Count = 512
    attn_layers: tuple[Literal["local", "lsh"], ...] = ("local", "lsh", "local", "lsh", "local", "lsh")
    max_position_embeddings: Count = 4096
    axial_pos_embds: bool = True
    axial_pos_shape: tuple[Count, ...] = (64, 64)
    axial_pos_embds_dim: tuple[Count, ...] = (64, 192)
    local_attn_chunk_length: Count = 64
    local_num_chunks_before: Chunks = 1
    local_num_chunks_after: Chunks = 0
    local_attention_probs_dropout_prob: Rate = 0.05
    lsh_attn_chunk_length: Count = 64
    lsh_num_chunks_before: Chunks = 1
    lsh_num_chunks_after: Chunks = 0
    lsh_attention_probs_dropout_prob: Rate = 0.0
    num_hashes: Count = 1
    num_buckets: Count | tuple[Count, ...] | None = None
    hidden_act: str = "relu"
    hidden_dropout_prob: Rate = 0.05
    chunk_size_feed_forward: Chunks = 0
    is_decoder: bool = False
    layer_norm_eps: float = 1e-12


def config_from_huggingface(config: Any) -> ReformerConfig:  # noqa: ANN401  (a class of an optional package)
    """The settings of a transformers model as ours.

    `hash_seed` has no counterpart: what is hashed against is passed to each call, see `rotations_like_huggingface`.

    Args:
        config: transformers' `ReformerConfig`, or the content of a `config.json`.

    Returns:
        Reversible, with both streams side by side before the head.

    Raises:
        ValueError: A field cannot be converted; names it, its value and a remedy.
    """
    given = config if isinstance(config, Mapping) else getattr(config, "to_dict", dict)()
    if not given:
        raise ValueError(f"config={config!r} is neither transformers' ReformerConfig nor the content of a config.json")
    if given.get("model_type", "reformer") != "reformer":
        raise ValueError(f"model_type={given['model_type']!r} is another model; only 'reformer' can be converted")
    fields = HuggingFaceFields.model_validate(given)
    positions, longest = _positions(fields)
    return ReformerConfig(
        vocab_size=fields.vocab_size,
        d_model=fields.hidden_size,
        n_heads=fields.num_attention_heads,
        d_head=fields.attention_head_size,
        d_ff=fields.feed_forward_size,
        n_layers=len(fields.attn_layers),
        max_len=longest,
        attention=tuple(_local(fields) if kind == "local" else _lsh(fields) for kind in fields.attn_layers),
        residual="reversible",
        positions=positions,
        activation=_activation(fields),
        dropout=fields.hidden_dropout_prob,
        ff_chunk_len=fields.chunk_size_feed_forward or None,
        causal=fields.is_decoder,
        merge="concatenate",
        norm_epsilon=fields.layer_norm_eps,
    )


def _positions(fields: HuggingFaceFields) -> tuple[LearnedPositions | AxialPositions, int]:
    if not fields.axial_pos_embds:
        return LearnedPositions(), fields.max_position_embeddings
    shape = fields.axial_pos_shape
    longest = min(fields.max_position_embeddings, math.prod(shape))
    return AxialPositions(shape=shape, dims=fields.axial_pos_embds_dim), longest


def _local(fields: HuggingFaceFields) -> LocalAttention:
    return LocalAttention(
        share_qk=False,
        chunk_len=fields.local_attn_chunk_length,
        n_chunks_before=fields.local_num_chunks_before,
        n_chunks_after=fields.local_num_chunks_after,
        wrap="ring",
        unseen="window_sum",
        dropout=fields.local_attention_probs_dropout_prob,
    )


def _lsh(fields: HuggingFaceFields) -> LSHAttention:
    if fields.num_buckets is None:
        raise ValueError(
            "num_buckets=None, so transformers chooses the bucket count at the model's first call with more than one "
            "chunk and keeps it; run one such call before converting, or set num_buckets"
        )
    return LSHAttention(
        n_hashes=fields.num_hashes,
        chunk_len=fields.lsh_attn_chunk_length,
        n_chunks_before=fields.lsh_num_chunks_before,
        n_chunks_after=fields.lsh_num_chunks_after,
        n_buckets=fields.num_buckets if isinstance(fields.num_buckets, tuple) else (fields.num_buckets,),
        wrap="across_rounds",
        dropout=fields.lsh_attention_probs_dropout_prob,
    )


def _activation(fields: HuggingFaceFields) -> Literal["gelu", "gelu_tanh", "relu", "swish"]:
    if fields.hidden_act not in ACTIVATIONS:
        raise ValueError(f"hidden_act={fields.hidden_act!r} has no counterpart; use one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[fields.hidden_act]


def their_fields(model: ReformerLM | Reformer) -> dict[str, Any]:
    """The fields of the model's config there, as JSON holds them."""
    config = model.config
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation)
    fields: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_attention_heads": config.n_heads,
        "attention_head_size": config.d_head,
        "feed_forward_size": config.d_ff,
        "max_position_embeddings": config.max_len,
        "hidden_act": activation,
        "hidden_dropout_prob": config.dropout,
        "chunk_size_feed_forward": config.ff_chunk_len or 0,
        "is_decoder": config.causal,
        "layer_norm_eps": config.norm_epsilon,
        "attn_layers": ["lsh" if isinstance(attention, LSHAttention) else "local" for attention in config.attentions],
    }
    for attention in config.attentions:
        fields |= _attention_fields(attention)
    return fields | _position_fields(config)


def _attention_fields(attention: AnyAttention) -> dict[str, Any]:
    kind = "lsh" if isinstance(attention, LSHAttention) else "local"
    assert isinstance(attention, LSHAttention | LocalAttention), "check_expressible refuses others"
    fields: dict[str, Any] = {
        f"{kind}_attn_chunk_length": attention.chunk_len,
        f"{kind}_num_chunks_before": attention.n_chunks_before,
        f"{kind}_num_chunks_after": attention.n_chunks_after,
        f"{kind}_attention_probs_dropout_prob": attention.dropout,
    }
    if isinstance(attention, LSHAttention):
        assert attention.n_buckets is not None, "ReformerConfig fixes the bucket count"
        alone = attention.n_buckets[0] if len(attention.n_buckets) == 1 else list(attention.n_buckets)
        fields |= {"num_hashes": attention.n_hashes, "num_buckets": alone}
    return fields


def _position_fields(config: ReformerConfig) -> dict[str, Any]:
    if not isinstance(config.positions, AxialPositions):
        return {"axial_pos_embds": False}
    shape, dims = config.positions.shape, config.positions.dims
    return {"axial_pos_embds": True, "axial_pos_shape": list(shape), "axial_pos_embds_dim": list(dims)}


def check_expressible(model: ReformerLM | Reformer) -> None:
    """Nothing in the model lacks a counterpart in transformers.

    Raises:
        ValueError: It has none; names the field, its value and what would do.
    """
    for name, found, needed in _requirements(model.config):
        if found != needed:
            raise ValueError(f"{name}={found!r} cannot be expressed in transformers, which has {name}={needed!r} only")
    _check_positions(model.config)
    for kind in (LocalAttention, LSHAttention):
        different = {attention for attention in model.config.attentions if isinstance(attention, kind)}
        if len(different) > 1:
            raise ValueError(
                f"attention has layers of {kind.__name__} with {len(different)} different settings; transformers has "
                "one setting for all of them"
            )
    if isinstance(model, ReformerLM):
        _check_head(model)


def _requirements(config: ReformerConfig) -> Iterator[tuple[str, object, object]]:
    """What a field of ours must be, since transformers has nothing else: name, value found, value needed."""
    yield "residual", config.residual, "reversible"
    yield "merge", config.merge, "concatenate"
    yield "tie_embeddings", config.tie_embeddings, False
    yield "cross_attention", config.cross_attention, False
    for attention in config.attentions:
        match attention:
            case LocalAttention():
                needed: dict[str, object] = {"share_qk": False, "wrap": "ring", "unseen": "window_sum"}
            case LSHAttention():
                needed = {
                    "wrap": "across_rounds",
                    "same_bucket_only": False,
                    "deduplicate": False,
                    "score_scale": "unit_key",
                    "n_hashes_eval": None,
                }
            case _:
                needed = {"kind": "lsh"}
        yield from ((f"attention.{name}", getattr(attention, name), value) for name, value in needed.items())


def _check_positions(config: ReformerConfig) -> None:
    match config.positions:
        case LearnedPositions():
            pass
        case AxialPositions(shape=shape):
            if len(shape) != 2:
                raise ValueError(f"positions.shape={shape} has {len(shape)} axes; transformers evaluates two only")
        case _:
            raise ValueError(
                f"positions.kind={config.positions.kind!r} cannot be expressed in transformers, which has 'learned' "
                "and 'axial' only"
            )


def _check_head(model: ReformerLM) -> None:
    if bool(model.head.bias.any()):
        raise ValueError(
            f"head.bias is not zero (up to {model.head.bias.abs().max().item():.3g}), but transformers 5 ignores the "
            "head's bias; set it to zero"
        )
    for attention in model.config.attentions:
        if isinstance(attention, LocalAttention | LSHAttention) and model.config.causal and attention.n_chunks_after:
            raise ValueError(
                f"attention.n_chunks_after={attention.n_chunks_after} is refused by transformers' causal language "
                "model; only 0 can be converted"
            )
