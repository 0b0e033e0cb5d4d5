"""What transformers hashes against."""

import torch
from torch import Tensor

from reformer.checks import check_seed
from reformer.config import LSHAttention, ReformerConfig


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
        rotation_HRKN in `dtype` on the CPU for each LSH layer, R its `n_hashes`; `None` for each other one.

    Raises:
        RuntimeError: `hash_seed` is no whole number.
        ValueError: `hash_seed` does not fit in 64 bits.
    """
    check_seed("hash_seed", hash_seed)
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
