"""Attention against brute force over explicit masks, forward and gradients, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reformer.functional.chunked import NOTHING_SEEN
from reformer.functional.dense import dense_attention, fused_attention, query_chunked_attention
from reformer.functional.local import local_attention
from reformer.functional.lsh import combine_rounds, lsh_attention
from reformer.functional.scores import unit_keys
from reformer.functional.windows import Window
from tests import oracles

BATCH, HEADS, WIDTH = 2, 3, 5
EXACT = 1e-12


def inputs(length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (3, BATCH, HEADS, length, WIDTH)
    query, value, weight = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return query, value, weight


def assert_same_values_and_gradients(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], arguments: tuple[Tensor, ...], weight: Tensor
) -> None:
    results = []
    for function in (ours, plain):
        leaves = [argument.clone().requires_grad_() for argument in arguments]
        out = function(*leaves)
        results.append((out, *torch.autograd.grad((out * weight).sum(), leaves, materialize_grads=True)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=EXACT, atol=EXACT)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    length=st.integers(1, 37),
    n_rounds=st.integers(1, 4),
    n_buckets=st.sampled_from([2, 4, 6, 12]),
    chunk_len=st.integers(1, 9),
    n_before=st.integers(0, 2),
    n_after=st.integers(0, 2),
    causal=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_lsh_attention_equals_brute_force_over_explicit_masks(
    length: int, n_rounds: int, n_buckets: int, chunk_len: int, n_before: int, n_after: int, causal: bool, seed: int
) -> None:
    query, value, weight = inputs(length, seed)
    generator = torch.Generator().manual_seed(seed)
    bucket = torch.randint(n_buckets, (BATCH, HEADS, n_rounds, length), generator=generator, dtype=torch.int16)
    sizes: dict[str, Any] = {"chunk_len": chunk_len, "causal": causal}
    count = torch.stack(
        [
            torch.stack([oracles.lsh_counts(head, n_before=n_before, n_after=n_after, **sizes) for head in example])
            for example in bucket
        ]
    )

    def ours(query: Tensor, value: Tensor) -> Tensor:
        window = Window(chunk_len, n_before, n_after, "across_rounds")
        return lsh_attention(query, unit_keys(query), value, bucket, window=window, causal=causal)

    def plain(query: Tensor, value: Tensor) -> Tensor:
        return oracles.every_head(query, oracles.unit_keys(query), value, count)

    assert_same_values_and_gradients(ours, plain, (query, value), weight)


@pytest.mark.parametrize("chunk_len", [23, 10**9])
@pytest.mark.parametrize("causal", [True, False])
def test_lsh_attention_with_one_chunk_and_one_round_is_dense_shared_qk_attention(causal: bool, chunk_len: int) -> None:
    query, value, weight = inputs(length=23)
    bucket = torch.randint(4, (BATCH, HEADS, 1, 23), generator=torch.Generator().manual_seed(1))

    def ours(query: Tensor, value: Tensor) -> Tensor:
        key = unit_keys(query)
        return lsh_attention(query, key, value, bucket, causal=causal, window=Window(chunk_len, 1, 0, "across_rounds"))

    def plain(query: Tensor, value: Tensor) -> Tensor:
        return dense_attention(query, unit_keys(query), value, causal=causal, exclude_self=True)

    assert_same_values_and_gradients(ours, plain, (query, value), weight)


def test_equal_rounds_change_nothing() -> None:
    query, value, _ = inputs(length=29)
    bucket = torch.randint(6, (BATCH, HEADS, 1, 29), generator=torch.Generator().manual_seed(2))
    sizes: dict[str, Any] = {"causal": True, "window": Window(7, 0, 0, "across_rounds")}
    once = lsh_attention(query, unit_keys(query), value, bucket, **sizes)
    thrice = lsh_attention(query, unit_keys(query), value, bucket.expand(-1, -1, 3, -1), **sizes)
    torch.testing.assert_close(once, thrice, rtol=EXACT, atol=EXACT)


ALL_MASKS = [(causal, exclude_self) for causal in (True, False) for exclude_self in (True, False)]
NOT_FUSED = (False, True)
"""causal, exclude_self: what the fused kernel refuses, as a test below shows."""


@pytest.mark.parametrize("length", [1, 2, 31])
@pytest.mark.parametrize(
    ("implementation", "causal", "exclude_self"),
    [
        (implementation, *masks)
        for implementation in ("dense", "query_chunked", "fused")
        for masks in ALL_MASKS
        if (implementation, masks) != ("fused", NOT_FUSED)
    ],
)
def test_dense_attention_equals_brute_force(implementation: str, causal: bool, exclude_self: bool, length: int) -> None:
    functions: dict[str, Callable[..., Tensor]] = {
        "dense": dense_attention,
        "query_chunked": lambda *x, **masks: query_chunked_attention(*x, **masks, query_chunk_len=4),
        "fused": fused_attention,
    }
    query, value, weight = inputs(length)
    key = inputs(length, seed=9)[0]
    masks: dict[str, Any] = {"causal": causal, "exclude_self": exclude_self}
    count = oracles.dense_counts(length, **masks).expand(BATCH, HEADS, length, length)
    assert_same_values_and_gradients(
        lambda *x: functions[implementation](*x, **masks),
        lambda query, key, value: oracles.every_head(query, key, value, count),
        (query, key, value),
        weight,
    )


def test_fused_attention_refuses_what_it_cannot_express() -> None:
    query, value, _ = inputs(length=3)
    with pytest.raises(ValueError, match="exclude_self=True needs causal=True; use dense_attention"):
        fused_attention(query, query, value, causal=False, exclude_self=True)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("exclude_self", [True, False])
@pytest.mark.parametrize("length", [1, 8, 29])
def test_local_attention_equals_brute_force(length: int, exclude_self: bool, causal: bool) -> None:
    query, value, weight = inputs(length)
    key = inputs(length, seed=9)[0]
    masks: dict[str, Any] = {"causal": causal, "exclude_self": exclude_self}
    count = oracles.local_counts(length, chunk_len=4, n_before=2, n_after=1, **masks)
    count = count.expand(BATCH, HEADS, length, length)
    assert_same_values_and_gradients(
        lambda *x: local_attention(*x, **masks, window=Window(4, 2, 1, "none")),
        lambda query, key, value: oracles.every_head(query, key, value, count),
        (query, key, value),
        weight,
    )


def test_a_position_that_sees_only_itself_returns_its_value_in_float32() -> None:
    query, value, _ = (x.float() for x in inputs(length=17))
    bucket = torch.randint(4, (BATCH, HEADS, 5, 17), generator=torch.Generator().manual_seed(3))
    sizes: dict[str, Any] = {"window": Window(4, 1, 0, "across_rounds")}
    out = lsh_attention(query, unit_keys(query), value, bucket, causal=True, **sizes)
    # Five fifths of it: float32 rounds the sum of the rounds' weights by less than 3e-7.
    torch.testing.assert_close(out[:, :, 0], value[:, :, 0], rtol=3e-7, atol=0)


def test_a_position_that_sees_only_itself_returns_its_value_in_float16_too() -> None:
    query, value, _ = (x.half() for x in inputs(length=17))
    bucket = torch.randint(4, (BATCH, HEADS, 2, 17), generator=torch.Generator().manual_seed(3))
    sizes: dict[str, Any] = {"window": Window(4, 1, 0, "across_rounds")}
    out = lsh_attention(query, unit_keys(query), value, bucket, causal=True, **sizes)
    assert out.dtype == torch.float16
    assert torch.equal(out[:, :, 0], value[:, :, 0])
    assert out.isfinite().all()


def test_a_round_that_sees_nothing_is_outweighed_by_any_other() -> None:
    out = torch.tensor([3.0, 7.0], dtype=torch.float64).view(1, 1, 2, 1, 1)
    lse = torch.tensor([NOTHING_SEEN, -500.0], dtype=torch.float64).view(1, 1, 2, 1)
    assert combine_rounds(out, lse).item() == 7.0


def test_the_past_has_no_gradient_with_respect_to_the_future() -> None:
    length, past = 41, 20
    query, value, _ = inputs(length)
    query.requires_grad_()
    value.requires_grad_()
    bucket = torch.randint(8, (BATCH, HEADS, 3, length), generator=torch.Generator().manual_seed(4))
    sizes: dict[str, Any] = {"window": Window(6, 1, 1, "across_rounds")}
    out = lsh_attention(query, unit_keys(query), value, bucket, causal=True, **sizes)
    for gradient in torch.autograd.grad(out[:, :, :past].sum(), (query, value)):
        assert gradient[:, :, past:].abs().max() == 0
        assert gradient[:, :, :past].abs().max() > 0
