"""`reformer.functional.sorting.sort_by_bucket` as a counting sort, and which chunk each position is in."""

from functools import partial

import torch
from torch import Tensor

from reformer.kernels.launch import ceil_div, empty, launch

DIGIT_BITS = 8
"""Bits of a bucket id sorted by in one pass: more counters than that cost more than another pass."""

BLOCK, BLOCKS = 128, 8
"""Slots compared each with each, and blocks of a tile that share one row of counters."""


def sort_by_bucket(bucket_BHRL: Tensor) -> Tensor:
    """Position in each slot of the sequence sorted by bucket, ties in order of position.

    Args:
        bucket_BHRL: Bucket ids of any integer type, none negative. Every 8 bits of the type cost a pass: how many occur
            only the device knows, and asking it would wait for all that is under way.

    Returns:
        position_BHRS, int32.
    """
    from reformer.kernels.sort_kernels import count_kernel, place_kernel

    bucket_BHRL = bucket_BHRL.contiguous()
    batch, heads, n_rounds, length = bucket_BHRL.shape
    n_rows, n_tiles = batch * heads * n_rounds, ceil_div(length, BLOCK * BLOCKS)
    n_passes, digit_bits = passes(bucket_BHRL.dtype)
    n_digits = max(32, 1 << digit_bits)
    sizes = {"DIGITS": n_digits, "BLOCK": BLOCK, "BLOCKS": min(BLOCKS, ceil_div(length, BLOCK)), "num_warps": 4}
    memory = partial(empty, dtype=torch.int32, device=bucket_BHRL.device)
    order_BHRS = None
    for shift in range(0, n_passes * digit_bits, digit_bits):
        count = memory(n_rows, n_digits * n_tiles)
        counted = (n_tiles, length, shift)
        launch(count_kernel, n_tiles * n_rows, (bucket_BHRL, order_BHRS, count, *counted), **sizes)
        total = count.cumsum(1, dtype=torch.int32)
        placed_BHRS = memory(batch, heads, n_rounds, length)
        placing = (bucket_BHRL, order_BHRS, count, total, placed_BHRS, *counted)
        launch(place_kernel, n_tiles * n_rows, placing, **sizes)
        order_BHRS = placed_BHRS
    assert order_BHRS is not None, "every id has a bit"
    return order_BHRS


def passes(dtype: torch.dtype) -> tuple[int, int]:
    """Passes that it takes to sort ids of this type, and bits of an id sorted by in each."""
    bits = torch.iinfo(dtype).max.bit_length()
    n_passes = ceil_div(bits, DIGIT_BITS)
    return n_passes, ceil_div(bits, n_passes)


def chunk_of_position(position_BHRS: Tensor, *, chunk_len: int, chunks_per_round: int) -> Tensor:
    """The chunk each position stands in, counted through all rounds, chunk_BHRL in int32."""
    from reformer.kernels.sort_kernels import chunk_of_kernel

    batch, heads, n_rounds, length = position_BHRS.shape
    chunk_BHRL = empty(batch, heads, n_rounds, length, dtype=torch.int32, device=position_BHRS.device)
    n_tiles = ceil_div(length, BLOCK * BLOCKS)
    arguments = (position_BHRS, chunk_BHRL, n_tiles, n_rounds, length, chunk_len, chunks_per_round)
    launch(chunk_of_kernel, n_tiles * batch * heads * n_rounds, arguments, BLOCK=BLOCK * BLOCKS)
    return chunk_BHRL
