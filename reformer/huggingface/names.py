"""How parameters are called here and in transformers."""

from typing import NamedTuple

from torch import Tensor

from reformer.config import AnyAttention, AxialPositions, ReformerConfig
from reformer.model import ReformerLM
from reformer.trunk import Reformer

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


class Place(NamedTuple):
    """Where a parameter of ours is found there: its name, and its shape, which for axial tables has axes of one."""

    name: str
    shape: tuple[int, ...]


def places(model: ReformerLM | Reformer) -> dict[str, Place]:
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
