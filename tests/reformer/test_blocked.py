"""The blocked backend against the specification, which brute force is the measure of."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reformer.blocked import blocks, hashing, lsh, sorting
from reformer.functional import hashing as specified_hashing
from reformer.functional import lsh as specified_lsh
from reformer.functional import sorting as specified_sorting
from reformer.functional.dropping import Dropout
from reformer.functional.hashing import random_rotations
from reformer.functional.windows import Window, Wrap
from tests.reformer.drawn import at_every_scale, holds
from tests.reformer.test_attention import (
    BATCH,
    EXACT,
    HEADS,
    WIDTH,
    LSHCase,
    assert_same_values_and_gradients,
    buckets,
    inputs,
    lsh_cases,
)

Attention = Callable[..., Tensor]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences of tests have several blocks, and heads several groups."""
    monkeypatch.setattr(blocks, "SCORES", 150)
    monkeypatch.setattr(lsh, "ROWS", 60)


@at_every_scale
@pytest.mark.usefixtures("small_blocks")
def test_it_equals_the_specification(scale: int) -> None:
    cut: list[int] = []

    def check(case: LSHCase) -> None:
        query, value, weight = inputs(case.bucket_BHRL.shape[-1], case.seed)

        def blocked(query: Tensor, value: Tensor) -> Tensor:
            return lsh.lsh_attention(query, value, case.bucket_BHRL, score_scale=0.7, **case.options)

        def specified(query: Tensor, value: Tensor) -> Tensor:
            return specified_lsh.lsh_attention(query, value, case.bucket_BHRL, score_scale=0.7, **case.options)

        assert_same_values_and_gradients(blocked, specified, (query, value), weight)
        cut.append(case.bucket_BHRL[0, 0].numel() // case.window.chunk_len)

    holds("blocked", scale, lsh_cases(), check)
    assert sum(chunks > 4 for chunks in cut) > len(cut) / 4


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def results(attention: Attention, query: Tensor, value: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in (query, value)]
    out = attention(*leaves)
    return (out.detach(), *torch.autograd.grad(out, leaves, weight.to(out.dtype)))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [63, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_its_error_is_at_most_twice_that_of_the_specification(dtype: torch.dtype, length: int, causal: bool) -> None:
    bucket = buckets(3, 14, length, None, seed=2)
    options: dict[str, Any] = {"score_scale": 1.0, "window": Window(16, 1, 1, "per_round"), "causal": causal}
    query, value, weight = (x.to(dtype) for x in inputs(length, seed=1))
    exact = results(
        lambda query, value: specified_lsh.lsh_attention(query, value, bucket, **options),
        query.double(),
        value.double(),
        weight.double(),
    )
    ours, plain = (
        results(lambda *x, run=run: run(*x, bucket, **options), query, value, weight)
        for run in (lsh.lsh_attention, specified_lsh.lsh_attention)
    )
    for one, other, true in zip(ours, plain, exact, strict=True):
        assert one.dtype == dtype
        assert relative(one, true) <= 2 * relative(other, true)


@pytest.mark.parametrize("n_buckets", [1, 3, 400])
def test_one_bucket_and_more_buckets_than_positions(n_buckets: int) -> None:
    length = 77
    bucket = buckets(2, n_buckets, length, None, seed=3)
    options: dict[str, Any] = {"score_scale": 1.0, "window": Window(10, 1, 0, "across_rounds"), "causal": True}
    query, value, weight = inputs(length)
    assert_same_values_and_gradients(
        lambda query, value: lsh.lsh_attention(query, value, bucket, **options),
        lambda query, value: specified_lsh.lsh_attention(query, value, bucket, **options),
        (query, value),
        weight,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wrap", ["across_rounds", "per_round", "none"])
def test_the_future_and_padding_have_a_gradient_of_exactly_nothing(wrap: Wrap, dtype: torch.dtype) -> None:
    length, seen = 90, 40
    valid = torch.ones(BATCH, length, dtype=torch.bool)
    valid[0, :7] = False
    bucket = buckets(3, 4, length, valid, seed=5)
    query, value, _ = (x.to(dtype) * 9 for x in inputs(length))
    leaves = [x.requires_grad_() for x in (query, value)]
    options: dict[str, Any] = {"window": Window(8, 1, 0, wrap), "causal": True, "valid_BL": valid}
    out = lsh.lsh_attention(leaves[0], leaves[1], bucket, score_scale=1.0, **options)
    for gradient in torch.autograd.grad(out[:, :, 7:seen].square().sum(), leaves):
        assert (gradient[:, :, seen:] == 0).all()
        assert (gradient[0, :, :7] == 0).all()
        assert (gradient[:, :, 7:seen] != 0).any()


def test_the_layout_of_its_arguments_changes_no_bit() -> None:
    length = 61
    bucket = buckets(2, 8, length, None, seed=1)
    options: dict[str, Any] = {"score_scale": 1.0, "window": Window(7, 1, 0, "across_rounds"), "causal": True}
    given = inputs(length)

    def run(arrange: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        arranged = [arrange(x) for x in given]
        return results(lambda query, value: lsh.lsh_attention(query, value, bucket, **options), *arranged)

    def side_by_side(x: Tensor) -> Tensor:
        return x.transpose(1, 2).contiguous().transpose(1, 2)

    def with_gaps(x: Tensor) -> Tensor:
        return torch.stack([x, x], dim=-1)[..., 0]

    plain = run(lambda x: x)
    for arrange in (side_by_side, with_gaps):
        assert all(torch.equal(one, other) for one, other in zip(run(arrange), plain, strict=True))
    assert plain[0].transpose(1, 2).is_contiguous(), "so that the output projection copies nothing"


@pytest.mark.usefixtures("small_blocks")
def test_dropout_is_drawn_anew_for_each_head_and_again_in_the_backward_pass() -> None:
    length, rate = 67, 0.4
    # All heads of all examples are alike, and values are the unit matrix: what comes out are the weights.
    bucket = buckets(2, 6, length, None, seed=1)[:1, :1].expand(BATCH, HEADS, -1, -1)
    query = torch.nn.functional.pad(inputs(length)[0][:1, :1], (0, length - WIDTH)).expand(BATCH, HEADS, -1, -1)
    value = torch.eye(length, dtype=torch.float64).repeat(BATCH, HEADS, 1, 1).requires_grad_()

    def weights(drop: Dropout) -> Tensor:
        window = Window(6, 1, 0, "across_rounds")
        return lsh.lsh_attention(query, value, bucket, score_scale=1.0, window=window, causal=False, drop=drop)

    whole, first = weights(Dropout(0.0, 3)), weights(Dropout(rate, 3))
    assert torch.equal(first, weights(Dropout(rate, 3)))
    assert not torch.equal(first, weights(Dropout(rate, 4)))
    one, *others = whole.flatten(0, 1)
    assert all(torch.equal(one, other) for other in others)
    heads = list(first.flatten(0, 1))
    assert not any(torch.equal(one, other) for at, one in enumerate(heads) for other in heads[:at])
    # A weight met in both rounds is seldom dropped in both: the share that is kept lies between these.
    assert 1 - rate < (first != 0)[whole > 0].double().mean() < 1 - rate**2
    weight = torch.randn(first.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (d_value,) = torch.autograd.grad(first, value, weight)
    torch.testing.assert_close(d_value, first.detach().mT @ weight, rtol=EXACT, atol=EXACT)


def test_gradients_with_dropout_are_those_of_differences() -> None:
    length = 19
    bucket = buckets(2, 4, length, None, seed=1)
    query, value, _ = inputs(length)

    def run(query: Tensor, value: Tensor) -> Tensor:
        return lsh.lsh_attention(
            query, value, bucket, score_scale=1.0, window=Window(5, 1, 0, "none"), causal=True, drop=Dropout(0.3, 1)
        )

    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in (query, value)])


def test_the_operators_pass_pytorchs_own_checks_and_compile_into_one_graph() -> None:
    length = 45
    valid = torch.ones(BATCH, length, dtype=torch.bool)
    valid[1, -4:] = False
    query, value, _ = inputs(length)
    leaves = [x.requires_grad_() for x in (query, value)]
    rotation = random_rotations(
        torch.Generator().manual_seed(1), n_heads=HEADS, d_head=WIDTH, n_hashes=2, n_buckets=(6,)
    )
    options: dict[str, Any] = {"score_scale": 1.0, "window": Window(8, 1, 0, "across_rounds"), "causal": True}

    def step(query: Tensor, value: Tensor) -> Tensor:
        bucket = hashing.hash_vectors(query, rotation, n_buckets=(6,), valid_BL=valid)
        return lsh.lsh_attention(query * 2, value, bucket, **options, valid_BL=valid).transpose(1, 2).flatten(2)

    flat = (1.0, 8, 1, 0, "across_rounds", True, False, False, 0.0, 0)
    bucket = hashing.hash_vectors(query, rotation, n_buckets=(6,), valid_BL=valid)
    torch.library.opcheck(torch.ops.reformer_blocked.attend.default, (*leaves, bucket, valid, *flat))
    torch.library.opcheck(torch.ops.reformer_blocked.hash_vectors.default, (query.detach(), rotation, [6], valid))
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    one, other = (
        (out.detach(), *torch.autograd.grad(out.square().sum(), leaves)) for out in (step(*leaves), compiled(*leaves))
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n_buckets", [(2,), (14,), (6, 10), (2, 4, 6)])
def test_buckets_are_those_of_the_specification(n_buckets: tuple[int, ...], dtype: torch.dtype) -> None:
    # Whole numbers: every projection is exact, and many are equal, zeros among them.
    generator = torch.Generator().manual_seed(4)
    vector = torch.randint(-2, 3, (BATCH, HEADS, 1041, WIDTH), generator=generator).to(dtype)
    rotation = torch.randint(-1, 2, (HEADS, 4, WIDTH, sum(n_buckets) // 2), generator=generator).float()
    valid = torch.rand(BATCH, 1041, generator=generator) < 0.9
    for mask in (None, valid):
        found, expected = (
            module.hash_vectors(vector, rotation, n_buckets=n_buckets, valid_BL=mask)
            for module in (hashing, specified_hashing)
        )
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
@pytest.mark.parametrize("length", [1, 2, 63, 1000])
def test_the_order_is_that_of_the_specification(length: int, dtype: torch.dtype) -> None:
    for largest in (1, 5, torch.iinfo(dtype).max):
        bucket = torch.randint(largest, (BATCH, HEADS, 4, length), generator=torch.Generator().manual_seed(length))
        found = sorting.sort_by_bucket(bucket.to(dtype))
        assert found.dtype == torch.int32
        assert torch.equal(found.long(), specified_sorting.sort_by_bucket(bucket.to(dtype)))


def test_a_sequence_beyond_what_it_tells_apart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsh, "LONGEST", 28)
    query, value, _ = inputs(29)
    with pytest.raises(
        ValueError, match="length 29 is above the 28 that backend='blocked' can tell apart; use 'eager'"
    ):
        lsh.lsh_attention(
            query, value, buckets(1, 2, 29, None, 0), score_scale=1.0, window=Window(4, 1, 0, "none"), causal=True
        )
