"""Chunk attention, forward: every query block against the tiles of its window, one result for each round."""

import triton
import triton.language as tl

from reformer.functional import chunked
from reformer.kernels.tile_kernels import (
    chunk_at,
    from_entry,
    load_rows,
    narrowed,
    only_valid,
    pair_scores,
    positions_of_tile,
    tile_of_program,
)

COUNTS = ("n_tiles", "n_heads", "n_rounds", "length", "chunk_len", "chunks_per_round", "n_before", "n_seen", "width")
"""Arguments that get no kernel of their own for values that are 1 or divisible by 16, as strides do."""

LOG2_E = tl.constexpr(1.4426950408889634)
NOTHING_SEEN = tl.constexpr(chunked.NOTHING_SEEN)
"""The running maximum starts here as well."""


@triton.jit(do_not_specialize=COUNTS)
def attend_kernel(
    QUERY: tl.tensor,
    VALUE: tl.tensor,
    UNIT: tl.tensor,
    POSITION: tl.tensor,
    VALID: tl.tensor,
    BUCKET: tl.tensor,
    CHUNK: tl.tensor,
    OUT: tl.tensor,
    LSE: tl.tensor,
    query_b: tl.tensor,
    query_h: tl.tensor,
    query_l: tl.tensor,
    value_b: tl.tensor,
    value_h: tl.tensor,
    value_l: tl.tensor,
    out_b: tl.tensor,
    out_h: tl.tensor,
    out_r: tl.tensor,
    out_l: tl.tensor,
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
    """ROWS queries of one chunk of one round against the keys of its window.

    Grid: one program for each tile of rows, chunk and head, B * H * C * ROW_TILES in all, the chunk fastest, so that
    programs that run together read neighbouring chunks and other rounds of one head.

    Reads QUERY and VALUE [B, H, L, K] as strided, UNIT [B, H, L] (one over the length of a key), POSITION [B, H, R, S],
    and if given VALID [B, L], BUCKET [B, H, R, L] and CHUNK [B, H, R, L].

    Writes each row of OUT [B, H, R, L, K] as strided, and of LSE [B, H, R, L], once: the mean of the values under the
    softmax over what this round sees, and its log-sum-exp to base two. A query that sees nothing copies its own value.
    """
    b, h, head, round_, chunk, n_chunks, row_tile = tile_of_program(
        n_tiles, n_heads, n_rounds, chunks_per_round, ROW_TILES
    )
    QUERY += b * query_b + h * query_h
    VALUE += b * value_b + h * value_h
    UNIT += head * length
    POSITION += head * n_rounds * length
    VALID = from_entry(VALID, b * length)
    BUCKET = from_entry(BUCKET, head * n_rounds * length)
    CHUNK = from_entry(CHUNK, head * n_rounds * length)

    position = positions_of_tile(POSITION, chunk, row_tile, chunk >= 0, chunk_len, chunks_per_round, length, ROWS)
    query = load_rows(QUERY, position, query_l, length, K, WIDTH, UPCAST)
    highest = tl.full([ROWS], NOTHING_SEEN, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mean = tl.zeros([ROWS, WIDTH], tl.float32)
    for index in tl.range(0, n_seen * COLUMN_TILES, num_stages=STAGES):
        key_chunk, exists = chunk_at(chunk, index // COLUMN_TILES - n_before, n_chunks, chunks_per_round, WRAP)
        key_position = positions_of_tile(
            POSITION, key_chunk, index % COLUMN_TILES, exists, chunk_len, chunks_per_round, length, COLUMNS
        )
        key = load_rows(QUERY, key_position, query_l, length, K, WIDTH, UPCAST)
        value = load_rows(VALUE, key_position, value_l, length, K, WIDTH, UPCAST)
        unit = tl.load(UNIT + tl.minimum(key_position, length - 1))
        key_position = only_valid(VALID, key_position, length)
        score = pair_scores(
            tl.dot(query, tl.trans(key), input_precision=PRECISION),
            (unit * (score_scale * LOG2_E))[None, :],
            BUCKET,
            CHUNK,
            round_,
            position[:, None],
            key_chunk // chunks_per_round,
            key_position[None, :],
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
        new_highest = tl.maximum(highest, tl.max(score, 1))
        weight = tl.exp2(score - new_highest[:, None])
        fade = tl.exp2(highest - new_highest)
        total = total * fade + tl.sum(weight, 1)
        mean = mean * fade[:, None] + tl.dot(weight.to(value.dtype), value, input_precision=PRECISION)
        highest = new_highest

    # The largest weight of a query that sees anything is one.
    alone = total == 0.0
    total = tl.where(alone, 1.0, total)
    there = position < length
    lse = tl.where(alone, NOTHING_SEEN, highest + tl.log2(total))
    tl.store(LSE + (head * n_rounds + round_) * length + position, lse, mask=there)
    column = tl.arange(0, WIDTH)[None, :]
    inside = column < K
    row = position.to(tl.int64)[:, None]
    OUT += b * out_b + h * out_h + round_.to(tl.int64) * out_r
    out = narrowed(mean / total[:, None], OUT.dtype.element_ty, UPCAST)
    tl.store(OUT + row * out_l + column, out, mask=(there & (alone == 0))[:, None] & inside)
    copied = (there & alone)[:, None] & inside
    own = tl.load(VALUE + row * value_l + column, mask=copied, other=0.0)
    tl.store(OUT + row * out_l + column, own, mask=copied)
