"""Kernels that go over the rows once: terms of each row before attention, and what all rounds make together."""

import triton
import triton.language as tl

from reformer.functional import scores
from reformer.kernels.tile_kernels import narrowed

KEY_EPSILON = tl.constexpr(scores.KEY_EPSILON)


@triton.jit
def _rows_of_program(n_tiles: tl.tensor, n_heads: tl.tensor, ROWS: tl.constexpr) -> tl.tensor:
    """Example, head, number of the head in the whole batch, and positions of a program."""
    head = tl.program_id(0) // n_tiles
    position = tl.program_id(0) % n_tiles * ROWS + tl.arange(0, ROWS)
    return (head // n_heads).to(tl.int64), (head % n_heads).to(tl.int64), head.to(tl.int64), position


@triton.jit
def _load(
    X: tl.tensor, position: tl.tensor, stride: tl.tensor, length: tl.tensor, K: tl.constexpr, WIDTH: tl.constexpr
) -> tl.tensor:
    column = tl.arange(0, WIDTH)[None, :]
    mask = (position < length)[:, None] & (column < K)
    return tl.load(X + position.to(tl.int64)[:, None] * stride + column, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=("n_tiles", "n_heads", "length"))
def row_terms_kernel(
    QUERY: tl.tensor,
    OUT: tl.tensor,
    D_OUT: tl.tensor,
    UNIT: tl.tensor,
    DELTA: tl.tensor,
    query_b: tl.tensor,
    query_h: tl.tensor,
    query_l: tl.tensor,
    out_b: tl.tensor,
    out_h: tl.tensor,
    out_l: tl.tensor,
    d_out_b: tl.tensor,
    d_out_h: tl.tensor,
    d_out_l: tl.tensor,
    n_tiles: tl.tensor,
    n_heads: tl.tensor,
    length: tl.tensor,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    UPCAST: tl.constexpr,
) -> None:
    """What a row needs beside itself: one over the length of its key and, before the backward pass, delta.

    Grid: one program for ROWS positions of each head, positions fastest.

    Reads QUERY and, if given, OUT and D_OUT, all [B, H, L, K] as strided. Writes UNIT and, if OUT is given, DELTA, the
    product of OUT and D_OUT, both [B, H, L].
    """
    b, h, head, position = _rows_of_program(n_tiles, n_heads, ROWS)
    query = _load(QUERY + b * query_b + h * query_h, position, query_l, length, K, WIDTH)
    unit = tl.rsqrt(tl.sum(query * query, 1) + KEY_EPSILON * K)
    there = position < length
    tl.store(UNIT + head * length + position, unit, mask=there)
    if OUT is not None:
        out = _load(OUT + b * out_b + h * out_h, position, out_l, length, K, WIDTH)
        d_out = _load(D_OUT + b * d_out_b + h * d_out_h, position, d_out_l, length, K, WIDTH)
        tl.store(DELTA + head * length + position, tl.sum(out * d_out, 1), mask=there)


@triton.jit(do_not_specialize=("n_tiles", "n_heads", "n_rounds", "length"))
def combine_rounds_kernel(
    OUTS: tl.tensor,
    LSES: tl.tensor,
    OUT: tl.tensor,
    LSE: tl.tensor,
    out_b: tl.tensor,
    out_h: tl.tensor,
    out_l: tl.tensor,
    n_tiles: tl.tensor,
    n_heads: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    UPCAST: tl.constexpr,
) -> None:
    """The mean of all rounds' results under the softmax of their log-sum-exps, which are to base two.

    Grid: one program for ROWS positions of each head, positions fastest.

    Reads OUTS [B, H, R, L, K] and LSES [B, H, R, L]. Writes OUT [B, H, L, K] as strided and LSE [B, H, L].
    """
    b, h, head, position = _rows_of_program(n_tiles, n_heads, ROWS)
    there = position < length
    OUTS += head * n_rounds * length * K
    LSES += head * n_rounds * length
    highest = tl.load(LSES + position, mask=there, other=0.0)
    for round_ in range(1, n_rounds):
        highest = tl.maximum(highest, tl.load(LSES + round_ * length + position, mask=there, other=0.0))
    total = tl.zeros([ROWS], tl.float32)
    mean = tl.zeros([ROWS, WIDTH], tl.float32)
    for _ in range(n_rounds):
        weight = tl.exp2(tl.load(LSES + position, mask=there, other=0.0) - highest)
        total += weight
        mean += weight[:, None] * _load(OUTS, position, K, length, K, WIDTH)
        LSES += length
        OUTS += length.to(tl.int64) * K
    tl.store(LSE + head * length + position, highest + tl.log2(total), mask=there)
    column = tl.arange(0, WIDTH)[None, :]
    OUT += b * out_b + h * out_h + position.to(tl.int64)[:, None] * out_l + column
    tl.store(OUT, narrowed(mean / total[:, None], OUT.dtype.element_ty, UPCAST), mask=there[:, None] & (column < K))


@triton.jit(do_not_specialize=("n_tiles", "n_heads", "n_rounds", "length"))
def sum_rounds_kernel(
    D_QUERIES: tl.tensor,
    D_VALUES: tl.tensor,
    D_QUERY: tl.tensor,
    D_VALUE: tl.tensor,
    out_b: tl.tensor,
    out_h: tl.tensor,
    out_l: tl.tensor,
    n_tiles: tl.tensor,
    n_heads: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    UPCAST: tl.constexpr,
) -> None:
    """Both gradients, summed over rounds in float32, always in the same order.

    Grid: one program for ROWS positions of each head, positions fastest.

    Reads D_QUERIES and D_VALUES [B, H, R, L, K]. Writes D_QUERY and D_VALUE [B, H, L, K], both with the same strides.
    """
    b, h, head, position = _rows_of_program(n_tiles, n_heads, ROWS)
    D_QUERIES += head * n_rounds * length * K
    D_VALUES += head * n_rounds * length * K
    d_query = tl.zeros([ROWS, WIDTH], tl.float32)
    d_value = tl.zeros([ROWS, WIDTH], tl.float32)
    for _ in range(n_rounds):
        d_query += _load(D_QUERIES, position, K, length, K, WIDTH)
        d_value += _load(D_VALUES, position, K, length, K, WIDTH)
        D_QUERIES += length.to(tl.int64) * K
        D_VALUES += length.to(tl.int64) * K
    column = tl.arange(0, WIDTH)[None, :]
    mask = (position < length)[:, None] & (column < K)
    to = b * out_b + h * out_h + position.to(tl.int64)[:, None] * out_l + column
    tl.store(D_QUERY + to, narrowed(d_query, D_QUERY.dtype.element_ty, UPCAST), mask=mask)
    tl.store(D_VALUE + to, narrowed(d_value, D_VALUE.dtype.element_ty, UPCAST), mask=mask)
