"""Hashing some heads at a time: rotations and argmax while the projections are still in cache."""

import itertools
import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from reformer.blocked.scratch import Scratch
from reformer.functional.hashing import bucket_dtype

PROJECTIONS = 2**19
"""Projections that are made at a time, 2 MiB in float32."""


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
    wide = torch.promote_types(vector_BHLK.dtype, torch.float32)
    # Directions before vectors: what is compared below then stands in rows, side by side for all vectors.
    rotation_HxK = rotation_HRKN.to(vector_BHLK).to(wide).transpose(2, 3).flatten(1, 2)
    bucket_BHRL = _empty(vector_BHLK, rotation_HRKN, n_buckets, valid_BL)
    scratch = Scratch(vector_BHLK.device)
    for example, heads, rows in _pieces(vector_BHLK.shape, rotation_HxK.shape[1]):
        vector_HxK = scratch.copy("vector", vector_BHLK[example, heads, rows], wide)
        shape = (vector_HxK.shape[0], rotation_HxK.shape[1], vector_HxK.shape[1])
        projected = torch.bmm(rotation_HxK[heads], vector_HxK.mT, out=scratch("projected", shape, wide))
        projected_HRNx = projected.unflatten(1, (rotation_HRKN.shape[1], -1))
        bucket_BHRL[example, heads, :, rows] = _bucket(projected_HRNx, n_buckets)
    if valid_BL is not None:
        bucket_BHRL.masked_fill_(~valid_BL[:, None, None], math.prod(n_buckets))
    return bucket_BHRL


def _empty(vector_BHLK: Tensor, rotation_HRKN: Tensor, n_buckets: list[int], valid_BL: Tensor | None) -> Tensor:
    batch, heads, length, _ = vector_BHLK.shape
    shape = (batch, heads, rotation_HRKN.shape[1], length)
    return vector_BHLK.new_empty(shape, dtype=bucket_dtype(n_buckets))


_hash.register_fake(_empty)


def _pieces(shape: Sequence[int], n_directions: int) -> list[tuple[int, slice, slice]]:
    """Example, heads and rows of all vectors: all rows of several heads at a time, or some of one."""
    batch, heads, length, _ = shape
    rows = min(length, max(1, PROJECTIONS // n_directions))
    together = max(1, PROJECTIONS // (n_directions * length))
    return [
        (example, slice(head, min(head + together, heads)), slice(row, min(row + rows, length)))
        for example in range(batch)
        for head in range(0, heads, together)
        for row in range(0, length, rows)
    ]


def _bucket(projected_HRNx: Tensor, n_buckets: list[int]) -> Tensor:
    """Bucket ids, [H, R, x], as whole numbers in the type of the projections, which are overwritten."""
    digits_HR1x = (_digit(part) for part in projected_HRNx.split([factor // 2 for factor in n_buckets], dim=2))
    weights = itertools.accumulate(n_buckets[:-1], operator.mul, initial=1)
    return torch.cat([digit.mul_(weight) for digit, weight in zip(digits_HR1x, weights, strict=True)], dim=2).sum(2)


def _digit(part_HRNx: Tensor) -> Tensor:
    """`argmax([x, -x])` over directions, [H, R, 1, x], by extremes alone: 40 times as fast as finding places.

    The place of the extreme is the first that equals it: the one with most places from it to the end.
    """
    n_directions = part_HRNx.shape[2]
    high, opposite_high = part_HRNx.amax(2, keepdim=True), part_HRNx.amin(2, keepdim=True).neg_()
    opposite = (high < opposite_high).to(high.dtype)
    extreme_HR1x = torch.maximum(high, opposite_high, out=opposite_high).mul_(1 - 2 * opposite)
    to_end_N1 = torch.arange(n_directions, 0, -1, dtype=high.dtype, device=high.device)[:, None]
    left = part_HRNx.eq_(extreme_HR1x).mul_(to_end_N1).amax(2, keepdim=True)
    return opposite.add_(1).mul_(n_directions).sub_(left)
