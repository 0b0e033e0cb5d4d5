"""Weights and settings from and to HuggingFace transformers' Reformer, written against transformers 5.23.

Reading a checkpoint folder needs safetensors (extra `huggingface`), `to_huggingface` needs transformers (extra
`peers`), the rest neither. What transformers computes and ours does not, and the other way round:

- transformers pads a length that is no multiple of all its chunk lengths. Where that adds a whole chunk to a layer, a
  window that wraps around meets the added chunk in place of a real one; pass such tokens with a `valid_BL` to get the
  same here. Any other length gives the same values as it is.
- A window wider than the ring of chunks counts its chunks twice there, once here.
- Its float32 is 0.008 coarse where an LSH position sees only itself; here such a position returns its value. Padding
  that sees nothing in a local layer gets the sum of its window there and here, but in float64 their mean there.
- In training it also drops out embeddings and the last normalisation. Its gradients are wrong with dropout and LSH.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

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
from reformer.model import Reformer, ReformerLM

HeadBias = Literal["add", "ignore"]
"""What to do with a head bias that is not zero: transformers 4 added it to the logits, transformers 5 ignores it."""

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

    Raises:
        ValueError: A field cannot be converted; names it, its value and a remedy.
    """
    fields = HuggingFaceFields.model_validate(config if isinstance(config, Mapping) else config.to_dict())
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


def rotations_like_huggingface(
    config: ReformerConfig, hash_seed: int, *, dtype: torch.dtype = torch.float32
) -> list[Tensor | None]:
    """What a transformers model on the CPU hashes against with this `hash_seed`, as `Reformer.forward` takes it.

    Every layer there sets the global seed anew, so that all layers hash against the same numbers. Here the global
    random stream is neither read nor moved.

    Args:
        config: From `config_from_huggingface`.
        hash_seed: transformers' field of that name.
        dtype: Of the model's parameters: other types draw other numbers.

    Returns:
        rotation_HRKN for each LSH layer, `None` for each other one.
    """
    return [
        _rotation_like_huggingface(config, attention, hash_seed, dtype) if isinstance(attention, LSHAttention) else None
        for attention in config.attentions
    ]


