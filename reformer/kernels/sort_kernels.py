"""Stable counting sort by digits of a key: the kernels of one pass, least significant digit first.

Between the two a cumulative sum over the counts, digit-major, gives the first place of each digit and tile.

A histogram is counted by atomic additions in shared memory, in no particular order. They add whole numbers, whose sum
is the same in any order, so what comes of it is the same every time.
"""

import triton
import triton.language as tl


@triton.jit
def _digits(
    BUCKET: tl.tensor,
    ORDER: tl.tensor,
    slot: tl.tensor,
    length: tl.tensor,
    shift: tl.tensor,
    DIGITS: tl.constexpr,
) -> tl.tensor:
    """Positions that stand in these slots after the passes so far, and the present digit of their buckets."""
    there = slot < length
    position = slot
    if ORDER is not None:
        position = tl.load(ORDER + slot, mask=there, other=0)
    bucket = tl.load(BUCKET + position, mask=there, other=0)
    return position, ((bucket >> shift) & (DIGITS - 1)).to(tl.int32)


@triton.jit(do_not_specialize=("n_tiles", "length", "shift"))
def count_kernel(
    BUCKET: tl.tensor,
    ORDER: tl.tensor,
    COUNT: tl.tensor,
    n_tiles: tl.tensor,
    length: tl.tensor,
    shift: tl.tensor,
    DIGITS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> None:
    """How often each digit occurs in a tile of BLOCKS * BLOCK slots.

    Grid: one program for each tile of each row of slots, tiles fastest.

    Reads BUCKET [rows, L] and, after the first pass, ORDER [rows, S]. Writes COUNT [rows, DIGITS, tiles].
    """
    row, tile = (tl.program_id(0) // n_tiles).to(tl.int64), tl.program_id(0) % n_tiles
    BUCKET += row * length
    if ORDER is not None:
        ORDER += row * length
    digit_of = tl.arange(0, DIGITS)
    count = tl.zeros([DIGITS], tl.int32)
    for block in range(BLOCKS):
        slot = (tile * BLOCKS + block) * BLOCK + tl.arange(0, BLOCK)
        _, digit = _digits(BUCKET, ORDER, slot, length, shift, DIGITS)
        # Slots beyond the end were counted as zeros.
        beyond = BLOCK - tl.minimum(tl.maximum(length - (tile * BLOCKS + block) * BLOCK, 0), BLOCK)
        count += tl.histogram(digit, DIGITS) - tl.where(digit_of == 0, beyond, 0)
    tl.store(COUNT + (row * DIGITS + digit_of) * n_tiles + tile, count)


@triton.jit(do_not_specialize=("n_tiles", "length", "shift"))
def place_kernel(
    BUCKET: tl.tensor,
    ORDER: tl.tensor,
    COUNT: tl.tensor,
    TOTAL: tl.tensor,
    PLACED: tl.tensor,
    n_tiles: tl.tensor,
    length: tl.tensor,
    shift: tl.tensor,
    DIGITS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> None:
    """Put every position of a tile of BLOCKS * BLOCK slots in its place.

    A position's place is that of its digit and tile, plus the number of equal digits before it in the tile: those of
    earlier blocks, carried along, and those of its own, compared each with each.

    Grid: one program for each tile of each row of slots, tiles fastest.

    Reads BUCKET [rows, L], after the first pass ORDER [rows, S], COUNT [rows, DIGITS, tiles] and its inclusive
    cumulative sum TOTAL. Writes each slot of PLACED [rows, S] once.
    """
    row, tile = (tl.program_id(0) // n_tiles).to(tl.int64), tl.program_id(0) % n_tiles
    BUCKET += row * length
    PLACED += row * length
    if ORDER is not None:
        ORDER += row * length
    entry = (row * DIGITS + tl.arange(0, DIGITS)) * n_tiles + tile
    start = tl.load(TOTAL + entry) - tl.load(COUNT + entry)
    lane = tl.arange(0, BLOCK)
    for block in range(BLOCKS):
        slot = (tile * BLOCKS + block) * BLOCK + lane
        position, digit = _digits(BUCKET, ORDER, slot, length, shift, DIGITS)
        earlier = (digit[None, :] == digit[:, None]) & (lane[None, :] < lane[:, None])
        place = tl.gather(start, digit, 0) + tl.sum(earlier.to(tl.int32), 1)
        tl.store(PLACED + place, position, mask=slot < length)
        # Slots beyond the end are behind all others: what they count as moves nobody.
        start += tl.histogram(digit, DIGITS)


@triton.jit(do_not_specialize=("n_tiles", "n_rounds", "length", "chunk_len", "chunks_per_round"))
def chunk_of_kernel(
    POSITION: tl.tensor,
    CHUNK: tl.tensor,
    n_tiles: tl.tensor,
    n_rounds: tl.tensor,
    length: tl.tensor,
    chunk_len: tl.tensor,
    chunks_per_round: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """The chunk of each position, counted through all rounds: which positions meet, without looking where.

    Grid: one program for BLOCK slots of each round of each head, slots fastest.

    Reads POSITION [B * H * R, S]. Writes CHUNK [B * H * R, L].
    """
    row = tl.program_id(0) // n_tiles
    slot = tl.program_id(0) % n_tiles * BLOCK + tl.arange(0, BLOCK)
    there = slot < length
    position = tl.load(POSITION + row.to(tl.int64) * length + slot, mask=there, other=0)
    chunk = row % n_rounds * chunks_per_round + slot // chunk_len
    tl.store(CHUNK + row.to(tl.int64) * length + position, chunk, mask=there)
