"""The kernels give what the specification gives, in the forward and in the backward pass."""

import itertools
import math
from typing import Any

import pytest
import torch

from tests.kernels.cases import DEVICE, Case, Inputs, Results, assert_as_exact_as_plain, by_kernels

HALF, BRAIN = torch.float16, torch.bfloat16

interpreted_by_numpy = pytest.mark.filterwarnings(
    "ignore:(overflow|invalid value|All-NaN slice) encountered:RuntimeWarning"
)
"""NumPy, which the interpreter computes with, warns of what a GPU computes without a word."""

CASES = [
    Case(),
    Case(length=100, width=24, n_rounds=1, batch=2, heads=1, chunk_len=32),
    Case(length=100, width=40, dtype=BRAIN, n_rounds=3, heads=1),
    Case(dtype=HALF, causal=False, n_after=1, wrap="per_round", score_scale=0.25),
    Case(dtype=BRAIN, padding=9, causal=False, wrap="none", n_before=0, n_after=2),
    Case(length=100, chunk_len=20, n_before=2, n_after=1, wrap="none", causal=False, heads=1, n_rounds=3),
    Case(n_buckets=1, padding=20, n_rounds=1),
    Case(n_buckets=63, wrap="per_round"),
    Case(chunk_len=7, length=37, n_before=0, batch=2, heads=1),
    Case(length=20, chunk_len=64, n_before=2, n_after=2, n_rounds=3, causal=False, wrap="per_round"),
    Case(length=37, chunk_len=20, n_before=2, n_after=2, n_rounds=1, wrap="per_round", deduplicate=True),
    Case(length=300, chunk_len=150, n_rounds=1, heads=1, dtype=HALF),
    Case(same_bucket_only=True, heads=1, padding=5),
    Case(same_bucket_only=True, causal=False, n_after=1, wrap="none", heads=1, dtype=HALF),
    Case(deduplicate=True, heads=1, causal=False, n_after=1, n_rounds=3),
    Case(deduplicate=True, heads=1, wrap="none", n_rounds=3, n_buckets=2, padding=3),
    Case(deduplicate=True, heads=1, wrap="per_round", n_before=2, n_after=1, length=50, dtype=BRAIN),
    Case(deduplicate=True, same_bucket_only=True, heads=1, n_buckets=2),
]

