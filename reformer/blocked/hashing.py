"""Hashing head by head: rotations and argmax while the projections are still in cache."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reformer.blocked.scratch import Scratch
from reformer.functional.hashing import bucket_dtype

ROWS = 1024
"""Vectors that are projected at a time: with 4 rounds of 64 directions, 1 MiB of projections."""


@torch.no_grad()
def hash_vectors(
    vector_BHLK: Tensor, rotation_HRKN: Tensor, *, n_buckets: Sequence[int], valid_BL: Tensor | None = None
) -> Tensor:
    """The same buckets as `reformer.functional.hashing.hash_vectors`, ties included, up to rounding of projections.

    Half precision is projected in float32, against rotations that are rounded as the specification's are.

    Args:
        vector_BHLK: What is hashed.
        rotation_HRKN: From `random_rotations`.
        n_buckets: Even factors of the bucket count.
        valid_BL: False where a position is padding: it gets a bucket of its own, one behind all others.

    Returns:
        bucket_BHRL.
    """
    bucket_BHRL: Tensor = _hash(vector_BHLK, rotation_HRKN, list(n_buckets), valid_BL)
    return bucket_BHRL


@torch.library.custom_op("reformer_blocked::hash_vectors", mutates_args=())
def _hash(vector_BHLK: Tensor, rotation_HRKN: Tensor, n_buckets: list[int], valid_BL: Tensor | None) -> Tensor:
    batch, heads, length, _ = vector_BHLK.shape
    wide = torch.promote_types(vector_BHLK.dtype, torch.float32)
    rotation_HKx = rotation_HRKN.to(vector_BHLK).to(wide).transpose(1, 2).flatten(2)
    bucket_BHRL = _empty(vector_BHLK, rotation_HRKN, n_buckets, valid_BL)
    scratch = Scratch(vector_BHLK.device)
    for example in range(batch):
        for head in range(heads):
            for start in range(0, length, ROWS):
                rows = slice(start, min(start + ROWS, length))
                vector_xK = scratch.copy("vector", vector_BHLK[example, head, rows], wide)
                shape = (vector_xK.shape[0], rotation_HKx.shape[2])
                projected = torch.mm(vector_xK, rotation_HKx[head], out=scratch("projected", shape, wide))
                projected_xRN = projected.unflatten(1, (rotation_HRKN.shape[1], -1))
                bucket_BHRL[example, head, :, rows] = _bucket(projected_xRN, n_buckets).T
    if valid_BL is not None:
        bucket_BHRL.masked_fill_(~valid_BL[:, None, None], math.prod(n_buckets))
    return bucket_BHRL


def _empty(vector_BHLK: Tensor, rotation_HRKN: Tensor, n_buckets: list[int], valid_BL: Tensor | None) -> Tensor:
    batch, heads, length, _ = vector_BHLK.shape
    shape = (batch, heads, rotation_HRKN.shape[1], length)
    return vector_BHLK.new_empty(shape, dtype=bucket_dtype(n_buckets))


_hash.register_fake(_empty)


def _bucket(projected_xRN: Tensor, n_buckets: list[int]) -> Tensor:
    """Bucket ids, [x, R]; what was projected is overwritten."""
    bucket_xR = torch.zeros(projected_xRN.shape[:2], dtype=torch.int64, device=projected_xRN.device)
    weight = 1
    for factor, part in zip(n_buckets, projected_xRN.split([f // 2 for f in n_buckets], dim=-1), strict=True):
        bucket_xR += weight * _digit(part)
        weight *= factor
    return bucket_xR


def _digit(part_xRN: Tensor) -> Tensor:
    """`argmax([x, -x])` by extremes alone: PyTorch finds values 40 times as fast as places.

    The place of the extreme is the first that equals it: the one with most places from it to the end.
    """
    n_directions = part_xRN.shape[-1]
    high, low = part_xRN.amax(-1, keepdim=True), part_xRN.amin(-1, keepdim=True)
    opposite = high < -low
    to_end = torch.arange(n_directions, 0, -1, dtype=part_xRN.dtype, device=part_xRN.device)
    place = n_directions - part_xRN.eq_(torch.where(opposite, low, high)).mul_(to_end).amax(-1)
    return place.long() + n_directions * opposite.squeeze(-1)
