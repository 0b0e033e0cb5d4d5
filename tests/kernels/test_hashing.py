"""Hashing in one pass gives the specification's buckets, ties included."""

import math

import pytest
import torch
from torch import Tensor

from reformer.functional import hashing as specification
from tests.kernels.cases import DEVICE


def drawn(
    length: int, width: int, n_buckets: tuple[int, ...], *, batch: int = 1, heads: int = 2
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    vector_BHLK = torch.randn(batch, length, heads, width, generator=generator).transpose(1, 2)
    rotation_HRKN = specification.random_rotations(
        generator, n_heads=heads, d_head=width, n_hashes=3, n_buckets=n_buckets
    )
    return vector_BHLK.to(DEVICE), rotation_HRKN.to(DEVICE)


def chosen_projections(
    bucket_BHRL: Tensor, vector_BHLK: Tensor, rotation_HRKN: Tensor, n_buckets: tuple[int, ...]
) -> list[tuple[Tensor, Tensor]]:
    """For each factor the projection on the chosen direction and the largest there is, in float64."""
    x_BHRLN = torch.einsum("bhlk,hrkn->bhrln", vector_BHLK.double(), rotation_HRKN.double())
    pairs, rest = [], bucket_BHRL.long()
    for factor, part in zip(n_buckets, x_BHRLN.split([f // 2 for f in n_buckets], dim=-1), strict=True):
        both = torch.cat([part, -part], dim=-1)
        pairs.append((both.gather(-1, (rest % factor)[..., None]).squeeze(-1), both.amax(dim=-1)))
        rest = rest // factor
    assert not rest.any()
    return pairs


@pytest.mark.parametrize(
    ("length", "width", "n_buckets"),
    [(63, 16, (8,)), (100, 24, (4, 6)), (65, 40, (300,)), (5, 64, (2,)), (70, 16, (8, 6, 2)), (33, 16, (200, 256))],
)
def test_each_vector_falls_into_the_bucket_of_its_largest_projection(
    length: int, width: int, n_buckets: tuple[int, ...]
) -> None:
    from reformer.kernels.ops import hash_vectors

    vector_BHLK, rotation_HRKN = drawn(length, width, n_buckets)
    bucket_BHRL = hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=n_buckets)
    expected = specification.hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=n_buckets)
    assert bucket_BHRL.dtype == expected.dtype
    assert (bucket_BHRL == expected).float().mean() > 0.99
    for chosen, largest in chosen_projections(bucket_BHRL, vector_BHLK, rotation_HRKN, n_buckets):
        assert ((largest - chosen) <= 1e-5 * largest).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_of_equal_projections_the_first_counts(dtype: torch.dtype) -> None:
    from reformer.kernels.ops import hash_vectors

    generator = torch.Generator().manual_seed(5)
    # Small whole numbers: every projection is exact in every type, and most are met twice.
    vector_BHLK = torch.randint(-1, 2, (1, 2, 90, 16), generator=generator).to(DEVICE, dtype)
    vector_BHLK[:, :, 7] = 0
    rotation_HRKN = torch.randint(-1, 2, (2, 2, 16, 75 + 4), generator=generator).to(DEVICE, torch.float32)
    n_buckets = (150, 8)
    bucket_BHRL = hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=n_buckets)
    assert torch.equal(bucket_BHRL, specification.hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=n_buckets))
    assert not bucket_BHRL[..., 7].any()


def test_padding_gets_a_bucket_behind_all_others() -> None:
    from reformer.kernels.ops import hash_vectors

    n_buckets = (4, 6)
    vector_BHLK, rotation_HRKN = drawn(40, 16, n_buckets, batch=2)
    valid_BL = torch.arange(40, device=DEVICE) < torch.tensor([[40], [11]], device=DEVICE)
    bucket_BHRL = hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=n_buckets, valid_BL=valid_BL)
    assert (bucket_BHRL == math.prod(n_buckets)).equal(~valid_BL[:, None, None].expand_as(bucket_BHRL))


def test_what_is_not_a_number_gets_a_bucket_that_exists() -> None:
    from reformer.kernels.ops import hash_vectors

    vector_BHLK, rotation_HRKN = drawn(20, 16, (6,))
    vector_BHLK[:, :, 3] = float("nan")
    bucket_BHRL = hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=(6,))
    assert ((bucket_BHRL >= 0) & (bucket_BHRL < 6)).all()
