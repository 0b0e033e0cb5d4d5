"""The counting sort gives the order of a stable sort."""

import pytest
import torch
from torch import Tensor

from reformer.functional import sorting as specification
from reformer.functional.windows import Grid, Window
from tests.kernels.cases import DEVICE


def drawn(length: int, n_ids: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(n_ids, (1, 2, 2, length), generator=generator, dtype=dtype).to(DEVICE)


@pytest.mark.parametrize(
    ("length", "n_ids", "dtype"),
    [
        (1, 1, torch.int16),
        (63, 9, torch.int16),
        (129, 1, torch.int16),
        (1000, 33, torch.int16),
        (1100, 32768, torch.int16),
        (300, 2**31 - 1, torch.int32),
        (130, 2**40, torch.int64),
    ],
)
def test_positions_are_in_the_order_of_a_stable_sort(length: int, n_ids: int, dtype: torch.dtype) -> None:
    from reformer.kernels.sorting import sort_by_bucket

    bucket_BHRL = drawn(length, n_ids, dtype)
    position_BHRS = sort_by_bucket(bucket_BHRL)
    assert position_BHRS.dtype == torch.int32
    assert torch.equal(position_BHRS.long(), specification.sort_by_bucket(bucket_BHRL))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (torch.int8, 90, 128),
        (torch.uint8, 190, 256),
        (torch.uint16, 2**16 - 5, 2**16),
        (torch.uint32, 2**32 - 6, 2**32),
    ],
)
def test_ids_are_sorted_by_all_bits_of_their_type(dtype: torch.dtype, low: int, high: int) -> None:
    from reformer.kernels.sorting import sort_by_bucket

    generator = torch.Generator().manual_seed(11)
    # So few differ in their last bits only, and the first decides where these do not.
    bucket_BHRL = torch.randint(low, high, (1, 3, 2, 130), generator=generator).to(DEVICE)
    bucket_BHRL[..., ::7] -= low
    position_BHRS = sort_by_bucket(bucket_BHRL.to(dtype))
    assert torch.equal(position_BHRS.long(), specification.sort_by_bucket(bucket_BHRL))


@pytest.mark.parametrize(
    ("dtype", "n_passes"),
    [(torch.int8, 1), (torch.uint8, 1), (torch.int16, 2), (torch.uint16, 2), (torch.int32, 4), (torch.int64, 8)],
)
def test_a_sort_takes_a_pass_for_every_eight_bits(dtype: torch.dtype, n_passes: int) -> None:
    from reformer.kernels.sorting import passes

    assert passes(dtype)[0] == n_passes


def test_a_sort_reads_any_strides() -> None:
    from reformer.kernels.sorting import sort_by_bucket

    bucket_BHRL = drawn(63, 5, torch.int16).transpose(1, 2)
    assert torch.equal(sort_by_bucket(bucket_BHRL).long(), specification.sort_by_bucket(bucket_BHRL))


def test_each_position_is_in_the_chunk_of_its_slot() -> None:
    from reformer.kernels.sorting import chunk_of_position

    position_BHRS = specification.sort_by_bucket(drawn(100, 7, torch.int16))
    grid = Grid(Window(30, 1, 0, "none"), 2, 100)
    chunk_BHRL = chunk_of_position(
        position_BHRS.int(), chunk_len=grid.chunk_len, chunks_per_round=grid.chunks_per_round
    )
    expected = grid.slots(specification.invert(position_BHRS)) // grid.chunk_len
    assert torch.equal(chunk_BHRL.long(), expected)
