"""Hashing and sorting against loops."""

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from reformer.attention import SelfAttention
from reformer.config import RotaryPositions
from reformer.functional.hashing import bucket_dtype, hash_vectors, random_rotations
from reformer.functional.sorting import invert, sort_by_bucket
from reformer.functional.windows import Grid, Window, take_slots
from reformer.randomness import Replay
from tests.reformer.models import model

CPU = torch.device("cpu")
Wrap = Literal["across_rounds", "per_round", "none"]


@pytest.mark.parametrize("n_buckets", [(2,), (10,), (4, 6), (2, 4, 6)])
def test_a_hash_is_the_largest_of_all_projections_and_their_opposites(n_buckets: tuple[int, ...]) -> None:
    vector = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation = random_rotations(torch.Generator().manual_seed(1), n_heads=3, d_head=5, n_hashes=4, n_buckets=n_buckets)
    bucket = hash_vectors(vector, rotation, n_buckets=n_buckets)
    assert bucket.shape == (2, 3, 4, 7)
    for b, h, r, position in torch.cartesian_prod(*map(torch.arange, bucket.shape)).tolist():
        projection = [float(vector[b, h, position] @ column.double()) for column in rotation[h, r].T]
        digits, start = [], 0
        for factor in n_buckets:
            part = projection[start : start + factor // 2]
            both = part + [-x for x in part]
            digits.append(both.index(max(both)))
            start += factor // 2
        weights = [math.prod(n_buckets[:index]) for index in range(len(n_buckets))]
        assert bucket[b, h, r, position] == sum(digit * weight for digit, weight in zip(digits, weights, strict=True))


def test_a_hash_depends_on_direction_only() -> None:
    vector = torch.randn(2, 3, 50, 8, generator=torch.Generator().manual_seed(0))
    rotation = random_rotations(torch.Generator().manual_seed(1), n_heads=3, d_head=8, n_hashes=2, n_buckets=(16,))
    assert torch.equal(
        hash_vectors(vector, rotation, n_buckets=(16,)), hash_vectors(vector * 1024, rotation, n_buckets=(16,))
    )


def test_near_vectors_share_buckets_more_often_than_far_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(1, 1, 400, 16, generator=generator)
    near = vector + 0.1 * torch.randn(1, 1, 400, 16, generator=generator)
    rotation = random_rotations(generator, n_heads=1, d_head=16, n_hashes=1, n_buckets=(16,))
    bucket, bucket_near = (hash_vectors(x, rotation, n_buckets=(16,)) for x in (vector, near))
    shared_near = (bucket == bucket_near).double().mean()
    shared_far = (bucket == bucket.roll(1, dims=-1)).double().mean()
    assert shared_near > 0.7
    assert shared_far < 0.2


def test_hashing_neither_reads_nor_moves_the_global_stream() -> None:
    before = torch.get_rng_state()
    random_rotations(torch.Generator().manual_seed(1), n_heads=1, d_head=2, n_hashes=3, n_buckets=(4,))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("n_buckets", "dtype"), [((128, 254), torch.int16), ((256, 128), torch.int32)])
def test_bucket_ids_take_the_smallest_type_that_holds_them(n_buckets: tuple[int, ...], dtype: torch.dtype) -> None:
    assert bucket_dtype(n_buckets) == dtype


def test_sorting_is_by_bucket_then_position_and_can_be_undone() -> None:
    bucket = torch.tensor([[[[2, 0, 2, 1, 0, 2]]]], dtype=torch.int16)
    position = sort_by_bucket(bucket)
    assert position.flatten().tolist() == [1, 4, 3, 0, 2, 5]
    assert position.gather(-1, invert(position)).flatten().tolist() == list(range(6))


def seen(wrap: Wrap, *, n_before: int, n_after: int, n_rounds: int = 1, length: int = 4) -> list[list[int]]:
    """Chunks of one position each, so that slots are positions counted through all rounds."""
    slots: list[list[int]] = Grid(Window(1, n_before, n_after, wrap), n_rounds, length).seen_slots(CPU).tolist()
    return slots


def test_a_short_last_chunk_is_filled_with_what_no_token_has() -> None:
    grid = Grid(Window(3, 0, 0, "none"), n_rounds=2, length=5)
    chunks = grid.to_chunks(torch.arange(10).view(1, 1, 2, 5), fill=99)
    assert chunks[0, 0].tolist() == [[0, 1, 2], [3, 4, 99], [5, 6, 7], [8, 9, 99]]


