"""Chunk attention, backward: every row's gradients in one round, as a key and as a query, written once.

With the log-sum-exp and the output of all rounds together, `weight = exp(score - lse)` and
`d_score = weight * (d_out . value - d_out . out)` are exact through the softmax and through the combination of rounds:
nothing else is needed of the forward pass.
"""

import triton
import triton.language as tl

from reformer.kernels.forward_kernels import COUNTS, LOG2_E, NOTHING_SEEN
from reformer.kernels.tile_kernels import (
    chunk_at,
    from_entry,
    load_rows,
    narrowed,
    only_valid,
    pair_scores,
    positions_of_tile,
    softmax_weight,
    tile_of_program,
)


@triton.jit(do_not_specialize=COUNTS)
def attend_backward_kernel(
    QUERY: tl.tensor,
    VALUE: tl.tensor,
    D_OUT: tl.tensor,
    UNIT: tl.tensor,
    LSE: tl.tensor,
    DELTA: tl.tensor,
    POSITION: tl.tensor,
    VALID: tl.tensor,
    BUCKET: tl.tensor,
    CHUNK: tl.tensor,
    D_QUERY: tl.tensor,
    D_VALUE: tl.tensor,
    query_b: tl.tensor,
    query_h: tl.tensor,
    query_l: tl.tensor,
    value_b: tl.tensor,
    value_h: tl.tensor,
    value_l: tl.tensor,
    d_out_b: tl.tensor,
    d_out_h: tl.tensor,
    d_out_l: tl.tensor,
    to_b: tl.tensor,
    to_h: tl.tensor,
    to_r: tl.tensor,
    to_l: tl.tensor,
    n_tiles: tl.tensor,
    n_heads: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    chunk_len: tl.tensor,
    chunks_per_round: tl.tensor,
    n_before: tl.tensor,
    n_seen: tl.tensor,
    width: tl.tensor,
    score_scale: tl.tensor,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROW_TILES: tl.constexpr,
    COLUMN_TILES: tl.constexpr,
    CAUSAL: tl.constexpr,
    WRAP: tl.constexpr,
    SAME_BUCKET_ONLY: tl.constexpr,
    DEDUPLICATE: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
    STAGES: tl.constexpr,
) -> None:
    """Gradients of ROWS positions of one chunk of one round: first as keys, then as queries.

    As a query a row's gradient comes from the keys of its window, as a key from the queries of the chunks in whose
    window it is. Both end in the same row, since keys are queries at unit length.

    Grid: one program for each tile of rows, chunk and head, B * H * C * ROW_TILES in all, the chunk fastest.

    Reads QUERY, VALUE and D_OUT [B, H, L, K] as strided, UNIT, LSE (over all rounds) and DELTA [B, H, L], POSITION
    [B, H, R, S], and if given VALID [B, L], BUCKET [B, H, R, L] and CHUNK [B, H, R, L].

    Writes each row of D_QUERY and D_VALUE [B, H, R, L, K], both with the same strides, once.
    """
    b, h, head, round_, chunk, n_chunks, row_tile = tile_of_program(
        n_tiles, n_heads, n_rounds, chunks_per_round, ROW_TILES
    )
    QUERY += b * query_b + h * query_h
    VALUE += b * value_b + h * value_h
    D_OUT += b * d_out_b + h * d_out_h
    UNIT += head * length
    LSE += head * length
    DELTA += head * length
    POSITION += head * n_rounds * length
    VALID = from_entry(VALID, b * length)
    BUCKET = from_entry(BUCKET, head * n_rounds * length)
    CHUNK = from_entry(CHUNK, head * n_rounds * length)

    position = positions_of_tile(POSITION, chunk, row_tile, chunk >= 0, chunk_len, chunks_per_round, length, ROWS)
    there = position < length
    query = load_rows(QUERY, position, query_l, length, K, WIDTH, UPCAST)
    unit = tl.load(UNIT + position, mask=there, other=0.0)

    # These rows as keys, tiles of queries passing by; scores are [keys, queries].
    value = load_rows(VALUE, position, value_l, length, K, WIDTH, UPCAST)
    as_key = only_valid(VALID, position, length)
    d_key = tl.zeros([ROWS, WIDTH], tl.float32)
    d_value = tl.zeros([ROWS, WIDTH], tl.float32)
    for index in tl.range(0, n_seen * COLUMN_TILES, num_stages=STAGES):
        its_chunk, exists = chunk_at(chunk, n_before - index // COLUMN_TILES, n_chunks, chunks_per_round, WRAP)
        its_position = positions_of_tile(
            POSITION, its_chunk, index % COLUMN_TILES, exists, chunk_len, chunks_per_round, length, COLUMNS
        )
        its_query = load_rows(QUERY, its_position, query_l, length, K, WIDTH, UPCAST)
        its_d_out = load_rows(D_OUT, its_position, d_out_l, length, K, WIDTH, UPCAST)
        # A query that does not exist gives every key the weight zero.
        its_lse = tl.load(LSE + its_position, mask=its_position < length, other=float("inf"))
        its_delta = tl.load(DELTA + its_position, mask=its_position < length, other=0.0)
        score = pair_scores(
            tl.dot(query, tl.trans(its_query), input_precision=PRECISION),
            (unit * (score_scale * LOG2_E))[:, None],
            BUCKET,
            CHUNK,
            its_chunk // chunks_per_round,
            its_position[None, :],
            round_,
            as_key[:, None],
            n_rounds,
            length,
            n_chunks,
            chunks_per_round,
            n_before,
            width,
            CAUSAL,
            WRAP,
            SAME_BUCKET_ONLY,
            DEDUPLICATE,
        )
        weight = softmax_weight(score, its_lse[None, :])
        d_value += tl.dot(weight.to(its_d_out.dtype), its_d_out, input_precision=PRECISION)
        d_weight = tl.dot(value, tl.trans(its_d_out), input_precision=PRECISION)
        d_score = weight * (d_weight - its_delta[None, :])
        d_key += tl.dot(d_score.to(its_query.dtype), its_query, input_precision=PRECISION)

    d_out = load_rows(D_OUT, position, d_out_l, length, K, WIDTH, UPCAST)
    lse = tl.load(LSE + position, mask=there, other=float("inf"))
    # A query that sees nothing in any round has its own value in all of them: one of them takes the whole gradient.
    copied = (lse < 0.5 * NOTHING_SEEN) & (round_ == 0)
    d_value += tl.where(copied[:, None], d_out.to(tl.float32), 0.0)
    # Through the normalisation of the key: only what is across it changes it.
    key = query.to(tl.float32) * unit[:, None]
    d_query = (d_key - key * tl.sum(d_key * key, 1)[:, None]) * unit[:, None]

    column = tl.arange(0, WIDTH)[None, :]
    mask = there[:, None] & (column < K)
    to = b * to_b + h * to_h + round_.to(tl.int64) * to_r + position.to(tl.int64)[:, None] * to_l + column
    tl.store(D_VALUE + to, narrowed(d_value, D_VALUE.dtype.element_ty, UPCAST), mask=mask)

    # The same rows as queries, tiles of keys passing by; scores are [queries, keys].
    delta = tl.load(DELTA + position, mask=there, other=0.0)
    for index in tl.range(0, n_seen * COLUMN_TILES, num_stages=STAGES):
        its_chunk, exists = chunk_at(chunk, index // COLUMN_TILES - n_before, n_chunks, chunks_per_round, WRAP)
        its_position = positions_of_tile(
            POSITION, its_chunk, index % COLUMN_TILES, exists, chunk_len, chunks_per_round, length, COLUMNS
        )
        its_query = load_rows(QUERY, its_position, query_l, length, K, WIDTH, UPCAST)
        its_value = load_rows(VALUE, its_position, value_l, length, K, WIDTH, UPCAST)
        its_unit = tl.load(UNIT + tl.minimum(its_position, length - 1))
        its_position = only_valid(VALID, its_position, length)
        score = pair_scores(
            tl.dot(query, tl.trans(its_query), input_precision=PRECISION),
            (its_unit * (score_scale * LOG2_E))[None, :],
            BUCKET,
            CHUNK,
            round_,
            position[:, None],
            its_chunk // chunks_per_round,
            its_position[None, :],
            n_rounds,
            length,
            n_chunks,
            chunks_per_round,
            n_before,
            width,
            CAUSAL,
            WRAP,
            SAME_BUCKET_ONLY,
            DEDUPLICATE,
        )
        weight = softmax_weight(score, lse[:, None])
        d_weight = tl.dot(d_out, tl.trans(its_value), input_precision=PRECISION)
        d_score = weight * (d_weight - delta[:, None]) * its_unit[None, :]
        d_query += tl.dot(d_score.to(its_query.dtype), its_query, input_precision=PRECISION)
    tl.store(D_QUERY + to, narrowed(d_query * score_scale, D_QUERY.dtype.element_ty, UPCAST), mask=mask)
