"""The counting sort gives the order of a stable sort."""

from typing import Any

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
    from reformer.kernels.ops import sort_by_bucket

    bucket_BHRL = drawn(length, n_ids, dtype)
    position_BHRS = sort_by_bucket(bucket_BHRL)
    assert position_BHRS.dtype == torch.int32
    assert torch.equal(position_BHRS.long(), specification.sort_by_bucket(bucket_BHRL))


@pytest.mark.parametrize("largest", [2, 40, 255, 256, 600])
def test_a_known_largest_id_saves_passes_and_changes_nothing(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.kernels import sorting

    bucket_BHRL = drawn(150, largest + 1, torch.int32)
    bucket_BHRL[..., 77] = largest
    passes = []
    cumsum = Tensor.cumsum

    def counted(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401  (as torch has it)
        passes.append(x.shape)
        return cumsum(x, *args, **kwargs)

    monkeypatch.setattr(Tensor, "cumsum", counted)
    position_BHRS = sorting.sort_by_bucket(bucket_BHRL, largest=largest)
    assert torch.equal(position_BHRS.long(), specification.sort_by_bucket(bucket_BHRL))
    assert len(passes) == (1 if largest < 256 else 2)


def test_a_sort_reads_any_strides() -> None:
    from reformer.kernels.ops import sort_by_bucket

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
