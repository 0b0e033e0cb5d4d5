"""HuggingFace's models for comparison: small, every dimension a different number, no trace in the random stream."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import ReformerConfig

HASH_SEED = 7
WIDTH, HEADS, HEAD_WIDTH, VOCABULARY = 14, 3, 5, 31
BATCH, LENGTH = 2, 24
LSH_CHUNK, LOCAL_CHUNK = 4, 6

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "attention_head_size": HEAD_WIDTH,
    "feed_forward_size": 22,
    "max_position_embeddings": 50,
    "axial_pos_shape": [4, 6],
    "axial_pos_embds_dim": [5, 9],
    "lsh_attn_chunk_length": LSH_CHUNK,
    "local_attn_chunk_length": LOCAL_CHUNK,
    "num_buckets": 6,
    "num_hashes": 3,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "lsh_attention_probs_dropout_prob": 0.0,
    "local_attention_probs_dropout_prob": 0.0,
    "hash_seed": HASH_SEED,
    "use_cache": False,
    "is_decoder": True,
}


def config(**changes: Any) -> ReformerConfig:  # noqa: ANN401  (any of its fields)
    return ReformerConfig(**{**SIZES, **changes})


def built(kind: type, of: ReformerConfig, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:  # noqa: ANN401
    """A model or layer of this kind, with weights large enough that every part of it matters, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        model = kind(of).to(dtype).eval()
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "lm_head.bias":
                parameter.copy_(_large(parameter, drawn) + ("norm.weight" in name))
    return model


def _large(parameter: Tensor, generator: torch.Generator) -> Tensor:
    scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.5
    return scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


def call(module: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  (whatever the module returns)
    """Its value; it may do to the global random stream what it likes."""
    with torch.random.fork_rng(devices=[]):
        return module(*arguments, **named)


def tokens(length: int = LENGTH, *, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (BATCH, length), generator=torch.Generator().manual_seed(seed))


def mask(length: int = LENGTH, *, batch: int = BATCH, seed: int = 2) -> Tensor:
    """True where a position counts: padding anywhere, each example its own."""
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < 0.7


def relative_error(ours: Tensor, theirs: Tensor, *, where: Tensor | None = None) -> float:
    """The largest difference, among all entries or those chosen, over the largest of their values."""
    difference = (ours - theirs).abs()
    if where is not None:
        difference = difference[where]
    return (difference.max() / theirs.abs().max()).item() if difference.numel() else 0.0