def _rotation_like_huggingface(
    config: ReformerConfig, attention: LSHAttention, hash_seed: int, dtype: torch.dtype
) -> Tensor:
    assert attention.n_buckets is not None, "ReformerConfig fixes the bucket count"
    size_HKRN = (config.n_heads, config.d_head, attention.n_hashes, sum(attention.n_buckets) // 2)
    generator = torch.Generator().manual_seed(hash_seed)
    return torch.randn(size_HKRN, generator=generator, dtype=dtype).transpose(1, 2)


def from_huggingface(model: nn.Module, *, head_bias: HeadBias | None = None) -> ReformerLM | Reformer:
    """A transformers model as ours: same weights, values and gradients; its dtype, device and mode.

    Args:
        model: `ReformerModelWithLMHead`, `ReformerForMaskedLM` or `ReformerModel`.
        head_bias: Needed only if the model has a head bias that is not zero, see `HeadBias`.

    Returns:
        A `ReformerLM`, or a `Reformer` for a model without a head.

    Raises:
        ValueError: A field of its config cannot be converted, or it has other parameters than such a model has.
    """
    converted = _assembled(config_from_huggingface(model.config), model.state_dict(), head_bias)
    return converted.train(model.training)


def to_huggingface(model: ReformerLM | Reformer) -> nn.Module:
    """A model as transformers': same weights, values and gradients; its dtype, device and mode.

    Returns:
        `ReformerModelWithLMHead`, `ReformerForMaskedLM` if it is not causal, or `ReformerModel` if it has no head.

    Raises:
        ValueError: transformers cannot express the model; names the field, its value and what would do.
        ImportError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise _missing("transformers", "peers") from error
    tensors, fields = _tensors(model), _fields(model)
    # transformers draws initial weights from the global stream; these are to leave no trace there.
    with torch.random.fork_rng(devices=[]):
        built = getattr(transformers, _architecture(model))(transformers.ReformerConfig(**fields))
    example = next(iter(tensors.values()))
    built.to(dtype=example.dtype, device=example.device)
    built.load_state_dict(tensors)
    converted: nn.Module = built.train(model.training)
    return converted


def load_huggingface(folder: str | Path, *, head_bias: HeadBias | None = None) -> ReformerLM | Reformer:
    """A model from a folder that transformers' `save_pretrained` wrote; transformers itself is not needed.

    The folder holds `config.json` and `model.safetensors`, or its parts with `model.safetensors.index.json`, or a
    pickled `pytorch_model.bin`, which is read as data only: a file that would execute code is refused.

    Args:
        folder: A local folder.
        head_bias: Needed only if the checkpoint has a head bias that is not zero, see `HeadBias`.

    Returns:
        A `ReformerLM`, or a `Reformer` for a checkpoint without a head; on the CPU, in the checkpoint's dtype, in
        evaluation mode.

    Raises:
        ValueError: A field cannot be converted, or a tensor is missing, superfluous or of a wrong shape.
        FileNotFoundError: The folder lacks a file.
        ImportError: safetensors is needed and not installed.
        pickle.UnpicklingError: A pickled file holds something else than tensors.
    """
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    return _assembled(config_from_huggingface(config), _read_tensors(Path(folder)), head_bias).eval()


def save_huggingface(model: ReformerLM | Reformer, folder: str | Path) -> None:
    """Write a folder that `load_huggingface` and transformers' `from_pretrained` read.

    Raises:
        ValueError: transformers cannot express the model; names the field, its value and what would do.
        ImportError: safetensors is not installed.
    """
    tensors, fields = _tensors(model), _fields(model)
    config = {"architectures": [_architecture(model)], "model_type": "reformer", **fields}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    _safetensors().save_file(contiguous, Path(folder) / "model.safetensors", metadata={"format": "pt"})


# How parameters are called here and there.

NAMES = {
    "embedding.weight": "embeddings.word_embeddings.weight",
    "positions.table": "embeddings.position_embeddings.embedding.weight",
    "norm": "encoder.layer_norm",
}
AXIAL_TABLE = ("positions.tables.{}", "embeddings.position_embeddings.weights.{}")
HEAD = {"head.weight": "lm_head.decoder.weight", "head.bias": "lm_head.bias"}
LAYER = {
    "attention.norm": "attention.layer_norm",
    "attention.inner.key": "attention.self_attention.key",
    "attention.inner.value": "attention.self_attention.value",
    "attention.inner.output": "attention.output.dense",
    "feed_forward.norm": "feed_forward.layer_norm",
    "feed_forward.inner.inner": "feed_forward.dense.dense",
    "feed_forward.inner.outer": "feed_forward.output.dense",
}
QUERY = "attention.inner.query"
TRUNK, REFORMER = "trunk.", "reformer."

CONSTANTS = ("self_mask_value_float16", "self_mask_value_float32", "mask_value_float16", "mask_value_float32")
"""Constants that early versions of transformers stored with every attention layer."""

LINKED_BIAS = "lm_head.decoder.bias"
"""Another name that versions before 5 gave to the head's bias."""


class Place(NamedTuple):
    """Where a parameter of ours is found there: its name, and its shape, which for axial tables has axes of one."""

    name: str
    shape: tuple[int, ...]


def _places(model: ReformerLM | Reformer) -> dict[str, Place]:
    """The place of each of our parameters."""
    return {
        name: Place(_their_name(name, model.config), _their_shape(name, parameter, model.config))
        for name, parameter in model.named_parameters()
    }


def _their_name(name: str, config: ReformerConfig) -> str:
    if name in HEAD:
        return HEAD[name]
    if name.startswith(TRUNK):
        return REFORMER + _their_name(name.removeprefix(TRUNK), config)
    if name.startswith("blocks."):
        _, layer, rest = name.split(".", 2)
        return f"encoder.layers.{layer}.{_their_layer_name(rest, config.attentions[int(layer)])}"
    if (axis := _axis(name)) is not None:
        return AXIAL_TABLE[1].format(axis)
    owner, _, kind = name.rpartition(".")
    return NAMES[name] if name in NAMES else f"{NAMES[owner]}.{kind}"


def _their_layer_name(name: str, attention: AnyAttention) -> str:
    owner, _, kind = name.rpartition(".")
    query = "query_key" if attention.share_qk else "query"
    return f"attention.self_attention.{query}.{kind}" if owner == QUERY else f"{LAYER[owner]}.{kind}"


def _their_shape(name: str, parameter: Tensor, config: ReformerConfig) -> tuple[int, ...]:
    axis = _axis(name.removeprefix(TRUNK))
    if axis is None or not isinstance(config.positions, AxialPositions):
        return tuple(parameter.shape)
    n_axes = len(config.positions.shape)
    return (*(parameter.shape[0] if other == axis else 1 for other in range(n_axes)), parameter.shape[1])


def _axis(name: str) -> int | None:
    """Which axis's table this is."""
    table = AXIAL_TABLE[0].format("")
    return int(name.removeprefix(table)) if name.startswith(table) else None


# From there.


def _assembled(
    config: ReformerConfig, given: Mapping[str, Tensor], head_bias: HeadBias | None
) -> ReformerLM | Reformer:
    tensors = _current_names(given)
    kind = ReformerLM if any(name.startswith(REFORMER) for name in tensors) else Reformer
    model = kind(config, torch.Generator().manual_seed(0))
    places = _places(model)
    _check_tensors({place.name: place.shape for place in places.values()}, tensors)
    example = tensors[places["trunk.embedding.weight" if kind is ReformerLM else "embedding.weight"].name]
    model.to(dtype=example.dtype, device=example.device)
    if isinstance(model, ReformerLM):
        tensors[HEAD["head.bias"]] = _chosen_bias(tensors[HEAD["head.bias"]], head_bias)
    ours = {name: tensors[places[name].name].reshape(parameter.shape) for name, parameter in model.named_parameters()}
    model.load_state_dict(ours)
    return model


def _current_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint of any version as the present version names them."""
    tensors = {name: tensor for name, tensor in given.items() if not name.endswith(CONSTANTS)}
    if LINKED_BIAS in tensors:
        linked = tensors.pop(LINKED_BIAS)
        if not torch.equal(tensors.setdefault(HEAD["head.bias"], linked), linked):
            raise ValueError(f"{LINKED_BIAS} and {HEAD['head.bias']} are one tensor, but have different values")
    return tensors


def _check_tensors(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> None:
    for name in sorted(found.keys() - expected.keys()):
        raise ValueError(
            f"tensor {name} of shape {list(found[name].shape)} has no place in a Reformer, with language modelling "
            "head or without, of this config; use the config and the kind of model that belong to these weights"
        )
    for name, shape in expected.items():
        if name not in found:
            raise ValueError(f"tensor {name} of shape {list(shape)} is missing; the config does not fit these weights")
        if found[name].shape != shape:
            raise ValueError(
                f"tensor {name} has shape {list(found[name].shape)}, but the config makes it {list(shape)}; "
                "use the config that belongs to these weights"
            )


def _chosen_bias(bias: Tensor, head_bias: HeadBias | None) -> Tensor:
    if not bias.any() or head_bias == "add":
        return bias
    if head_bias is None:
        raise ValueError(
            f"lm_head.bias is not zero (up to {bias.abs().max().item():.3g}): transformers before 5 added it to the "
            "logits, transformers 5 ignores it; choose with head_bias='add' or head_bias='ignore'"
        )
    return torch.zeros_like(bias)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    whole, index, pickled = (
        folder / name for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    )
    if whole.exists():
        return _read_safetensors(whole)
    if index.exists():
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return {name: tensor for part in parts for name, tensor in _read_safetensors(_beside(index, part)).items()}
    if pickled.exists():
        return _only_tensors(pickled, torch.load(pickled, map_location="cpu", weights_only=True))
    raise FileNotFoundError(f"{folder} holds none of {whole.name}, {index.name} and {pickled.name}")


def _only_tensors(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        return content
    raise ValueError(f"{path.name} holds something else than tensors by name; save a model's state_dict()")


def _beside(index: Path, part: str) -> Path:
    if Path(part).name != part:
        raise ValueError(f"{index.name} names the file {part!r}; parts lie beside it, in the same folder")
    return index.parent / part


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = _safetensors().load_file(path)
    return tensors


def _safetensors() -> Any:  # noqa: ANN401  (a module of an optional package)
    try:
        import safetensors.torch
    except ImportError as error:
        raise _missing("safetensors", "huggingface") from error
    return safetensors.torch


def _missing(package: str, extra: str) -> ImportError:
    return ImportError(f"this needs {package}: pip install 'reformer-suite[{extra}]'")


# To there.


def _tensors(model: ReformerLM | Reformer) -> dict[str, Tensor]:
    """The model's parameters by their name there."""
    _check_expressible(model)
    parameters = dict(model.named_parameters())
    return {place.name: parameters[name].detach().reshape(place.shape) for name, place in _places(model).items()}


def _architecture(model: ReformerLM | Reformer) -> str:
    if isinstance(model, Reformer):
        return "ReformerModel"
    return "ReformerModelWithLMHead" if model.config.causal else "ReformerForMaskedLM"


def _fields(model: ReformerLM | Reformer) -> dict[str, Any]:
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
    assert isinstance(attention, LSHAttention | LocalAttention), "_check_expressible refuses others"
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


def _check_expressible(model: ReformerLM | Reformer) -> None:
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
