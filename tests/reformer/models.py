"""Small models for tests: every dimension a different number."""

from typing import Any

import torch
from torch import Tensor

from reformer.config import CONTROLS, VARIANTS, LSHAttention, ReformerConfig, Variant
from reformer.model import ReformerLM

EVERY_VARIANT = {**VARIANTS, **CONTROLS}
SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "d_model": 12,
    "n_heads": 3,
    "d_head": 5,
    "d_ff": 22,
    "n_layers": 4,
    "max_len": 64,
}
BATCH, LENGTH = 2, 53


def small_chunks(variant: Variant) -> Variant:
    """The variant with chunks of 8 where it has chunks, so that short sequences have several."""
    attention = variant.attention
    if isinstance(attention, LSHAttention):
        return variant.model_copy(update={"attention": LSHAttention(n_hashes=3, chunk_len=8)})
    chunk = {"chunk_len": 8} if "chunk_len" in type(attention).model_fields else {}
    return variant.model_copy(update={"attention": attention.model_copy(update=chunk)})


def config(variant: str, **changes: Any) -> ReformerConfig:  # noqa: ANN401  (any field of the config)
    chosen = small_chunks(EVERY_VARIANT[variant])
    return ReformerConfig(**{**SIZES, "attention": chosen.attention, "residual": chosen.residual, **changes})


def model(variant: str, *, dtype: torch.dtype = torch.float64, **changes: Any) -> ReformerLM:  # noqa: ANN401
    return ReformerLM(config(variant, **changes), torch.Generator().manual_seed(0)).to(dtype)


def tokens(length: int = LENGTH, seed: int = 1) -> tuple[Tensor, Tensor]:
    drawn = torch.randint(29, (BATCH, length + 1), generator=torch.Generator().manual_seed(seed))
    return drawn[:, :-1], drawn[:, 1:]


def gradients(of: ReformerLM) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in of.named_parameters() if parameter.grad is not None}
