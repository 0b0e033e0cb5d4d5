"""`reformer.functional.sorting.sort_by_bucket` as a counting sort, and which chunk each position is in."""

from functools import partial

import torch
from torch import Tensor

from reformer.kernels.launch import ceil_div, empty
from reformer.kernels.requirements import check_machine

DIGIT_BITS = 8
"""Bits of a bucket id sorted by in one pass: more counters than that cost more than another pass."""

BLOCK, BLOCKS = 128, 8
"""Slots compared each with each, and blocks of a tile that share one row of counters."""


def sort_by_bucket(bucket_BHRL: Tensor, *, largest: int | None = None) -> Tensor:
    """Position in each slot of the sequence sorted by bucket, ties in order of position.

    Args:
        bucket_BHRL: Bucket ids of any integer type, none negative.
        largest: The largest id that occurs, if it is known: every 8 bits of it cost a pass. Otherwise each 8 bits of
            the type do.

    Returns:
        position_BHRS, int32.

    Raises:
        RuntimeError: This machine cannot run the kernels.
    """
    check_machine(bucket_BHRL.device)
    from reformer.kernels.sort_kernels import count_kernel, place_kernel

    bucket_BHRL = bucket_BHRL.contiguous()
    batch, heads, n_rounds, length = bucket_BHRL.shape
    n_rows, n_tiles = batch * heads * n_rounds, ceil_div(length, BLOCK * BLOCKS)
    bits = torch.iinfo(bucket_BHRL.dtype).bits - 1 if largest is None else max(1, largest.bit_length())
    n_passes = ceil_div(bits, DIGIT_BITS)
    digit_bits = ceil_div(bits, n_passes)
    n_digits = max(32, 1 << digit_bits)
    sizes = {"DIGITS": n_digits, "BLOCK": BLOCK, "BLOCKS": min(BLOCKS, ceil_div(length, BLOCK)), "num_warps": 4}
    memory = partial(empty, dtype=torch.int32, device=bucket_BHRL.device)
    order_BHRS = None
    for shift in range(0, n_passes * digit_bits, digit_bits):
        count = memory(n_rows, n_digits * n_tiles)
        counted = (n_tiles, length, shift)
        count_kernel[(n_tiles * n_rows,)](bucket_BHRL, order_BHRS, count, *counted, **sizes)
        total = count.cumsum(1, dtype=torch.int32)
        placed_BHRS = memory(batch, heads, n_rounds, length)
        place_kernel[(n_tiles * n_rows,)](bucket_BHRL, order_BHRS, count, total, placed_BHRS, *counted, **sizes)
        order_BHRS = placed_BHRS
    assert order_BHRS is not None, "every id has a bit"
    return order_BHRS


def chunk_of_position(position_BHRS: Tensor, *, chunk_len: int, chunks_per_round: int) -> Tensor:
    """The chunk each position stands in, counted through all rounds, chunk_BHRL in int32."""
    from reformer.kernels.sort_kernels import chunk_of_kernel

    batch, heads, n_rounds, length = position_BHRS.shape
    chunk_BHRL = empty(batch, heads, n_rounds, length, dtype=torch.int32, device=position_BHRS.device)
    n_tiles = ceil_div(length, BLOCK * BLOCKS)
    chunk_of_kernel[(n_tiles * batch * heads * n_rounds,)](
        position_BHRS, chunk_BHRL, n_tiles, n_rounds, length, chunk_len, chunks_per_round, BLOCK=BLOCK * BLOCKS
    )
    return chunk_BHRL
