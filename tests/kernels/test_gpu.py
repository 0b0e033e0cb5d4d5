"""The compiled kernels at the sizes they are for; run by `pytest -m gpu` where there is a GPU."""

import itertools
from typing import Any

import pytest
import torch

from reformer.functional import hashing as hashing_specification
from reformer.functional import sorting as sorting_specification
from tests.kernels.cases import DEVICE, Case, Inputs, assert_as_exact_as_plain, by_kernels
from tests.kernels.test_hashing import chosen_projections

pytestmark = pytest.mark.gpu

TYPES = (torch.bfloat16, torch.float16, torch.float32)
LARGE = Case(length=4096, width=64, n_rounds=4, n_buckets=64, chunk_len=64, batch=2, heads=4)


@pytest.mark.parametrize(
    ("dtype", "width", "chunk_len", "causal"),
    list(itertools.product(TYPES, (64, 96, 128), (64, 100, 128), (True, False))),
)
def test_kernels_err_at_most_twice_what_a_plain_run_errs(
    dtype: torch.dtype, width: int, chunk_len: int, causal: bool
) -> None:
    case = LARGE._replace(dtype=dtype, width=width, chunk_len=chunk_len, causal=causal, n_after=0 if causal else 1)
    assert_as_exact_as_plain(case, Inputs.of(case))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "changes",
    [
        {"padding": 1000},
        {"deduplicate": True},
        {"same_bucket_only": True, "wrap": "none"},
        {"same_bucket_only": True, "deduplicate": True},
        {"wrap": "per_round", "n_before": 2, "n_after": 2},
        {"n_rounds": 1, "length": 4001},
        {"chunk_len": 16, "width": 16},
        {"chunk_len": 300, "n_rounds": 1},
    ],
    ids=str,
)
def test_every_option_is_compiled_as_it_is_interpreted(dtype: torch.dtype, changes: dict[str, Any]) -> None:
    case = LARGE._replace(dtype=dtype, length=2000, **changes)
    assert_as_exact_as_plain(case, Inputs.of(case))


@pytest.mark.parametrize("dtype", TYPES)
def test_results_are_equal_bit_for_bit_every_time(dtype: torch.dtype) -> None:
    case = LARGE._replace(dtype=dtype)
    inputs = Inputs.of(case)
    first = by_kernels(case, inputs)
    for _ in range(5):
        assert all(torch.equal(one, other) for one, other in zip(first, by_kernels(case, inputs), strict=True))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_past_has_no_gradient_to_the_future(dtype: torch.dtype) -> None:
    case = LARGE._replace(dtype=dtype)
    inputs = Inputs.of(case)
    d_out_BHLK = inputs.d_out_BHLK.clone()
    d_out_BHLK[:, :, 1234:] = 0
    for gradient in by_kernels(case, inputs._replace(d_out_BHLK=d_out_BHLK))[1:]:
        assert not gradient[:, :, 1234:].any()


@pytest.mark.parametrize(
    ("n_ids", "dtype"), [(2, torch.int16), (64, torch.int16), (32768, torch.int16), (2**31 - 1, torch.int32)]
)
@pytest.mark.parametrize("length", [1, 4096, 65537])
def test_positions_are_in_the_order_of_a_stable_sort(length: int, n_ids: int, dtype: torch.dtype) -> None:
    from reformer.kernels.sorting import sort_by_bucket

    bucket_BHRL = torch.randint(n_ids, (2, 4, 4, length), dtype=dtype, device=DEVICE)
    assert torch.equal(sort_by_bucket(bucket_BHRL).long(), sorting_specification.sort_by_bucket(bucket_BHRL))


@pytest.mark.parametrize("n_buckets", [(64,), (16, 32), (512,)])
@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)]
)
def test_each_vector_falls_into_the_bucket_of_its_largest_projection(
    n_buckets: tuple[int, ...], dtype: torch.dtype, rounding: float
) -> None:
    from reformer.kernels.ops import hash_vectors

    vector_BHLK = Inputs.of(LARGE._replace(dtype=dtype)).query_BHLK.detach()
    rotation_HRKN = hashing_specification.random_rotations(
        torch.Generator().manual_seed(1), n_heads=4, d_head=64, n_hashes=4, n_buckets=n_buckets
    ).to(DEVICE, dtype)
    bucket_BHRL = hash_vectors(vector_BHLK, rotation_HRKN, n_buckets=n_buckets)
    for chosen, largest in chosen_projections(bucket_BHRL, vector_BHLK, rotation_HRKN, n_buckets):
        assert ((largest - chosen) <= rounding * largest).all()


def test_tensors_of_more_than_an_int32_can_count() -> None:
    case = LARGE._replace(
        batch=1, heads=4, n_rounds=2, dtype=torch.bfloat16, length=1 << 21, width=128, n_buckets=2**14
    )
    inputs = Inputs.of(case)
    assert case.heads * case.n_rounds * case.length * case.width >= 2**31
    whole = by_kernels(case, inputs)
    last = inputs.changed(lambda x: x[:, -1:])
    alone = by_kernels(case, last)
    assert all(torch.equal(one[:, -1:], other) for one, other in zip(whole, alone, strict=True))


def test_a_captured_graph_gives_what_the_calls_give() -> None:
    from reformer.kernels.ops import hash_vectors, lsh_attention

    case = LARGE._replace(dtype=torch.bfloat16)
    inputs = Inputs.of(case)
    rotation_HRKN = torch.randn(4, 4, 64, 32, device=DEVICE, dtype=torch.bfloat16)

    def step() -> torch.Tensor:
        bucket_BHRL = hash_vectors(inputs.query_BHLK, rotation_HRKN, n_buckets=(64,))
        return lsh_attention(inputs.query_BHLK.detach(), inputs.value_BHLK.detach(), bucket_BHRL, **case.options)

    expected = step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    graph.replay()
    assert torch.equal(out, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="takes two GPUs")
def test_the_current_device_need_not_be_that_of_the_tensors() -> None:
    case = LARGE._replace(length=2000, deduplicate=True)
    inputs = Inputs.of(case)
    elsewhere = inputs.changed(lambda x: x.to("cuda:1"))
    for here, there in zip(by_kernels(case, inputs), by_kernels(case, elsewhere), strict=True):
        assert there.device == torch.device("cuda", 1)
        assert torch.equal(here, there.to(DEVICE))