def test_neighbours_wrap_around_or_end() -> None:
    assert seen("across_rounds", n_before=1, n_after=1) == [[3, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0]]
    assert seen("none", n_before=2, n_after=0) == [[-1, -1, 0], [-1, 0, 1], [0, 1, 2], [1, 2, 3]]


def test_the_wrap_says_whether_rounds_are_neighbours() -> None:
    two: dict[str, int] = {"n_before": 1, "n_after": 0, "n_rounds": 2, "length": 2}
    assert seen("across_rounds", **two) == [[3, 0], [0, 1], [1, 2], [2, 3]]
    assert seen("per_round", **two) == [[1, 0], [0, 1], [3, 2], [2, 3]]
    assert seen("none", **two) == [[-1, 0], [0, 1], [-1, 2], [2, 3]]


def test_a_window_wider_than_the_ring_sees_each_chunk_once() -> None:
    assert sorted(seen("across_rounds", n_before=2, n_after=1, length=2)[0]) == [0, 1]


@pytest.mark.parametrize("wrap", ["across_rounds", "per_round", "none"])
@pytest.mark.parametrize(("n_before", "n_after"), [(0, 0), (1, 0), (2, 1), (3, 4)])
def test_looking_at_a_chunk_is_having_its_slots_in_the_window(wrap: Wrap, n_before: int, n_after: int) -> None:
    grid = Grid(Window(3, n_before, n_after, wrap), n_rounds=2, length=11)
    windows = grid.seen_slots(CPU) // 3
    for chunk in range(grid.n_chunks):
        for other in range(grid.n_chunks):
            assert bool(grid.looks_at(torch.tensor(chunk), torch.tensor(other))) == (other in windows[chunk])


def test_slots_are_taken_where_they_exist() -> None:
    chunks = torch.arange(12).view(1, 2, 3, 2)
    slots = torch.tensor([[0, 5, -1]])
    assert take_slots(chunks, slots, fill=-7).tolist() == [[[[0, 5, -7]], [[6, 11, -7]]]]
    assert take_slots(chunks, slots.expand(1, 2, 1, 3), fill=-7).tolist() == [[[[0, 5, -7]], [[6, 11, -7]]]]


def test_padding_has_a_bucket_behind_all_others_in_every_round() -> None:
    vector = torch.randn(2, 3, 9, 5, generator=torch.Generator().manual_seed(0))
    rotation = random_rotations(torch.Generator().manual_seed(1), n_heads=3, d_head=5, n_hashes=4, n_buckets=(2, 6))
    valid = torch.tensor([[False, True, True, False, True, True, True, False, False], [True] * 9])
    bucket, unpadded = (hash_vectors(vector, rotation, n_buckets=(2, 6), valid_BL=mask) for mask in (valid, None))
    here = valid[:, None, None].expand_as(bucket)
    assert torch.equal(bucket[here], unpadded[here])
    assert (bucket[~here] == 12).all()
    assert unpadded.max() < 12
    assert sort_by_bucket(bucket)[0, 0, 0, -4:].tolist() == [0, 3, 7, 8]


@torch.no_grad()
def test_hashing_sees_vectors_unrotated_and_scores_depend_on_distance_only() -> None:
    half = model("reformer", d_head=6, positions=RotaryPositions(base=50.0)).trunk.layers[0].attention.inner
    assert isinstance(half, SelfAttention)

    def at(x_BLD: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        query, key, _, bucket = half.heads(x_BLD, first + torch.arange(17), Replay(3, training=True))
        assert bucket is not None
        return query, bucket, query @ key.mT

    x_BLD = torch.randn(2, 17, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (query, bucket, score), (moved_query, moved_bucket, moved_score) = at(x_BLD, 0), at(x_BLD, 40)
    assert (query - moved_query).abs().max() > 1
    assert torch.equal(bucket, moved_bucket)
    # Angles are computed in float32, whose spacing at 57 is 4e-6.
    coarse = 1e-5 * float(score.abs().max())
    torch.testing.assert_close(score, moved_score, rtol=0, atol=coarse)
    _, alike, by_distance = at(x_BLD[:, :1].expand(-1, 17, -1), 0)
    assert torch.equal(alike, alike[..., :1].expand_as(alike))
    assert (by_distance[..., 0, :] - by_distance[..., 0, :1]).abs().max() > 0.1
    torch.testing.assert_close(by_distance[..., 1:, 1:], by_distance[..., :-1, :-1], rtol=0, atol=coarse)
