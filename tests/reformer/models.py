"""Small models for tests: every dimension a different number."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reformer import attention as attention_module
from reformer.config import (
    CONTROLS,
    VARIANTS,
    Backend,
    EncoderDecoderConfig,
    LSHAttention,
    ReformerConfig,
    Residual,
    Variant,
)
from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.kinds import LSHFunctions, lsh_functions
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
PAIRS, SOURCE, TARGET, SOURCE_VOCABULARY = 3, 37, 23, 31


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


@contextmanager
def hashing_by(hash_vectors: Callable[..., Tensor]) -> Iterator[None]:
    """Models hash by another function meanwhile."""

    def replaced(backend: Backend) -> LSHFunctions:
        return lsh_functions(backend)._replace(hash_vectors=hash_vectors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_module, "lsh_functions", replaced)
        yield


def tokens(length: int = LENGTH, seed: int = 1) -> tuple[Tensor, Tensor]:
    drawn = torch.randint(29, (BATCH, length + 1), generator=torch.Generator().manual_seed(seed))
    return drawn[:, :-1], drawn[:, 1:]


def encoder_decoder(residual: Residual = "reversible", decoder_layers: int = 3, **both: Any) -> ReformerEncoderDecoder:  # noqa: ANN401
    """Two layers of encoder, LSH attention in both halves unless `both` says otherwise."""
    both = {"residual": residual, "dropout": 0.0, **both}
    encoder: dict[str, Any] = {
        "vocab_size": SOURCE_VOCABULARY,
        "n_layers": 2,
        "max_len": 40,
        "causal": False,
        "attention": LSHAttention(n_hashes=2, chunk_len=8, n_chunks_after=1, wrap="none"),
    }
    decoder: dict[str, Any] = {
        "n_heads": 2,
        "d_head": 7,
        "d_ff": 18,
        "n_layers": decoder_layers,
        "cross_attention": True,
        "attention": LSHAttention(n_hashes=3, chunk_len=4),
    }
    halves = EncoderDecoderConfig(
        encoder=config("reformer", **{**encoder, **both}), decoder=config("reformer", **{**decoder, **both})
    )
    return ReformerEncoderDecoder(halves, torch.Generator().manual_seed(0)).double()


def sequence_pairs(n_pairs: int = PAIRS) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target so far, and next target."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(SOURCE_VOCABULARY, (n_pairs, SOURCE), generator=generator)
    target = torch.randint(SIZES["vocab_size"], (n_pairs, TARGET + 1), generator=generator)
    return source, target[:, :-1], target[:, 1:]


def gradients(of: nn.Module) -> dict[str, Tensor]:
    """Copies of those that there are."""
    return {name: parameter.grad.clone() for name, parameter in of.named_parameters() if parameter.grad is not None}