GRID = [
    Case(
        length=length,
        n_rounds=n_rounds,
        n_buckets=(1, 4, 50)[index // 2 % 3],
        chunk_len=(16, 20, 33)[index % 3],
        n_before=n_before,
        n_after=n_after,
        wrap=wrap,  # type: ignore[arg-type]
        causal=causal,
        same_bucket_only=same_bucket_only,
        deduplicate=deduplicate,
        padding=(0, 3, 11)[index // 5 % 3],
        dtype=(torch.float32, BRAIN, HALF)[index // 4 % 3],
        batch=2 if length < 20 else 1,
        heads=3 if length < 20 else 1,
    )
    for index, (n_rounds, (n_before, n_after), wrap, causal, same_bucket_only, deduplicate) in enumerate(
        itertools.product(
            (1, 2, 3),
            ((0, 0), (1, 0), (1, 1), (2, 0), (0, 2), (2, 2)),
            ("across_rounds", "per_round", "none"),
            (True, False),
            (True, False),
            (True, False),
        )
    )
    for length in [(63, 37, 100, 16, 17)[index % 5]]
]
"""Every combination of the options once, the rest of the case in turn.

Of short sequences there are several, so that errors are means over about as many rows.
"""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_err_at_most_twice_what_a_plain_run_errs(case: Case) -> None:
    assert_as_exact_as_plain(case, Inputs.of(case))


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", GRID, ids=str)
def test_kernels_err_at_most_twice_what_a_plain_run_errs_whatever_the_options(case: Case) -> None:
    assert_as_exact_as_plain(case, Inputs.of(case))


def test_a_long_sequence_of_many_chunks() -> None:
    case = Case(length=1000, chunk_len=64, heads=1, n_rounds=1, n_buckets=17, dtype=HALF)
    assert_as_exact_as_plain(case, Inputs.of(case))


@pytest.mark.parametrize("deduplicate", [False, True])
def test_the_past_has_no_gradient_to_the_future(deduplicate: bool) -> None:
    case = Case(deduplicate=deduplicate, heads=1)
    inputs = Inputs.of(case)
    past = 40
    d_out_BHLK = inputs.d_out_BHLK.clone()
    d_out_BHLK[:, :, past:] = 0
    results = by_kernels(case, inputs._replace(d_out_BHLK=d_out_BHLK))
    for gradient in results[1:]:
        assert not gradient[:, :, past:].any()
        assert gradient[:, :, : past - 1].any(dim=-1).all()


def test_padding_is_seen_by_nobody() -> None:
    case = Case(padding=20, causal=False, n_after=1, heads=1)
    inputs = Inputs.of(case)
    assert inputs.valid_BL is not None
    padding = ~inputs.valid_BL[0]
    d_out_BHLK = inputs.d_out_BHLK.masked_fill(padding[:, None], 0)
    results = by_kernels(case, inputs._replace(d_out_BHLK=d_out_BHLK))
    for gradient in results[1:]:
        assert not gradient[:, :, padding].any()


@interpreted_by_numpy
@pytest.mark.parametrize("content", [1e4, math.inf, math.nan])
@pytest.mark.parametrize("changes", [{}, {"causal": False, "n_after": 1}], ids=str)
def test_padding_may_hold_any_query(changes: dict[str, Any], content: float) -> None:
    case = Case(padding=20, heads=1, **changes)
    inputs = Inputs.of(case)
    usual, unusual = by_kernels(case, inputs), by_kernels(case, with_padding_of(content, inputs))
    assert torch.equal(valid_rows(inputs, usual.out), valid_rows(inputs, unusual.out))


@interpreted_by_numpy
@pytest.mark.parametrize(
    ("dtype", "content"), [(HALF, 1e4), (torch.float32, 1e4), (torch.float32, 1e19), (torch.float32, 1e30)]
)
@pytest.mark.parametrize("changes", [{}, {"causal": False, "n_after": 1}], ids=str)
def test_padding_whose_products_are_infinite_leaves_gradients_as_they_are(
    changes: dict[str, Any], dtype: torch.dtype, content: float
) -> None:
    case = Case(padding=20, heads=1, dtype=dtype, **changes)
    inputs = Inputs.of(case)
    assert inputs.valid_BL is not None
    inputs = inputs._replace(d_out_BHLK=inputs.d_out_BHLK.masked_fill(~inputs.valid_BL[:, None, :, None], 0))
    usual, unusual = by_kernels(case, inputs), by_kernels(case, with_padding_of(content, inputs))
    for one, other in zip(usual, unusual, strict=True):
        assert valid_rows(inputs, other).isfinite().all()
        assert torch.equal(valid_rows(inputs, one), valid_rows(inputs, other))


@interpreted_by_numpy
def test_what_is_no_number_reaches_the_gradients() -> None:
    case = Case(length=37, heads=1, n_rounds=1, n_buckets=1, chunk_len=64, n_before=0)
    inputs = Inputs.of(case)
    query_BHLK = inputs.query_BHLK.detach().clone()
    query_BHLK[:, :, 20] = math.nan
    out, d_query, d_value = by_kernels(case, inputs._replace(query_BHLK=query_BHLK))
    # Of that query, of all that see it, and of all that it sees, which are the keys before it.
    assert out[:, :, 20:].isnan().all()
    assert out[:, :, :20].isfinite().all()
    assert d_query.isnan().all()
    assert d_value.isnan().all()


def with_padding_of(content: float, inputs: Inputs) -> Inputs:
    assert inputs.valid_BL is not None
    query_BHLK = inputs.query_BHLK.detach().masked_fill(~inputs.valid_BL[:, None, :, None], content)
    return inputs._replace(query_BHLK=query_BHLK)


def valid_rows(inputs: Inputs, x_BHLK: torch.Tensor) -> torch.Tensor:
    assert inputs.valid_BL is not None
    return x_BHLK.transpose(1, 2)[inputs.valid_BL]


def test_ids_of_buckets_may_take_up_the_whole_of_their_type() -> None:
    case = Case(same_bucket_only=True, heads=1, causal=False, n_after=1)
    inputs = Inputs.of(case)
    # As int8 these are -6..-1.
    high = inputs._replace(bucket_BHRL=(inputs.bucket_BHRL + 250).to(torch.uint8))
    for one, other in zip(by_kernels(case, inputs), by_kernels(case, high), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, HALF, BRAIN])
@pytest.mark.parametrize("n_rounds", [1, 2])
def test_a_query_that_sees_nothing_keeps_its_own_value_exactly(dtype: torch.dtype, n_rounds: int) -> None:
    case = Case(length=17, dtype=dtype, n_rounds=n_rounds, heads=1, causal=False, same_bucket_only=True, n_buckets=20)
    inputs = Inputs.of(case)
    # Each position in a bucket of its own, but two that see each other.
    bucket_BHRL = torch.arange(17, dtype=torch.int16, device=DEVICE).expand(1, 1, n_rounds, 17).clone()
    bucket_BHRL[..., 5] = bucket_BHRL[..., 9]
    together = torch.zeros(17, dtype=torch.bool, device=DEVICE).index_fill(0, torch.tensor([5, 9], device=DEVICE), True)
    out, d_query, d_value = by_kernels(case, inputs._replace(bucket_BHRL=bucket_BHRL))
    assert torch.equal(out[:, :, ~together], inputs.value_BHLK[:, :, ~together])
    assert torch.equal(out[:, :, 5], inputs.value_BHLK[:, :, 9])
    assert torch.equal(d_value[:, :, ~together], inputs.d_out_BHLK[:, :, ~together])
    assert not d_query[:, :, ~together].any()


def test_a_round_in_which_a_query_sees_nothing_counts_for_nothing() -> None:
    case = Case(length=17, heads=1, causal=False, same_bucket_only=True, wrap="per_round")
    inputs = Inputs.of(case)
    bucket_BHRL = torch.arange(17, dtype=torch.int16, device=DEVICE).expand(1, 1, 2, 17).clone()
    bucket_BHRL[:, :, 1] = 0
    both = by_kernels(case, inputs._replace(bucket_BHRL=bucket_BHRL))
    second = by_kernels(case, inputs._replace(bucket_BHRL=bucket_BHRL[:, :, 1:]))
    torch.testing.assert_close(both, second, rtol=1e-5, atol=1e-6)


def test_the_log_sum_exp_is_exact() -> None:
    from reformer.kernels.lsh import attend

    case = Case(length=40, chunk_len=64, n_before=0, n_rounds=1, heads=1)
    inputs = Inputs.of(case)
    query, value = inputs.query_BHLK.detach(), inputs.value_BHLK.detach()
    bucket = torch.zeros_like(inputs.bucket_BHRL)
    _, lse, position = attend(query, value, bucket, None, 1.0, 64, 0, 0, "none", True, False, False, 0.0, 0)
    wide = query.double()
    score = wide @ (wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt() / 4).mT
    hidden = torch.ones(40, 40, device=DEVICE).triu().bool()
    expected = score.masked_fill(hidden, float("-inf")).logsumexp(-1)
    # To base two.
    torch.testing.assert_close(lse[..., 1:].double() * math.log(2), expected[..., 1:], rtol=1e-6, atol=1e-6)
    assert lse[..., 0].item() == torch.tensor(-1e30).item()
    assert torch.equal(position[0, 0, 0].cpu(), torch.arange(40, dtype=torch.int32))


def test_results_are_equal_bit_for_bit_every_time() -> None:
    case = Case(dtype=BRAIN, n_rounds=3, heads=1)
    first, second = (by_kernels(case, Inputs.of(case)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_results_do_not_depend_on_strides() -> None:
    case = Case(batch=2)
    inputs = Inputs.of(case)
    plain = by_kernels(case, inputs)
    contiguous = inputs.changed(lambda x: x.contiguous())
    columns = inputs.changed(lambda x: x.mT.contiguous().mT, rows_only=True)
    assert inputs.query_BHLK.stride() != contiguous.query_BHLK.stride()
    for other in (contiguous, columns):
        assert all(torch.equal(one, two) for one, two in zip(plain, by_kernels(case, other), strict=True))


def test_results_are_strided_so_that_merging_heads_copies_nothing() -> None:
    for n_rounds in (1, 2):
        case = Case(length=16, n_rounds=n_rounds)
        results: Results = by_kernels(case, Inputs.of(case))
        assert all(result.transpose(1, 2).is_contiguous() for result in results)
