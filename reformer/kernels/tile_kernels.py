"""What the kernels of the forward and of the backward pass have in common: slots, rows and scores of one tile.

A tile is a few consecutive slots of one chunk. Its positions are read from the sorted order, its rows are gathered by
position; nothing is ever copied in sorted order. Chunks are counted through all rounds.
"""

import triton
import triton.language as tl


@triton.jit
def narrowed(x: tl.tensor, TYPE: tl.constexpr, UPCAST: tl.constexpr) -> tl.tensor:
    """Float32 in the type of an output, rounded to nearest even; with `UPCAST` by hand.

    The interpreter cuts bits off where hardware rounds to bfloat16, which doubles the error.
    """
    if UPCAST:
        bits = x.to(tl.int32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
        x = bits.to(tl.float32, bitcast=True)
    return x.to(TYPE)


@triton.jit
def tile_of_program(
    n_tiles: tl.tensor,
    n_heads: tl.tensor,
    n_rounds: tl.tensor,
    chunks_per_round: tl.tensor,
    ROW_TILES: tl.constexpr,
) -> tl.tensor:
    """Example, head, number of the head in the whole batch, round, chunk, chunks there are, and tile of a program."""
    head, tile_of_head = tl.program_id(0) // n_tiles, tl.program_id(0) % n_tiles
    chunk, row_tile = tile_of_head // ROW_TILES, tile_of_head % ROW_TILES
    round_, n_chunks = chunk // chunks_per_round, chunks_per_round * n_rounds
    b, h, head = (head // n_heads).to(tl.int64), (head % n_heads).to(tl.int64), head.to(tl.int64)
    return b, h, head, round_, chunk, n_chunks, row_tile


@triton.jit
def from_entry(X: tl.tensor, first: tl.tensor) -> tl.tensor:
    """A pointer to an entry of X, or still `None` if there is no X."""
    if X is not None:
        X += first
    return X


@triton.jit
def chunk_at(
    chunk: tl.tensor, distance: tl.tensor, n_chunks: tl.tensor, chunks_per_round: tl.tensor, WRAP: tl.constexpr
) -> tl.tensor:
    """The chunk so many chunks after this one, and whether there is one.

    The distance is nearer to zero than the ring is long.
    """
    if WRAP == "across_rounds":
        ring = n_chunks
        inside = chunk
    else:
        ring = chunks_per_round
        inside = chunk % chunks_per_round
    other = inside + distance
    exists = (other >= 0) & (other < ring)
    if WRAP == "none":
        other = tl.where(exists, other, 0)
    else:
        other = tl.where(other < 0, other + ring, tl.where(other < ring, other, other - ring))
        exists = other >= 0
    return chunk - inside + other, exists


@triton.jit
def positions_of_tile(
    POSITION: tl.tensor,
    chunk: tl.tensor,
    tile: tl.tensor,
    exists: tl.tensor,
    chunk_len: tl.tensor,
    chunks_per_round: tl.tensor,
    length: tl.tensor,
    N: tl.constexpr,
) -> tl.tensor:
    """Positions in N slots of a chunk, `length` where there is no slot, as in the last chunk of a round."""
    round_ = chunk // chunks_per_round
    lane = tile * N + tl.arange(0, N)
    slot = (chunk - round_ * chunks_per_round) * chunk_len + lane
    there = (lane < tl.where(exists, chunk_len, 0)) & (slot < length)
    return tl.load(POSITION + round_.to(tl.int64) * length + slot, mask=there, other=length)


@triton.jit
def only_valid(VALID: tl.tensor, position: tl.tensor, length: tl.tensor) -> tl.tensor:
    """Positions of keys, `length` in place of padding: nobody sees a key there."""
    if VALID is not None:
        valid = tl.load(VALID + position, mask=position < length, other=0)
        position = tl.where(valid != 0, position, length)
    return position


@triton.jit
def load_rows(
    X: tl.tensor,
    position: tl.tensor,
    stride: tl.tensor,
    length: tl.tensor,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    UPCAST: tl.constexpr,
) -> tl.tensor:
    """Rows of X by position, [N, WIDTH], zero beyond column K; some row of X for positions that do not exist.

    A row that exists is loaded without a mask on positions: whoever uses it must not look at it. With `UPCAST` in
    float32, for the interpreter, where arithmetic in bfloat16 is wrong.
    """
    row = X + tl.minimum(position, length - 1).to(tl.int64)[:, None] * stride
    column = tl.arange(0, WIDTH)[None, :]
    inside = None if K == WIDTH else column < K
    x = tl.load(row + column, mask=inside, other=None if K == WIDTH else 0.0)
    if UPCAST:
        x = x.to(tl.float32)
    return x


@triton.jit
def pair_scores(
    product: tl.tensor,
    factor: tl.tensor,
    BUCKET: tl.tensor,
    CHUNK: tl.tensor,
    query_round: tl.tensor,
    query_position: tl.tensor,
    key_round: tl.tensor,
    key_position: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    n_chunks: tl.tensor,
    chunks_per_round: tl.tensor,
    n_before: tl.tensor,
    width: tl.tensor,
    CAUSAL: tl.constexpr,
    WRAP: tl.constexpr,
    SAME_BUCKET_ONLY: tl.constexpr,
    DEDUPLICATE: tl.constexpr,
) -> tl.tensor:
    """Product times the key's factor, minus infinity where the query does not see the key.

    Chosen, not added: rows that nobody sees may hold anything, infinity and what is no number included.

    Args:
        product: Of query and key, [queries, keys], or transposed if the positions are.
        factor: One for each key.
        BUCKET: Bucket of each position in each round, [R, L], signed, if it is looked at.
        CHUNK: Chunk of each position in each round, [R, L], if pairs that meet several times count once.
        query_round: Round of the queries.
        query_position: [queries, 1].
        key_round: Round of the keys.
        key_position: [1, keys], at least `length` for a key that nobody sees.
        n_rounds: R.
        length: L.
        n_chunks: Chunks of all rounds.
        chunks_per_round: Chunks of one.
        n_before: As in `log2_times_met`.
        width: As in `log2_times_met`.
        CAUSAL: Whether a position sees only the past.
        WRAP: As in `reformer.functional.windows.Window`.
        SAME_BUCKET_ONLY: Whether a query sees only keys of its own round and bucket.
        DEDUPLICATE: Whether a key met several times counts once.
    """
    # Positions are compared as int32, so the mask is exact at any length.
    if CAUSAL:
        seen = key_position < query_position
    else:
        # Both at once: zero for a query itself, negative for a key that nobody sees. Two masks would not fit registers.
        seen = (tl.where(key_position < length, key_position, -1) ^ query_position) > 0
    score = tl.where(seen, product * factor, -float("inf"))
    if SAME_BUCKET_ONLY:
        score = _alike_only(score, BUCKET, query_round, query_position, key_round, key_position, length)
    if DEDUPLICATE:
        score -= log2_times_met(
            CHUNK,
            BUCKET,
            query_position,
            key_position,
            n_rounds,
            length,
            n_chunks,
            chunks_per_round,
            n_before,
            width,
            WRAP,
            SAME_BUCKET_ONLY,
        )
    return score


@triton.jit
def softmax_weight(score: tl.tensor, lse: tl.tensor) -> tl.tensor:
    """Of a pair, from the log-sum-exp over all that its query sees: at most one, or what is no number.

    A product summed in another order than in the forward pass may exceed the log-sum-exp by its rounding error. At
    products of 1e20, as padding may have, that error is 1e13, its power of two infinite, and times a gradient of zero
    no number.
    """
    return tl.exp2(tl.minimum(score - lse, 0.0, propagate_nan=tl.PropagateNan.ALL))


@triton.jit
def _alike_only(
    score: tl.tensor,
    BUCKET: tl.tensor,
    query_round: tl.tensor,
    query_position: tl.tensor,
    key_round: tl.tensor,
    key_position: tl.tensor,
    length: tl.tensor,
) -> tl.tensor:
    """The score, minus infinity unless query and key stand in the same bucket of the same round.

    Negative numbers stand for buckets that there are not, so BUCKET must be signed.
    """
    BUCKET += query_round.to(tl.int64) * length
    query_bucket = tl.load(BUCKET + query_position, mask=query_position < length, other=-1)
    own_round_length = tl.where(key_round == query_round, length, 0)
    key_bucket = tl.load(BUCKET + key_position, mask=key_position < own_round_length, other=-2)
    return tl.where(query_bucket == key_bucket, score, -float("inf"))


@triton.jit
def log2_times_met(
    CHUNK: tl.tensor,
    BUCKET: tl.tensor,
    query_position: tl.tensor,
    key_position: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    n_chunks: tl.tensor,
    chunks_per_round: tl.tensor,
    n_before: tl.tensor,
    width: tl.tensor,
    WRAP: tl.constexpr,
    SAME_BUCKET_ONLY: tl.constexpr,
) -> tl.tensor:
    """Logarithm to base two of how often each pair meets over all rounds, zero where it never does.

    For each pair of rounds that can meet, which is each of all pairs only if the ring goes through all rounds.

    Args:
        CHUNK: Chunk of each position in each round, counted through all rounds, [R, L].
        BUCKET: Bucket of each position in each round, [R, L].
        query_position: [queries, 1], or transposed if the keys' are.
        key_position: [1, keys].
        n_rounds: R.
        length: L.
        n_chunks: Chunks of all rounds.
        chunks_per_round: Chunks of one.
        n_before: Chunks seen before the own one, less than the ring has.
        width: Chunks in a window, which may be more than the ring has.
        WRAP: As in `reformer.functional.windows.Window`.
        SAME_BUCKET_ONLY: Whether a pair meets only within a bucket.
    """
    ACROSS: tl.constexpr = WRAP == "across_rounds" and not SAME_BUCKET_ONLY
    ring = n_chunks if WRAP == "across_rounds" else chunks_per_round
    query_row, key_row = tl.minimum(query_position, length - 1), tl.minimum(key_position, length - 1)
    round_len = length.to(tl.int64)
    times = (query_row + key_row) * 0
    for mine in range(n_rounds):
        query_chunk = tl.load(CHUNK + mine * round_len + query_row)
        for step in range(n_rounds if ACROSS else 1):
            key_chunk = tl.load(CHUNK + (step if ACROSS else mine) * round_len + key_row)
            distance = key_chunk - query_chunk + n_before
            if WRAP != "none":
                distance = tl.where(distance < 0, distance + ring, distance)
                distance = tl.where(distance < ring, distance, distance - ring)
            meets = (distance >= 0) & (distance < width)
            if SAME_BUCKET_ONLY:
                query_bucket = tl.load(BUCKET + mine * round_len + query_row)
                meets = meets & (query_bucket == tl.load(BUCKET + mine * round_len + key_row))
            times += meets.to(tl.int32)
    return tl.log2(tl.maximum(times, 1).to(tl.float32))
