"""Angular hashing: projection onto random directions and choice of the nearest, in one pass over the vectors."""

import triton
import triton.language as tl

from reformer.kernels.tile_kernels import narrowed


@triton.jit
def _nearest(
    vector: tl.tensor,
    DIRECTION: tl.tensor,
    half: tl.tensor,
    stride: tl.tensor,
    ROWS: tl.constexpr,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
) -> tl.tensor:
    """`argmax([x; -x])` for each row, x its projections on so many directions; of equals the first."""
    best = tl.full([ROWS], -float("inf"), tl.float32)
    worst = tl.full([ROWS], float("inf"), tl.float32)
    best_at = tl.zeros([ROWS], tl.int32)
    worst_at = tl.zeros([ROWS], tl.int32)
    k = tl.arange(0, WIDTH)[:, None]
    for first in range(0, half, COLUMNS):
        column = first + tl.arange(0, COLUMNS)[None, :]
        inside = column < half
        direction = tl.load(DIRECTION + k * stride + column, mask=inside & (k < K), other=0.0)
        if UPCAST:
            direction = direction.to(tl.float32)
        x = tl.dot(vector, direction, input_precision=PRECISION)
        x = narrowed(x, ROUNDED, UPCAST).to(tl.float32)
        high, high_at = tl.max(tl.where(inside, x, -float("inf")), 1, return_indices=True)
        low, low_at = tl.min(tl.where(inside, x, float("inf")), 1, return_indices=True)
        # Equal to an earlier one is not better: of equals the first counts.
        best_at = tl.where(high > best, first + high_at, best_at)
        worst_at = tl.where(low < worst, first + low_at, worst_at)
        best = tl.maximum(best, high)
        worst = tl.minimum(worst, low)
    # A vector that is not a number must not get a bucket that does not exist.
    return tl.minimum(tl.where(best >= -worst, best_at, half + worst_at), 2 * half - 1)


@triton.jit(do_not_specialize=("n_tiles", "n_heads", "n_rounds", "length", "half", "weight", "padding"))
def hash_kernel(
    VECTOR: tl.tensor,
    ROTATION: tl.tensor,
    VALID: tl.tensor,
    BUCKET: tl.tensor,
    vector_b: tl.tensor,
    vector_h: tl.tensor,
    vector_l: tl.tensor,
    rotation_h: tl.tensor,
    rotation_r: tl.tensor,
    rotation_k: tl.tensor,
    n_tiles: tl.tensor,
    n_heads: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    half: tl.tensor,
    weight: tl.tensor,
    padding: tl.tensor,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FIRST: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
) -> None:
    """One factor of the buckets of ROWS vectors of one head, in all rounds.

    Grid: one program for ROWS positions of each head, positions fastest.

    Reads VECTOR [B, H, L, K] as strided, once, ROTATION [H, R, K, half] as strided, and if given VALID [B, L]. Writes
    BUCKET [B, H, R, L], `weight` times the digit, or unless FIRST adds to it; padding gets the bucket `padding`.
    Projections are rounded to the type of the vectors before they are compared, as those of a plain product are.
    """
    head = tl.program_id(0) // n_tiles
    position = tl.program_id(0) % n_tiles * ROWS + tl.arange(0, ROWS)
    b, h, head = (head // n_heads).to(tl.int64), (head % n_heads).to(tl.int64), head.to(tl.int64)
    there = position < length
    column = tl.arange(0, WIDTH)[None, :]
    row = VECTOR + b * vector_b + h * vector_h + position.to(tl.int64)[:, None] * vector_l
    vector = tl.load(row + column, mask=there[:, None] & (column < K), other=0.0)
    if UPCAST:
        vector = vector.to(tl.float32)
    ROTATION += h * rotation_h
    BUCKET += head * n_rounds * length + position
    for _ in range(n_rounds):
        digit = _nearest(
            vector,
            ROTATION,
            half,
            rotation_k,
            ROWS,
            K,
            WIDTH,
            COLUMNS,
            VECTOR.dtype.element_ty,
            PRECISION,
            UPCAST,
        )
        bucket = digit * weight
        if not FIRST:
            bucket += tl.load(BUCKET, mask=there, other=0).to(tl.int32)
        if VALID is not None:
            bucket = tl.where(tl.load(VALID + b * length + position, mask=there, other=1) != 0, bucket, padding)
        tl.store(BUCKET, bucket.to(BUCKET.dtype.element_ty), mask=there)
        BUCKET += length
        ROTATION += rotation_r
