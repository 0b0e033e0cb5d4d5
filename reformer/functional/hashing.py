"""Angular locality-sensitive hashing: which bucket a vector falls into (paper, section 2)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def random_rotations(
    generator: torch.Generator, *, n_heads: int, d_head: int, n_hashes: int, n_buckets: Sequence[int]
) -> Tensor:
    """Random directions to hash against, drawn on the generator's device.

    One set for each head and round, shared over the batch, so that an example hashes alike in any company.

    Args:
        generator: The source of randomness; the global stream is not touched.
        n_heads: H.
        d_head: K.
        n_hashes: R.
        n_buckets: Even factors of the bucket count; each takes half as many directions as it has buckets.

    Returns:
        rotation_HRKN, float32, N the sum of the factors over two.
    """
    n_directions = sum(n_buckets) // 2
    return torch.randn(n_heads, n_hashes, d_head, n_directions, generator=generator, device=generator.device)


@torch.no_grad()
def hash_vectors(
    vector_BHLK: Tensor, rotation_HRKN: Tensor, *, n_buckets: Sequence[int], valid_BL: Tensor | None = None
) -> Tensor:
    """Bucket of each vector in each round: `argmax([xR; -xR])` for each factor, first factor least significant.

    Args:
        vector_BHLK: What is hashed.
        rotation_HRKN: From `random_rotations`.
        n_buckets: Even factors of the bucket count.
        valid_BL: False where a position is padding: it gets a bucket of its own, one behind all others, so that it
            sorts last and moves nobody.

    Returns:
        bucket_BHRL in int16 where all ids fit, in int32 otherwise. No gradient passes.
    """
    rotation_HRKN = rotation_HRKN.to(device=vector_BHLK.device, dtype=vector_BHLK.dtype)
    n_rounds = rotation_HRKN.shape[1]
    # One round at a time: the projections are the largest tensor here, and no two rounds need theirs at once.
    per_round = [
        _hash_once(torch.einsum("bhlk,hkn->bhln", vector_BHLK, rotation_HRKN[:, round_]), n_buckets)
        for round_ in range(n_rounds)
    ]
    bucket_BHRL = torch.stack(per_round, dim=2)
    return bucket_BHRL if valid_BL is None else bucket_BHRL.masked_fill(~valid_BL[:, None, None], math.prod(n_buckets))


def _hash_once(projection_BHLN: Tensor, n_buckets: Sequence[int]) -> Tensor:
    dtype = bucket_dtype(n_buckets)
    bucket_BHL = torch.zeros(projection_BHLN.shape[:-1], dtype=dtype, device=projection_BHLN.device)
    weight = 1
    for factor, part in zip(n_buckets, projection_BHLN.split([f // 2 for f in n_buckets], dim=-1), strict=True):
        digit = torch.cat([part, -part], dim=-1).argmax(dim=-1)
        bucket_BHL += (weight * digit).to(dtype)
        weight *= factor
    return bucket_BHL


def bucket_dtype(n_buckets: Sequence[int]) -> torch.dtype:
    """The smallest signed type that holds every bucket id: ids are kept until the backward pass, once per round."""
    return torch.int16 if math.prod(n_buckets) <= torch.iinfo(torch.int16).max else torch.int32
