"""`reformer.functional.hashing.hash_vectors`, fused."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reformer.functional.hashing import bucket_dtype
from reformer.kernels.inputs import check_hashing
from reformer.kernels.launch import bytes_of, ceil_div, empty, launch, padded, precision, rows, strides, upcasts


def tile_of(d_head: int, dtype: torch.dtype) -> tuple[int, int]:
    """Vectors hashed by one program, and directions projected on at a time: what fits the registers."""
    return (32, 16) if dtype == torch.float32 and d_head > 64 else (64, 64)


@torch.no_grad()
def hash_vectors(
    vector_BHLK: Tensor, rotation_HRKN: Tensor, *, n_buckets: Sequence[int], valid_BL: Tensor | None = None
) -> Tensor:
    """Bucket of each vector in each round, as `reformer.functional.hashing.hash_vectors` specifies it.

    The projections exist in registers only. Vectors are read once for each factor. Two directions whose projections
    differ by less than the rounding of a sum of K products may change places.

    Args:
        vector_BHLK: What is hashed, bfloat16, float16 or float32; products of float32 are taken as three of TF32.
        rotation_HRKN: From `random_rotations`.
        n_buckets: Even factors of the bucket count.
        valid_BL: False where a position is padding.

    Returns:
        bucket_BHRL, int16 where all ids fit, int32 otherwise. No gradient passes.

    Raises:
        RuntimeError: This machine cannot run the kernels.
        ValueError: The kernels do not serve such vectors, or the tensors do not belong together.
    """
    rotation_HRKN = rotation_HRKN.to(device=vector_BHLK.device, dtype=vector_BHLK.dtype).contiguous()
    check_hashing(vector_BHLK, rotation_HRKN, n_buckets, valid_BL)
    from reformer.kernels.hash_kernels import hash_kernel

    batch, heads, length, width = vector_BHLK.shape
    vector_BHLK = rows(vector_BHLK)
    n_rounds = rotation_HRKN.shape[1]
    bucket_BHRL = empty(batch, heads, n_rounds, length, dtype=bucket_dtype(n_buckets), device=vector_BHLK.device)
    n_rows, n_columns = tile_of(width, vector_BHLK.dtype)
    n_tiles = ceil_div(length, n_rows)
    weight, first = 1, 0
    for factor in n_buckets:
        half = factor // 2
        part_HRKN = rotation_HRKN[..., first : first + half]
        arguments = (
            vector_BHLK,
            part_HRKN,
            bytes_of(valid_BL),
            bucket_BHRL,
            *strides(vector_BHLK, part_HRKN),
            n_tiles,
            heads,
            n_rounds,
            length,
            half,
            weight,
            math.prod(n_buckets),
        )
        launch(
            hash_kernel,
            n_tiles * batch * heads,
            arguments,
            K=width,
            WIDTH=padded(width),
            ROWS=n_rows,
            COLUMNS=min(n_columns, padded(half)),
            FIRST=first == 0,
            PRECISION=precision(vector_BHLK.dtype),
            UPCAST=upcasts(vector_BHLK.dtype),
            num_warps=4,
            # The loop over columns is short: loading ahead in it only takes registers.
            num_stages=1,
        )
        weight, first = weight * factor, first + half
    return bucket_BHRL
