"""Attention against brute force over explicit masks, forward and gradients, in float64."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from reformer.config import (
    LSHAttention,
)
from reformer.functional.chunked import NOTHING_SEEN
from reformer.functional.dense import (
    cross_attention,
    dense_attention,
    dense_attention_at,
    fused_attention,
    query_chunked_attention,
)
from reformer.functional.local import local_attention, local_attention_at
from reformer.functional.lsh import combine_rounds, lsh_attention, lsh_attention_at
from reformer.functional.scores import unit_keys
from reformer.functional.windows import Window
from tests import oracles
from tests.reformer.drawn import CASES, at_every_scale, holds, masks

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


def row_of(valid_BL: Tensor | None, example: int) -> oracles.Valid:
    """The mask of one example as the oracles take it."""
    return None if valid_BL is None else valid_BL[example].tolist()


class LSHCase(NamedTuple):
    """A call of `lsh_attention`, `bucket_BHRL` with padding in a bucket behind all others."""

    seed: int
    bucket_BHRL: Tensor
    window: Window
    valid_BL: Tensor | None
    causal: bool
    same_bucket_only: bool
    deduplicate: bool

    @property
    def options(self) -> dict[str, Any]:
        """What the functions take beside tensors by position."""
        names = ("window", "valid_BL", "causal", "same_bucket_only", "deduplicate")
        return {name: getattr(self, name) for name in names}

    def counts(self) -> Tensor:
        """By brute force, count_BHLL."""
        window = self.window
        return torch.stack(
            [
                torch.stack(
                    [
                        oracles.lsh_counts(
                            bucket_RL,
                            chunk_len=window.chunk_len,
                            n_before=window.n_before,
                            n_after=window.n_after,
                            wrap=window.wrap,
                            causal=self.causal,
                            same_bucket_only=self.same_bucket_only,
                            deduplicate=self.deduplicate,
                            valid=row_of(self.valid_BL, example),
                        )
                        for bucket_RL in bucket_HRL
                    ]
                )
                for example, bucket_HRL in enumerate(self.bucket_BHRL)
            ]
        )

    def ours(self, query: Tensor, value: Tensor) -> Tensor:
        return lsh_attention(query, value, self.bucket_BHRL, score_scale=1.0, **self.options)

    def at(self, position_B: Tensor, query: Tensor, value: Tensor) -> Tensor:
        own = rows(query, position_B)
        return lsh_attention_at(position_B, own, unit_keys(query), value, self.bucket_BHRL, **self.options)

    def plain(self, query: Tensor, value: Tensor) -> Tensor:
        return oracles.every_head(query, oracles.unit_keys(query), value, self.counts())


def buckets(n_rounds: int, n_buckets: int, length: int, valid_BL: Tensor | None, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    bucket_BHRL = torch.randint(n_buckets, (BATCH, HEADS, n_rounds, length), generator=generator, dtype=torch.int16)
    return bucket_BHRL if valid_BL is None else bucket_BHRL.masked_fill(~valid_BL[:, None, None], n_buckets)


def rows(x_BHLK: Tensor, position_B: Tensor) -> Tensor:
    """One row of each example, x_BH1K."""
    return torch.stack([x_HLK[:, position : position + 1] for x_HLK, position in zip(x_BHLK, position_B, strict=True)])


@st.composite
def lsh_cases(draw: st.DrawFn) -> LSHCase:
    # Three in four cases are long enough for several chunks, the last of them short or not.
    several = draw(st.sampled_from([True, True, True, False]))
    length, seed = draw(st.integers(8 if several else 1, 29)), draw(st.integers(0, 2**16))
    valid_BL = draw(masks(BATCH, length))
    wrap: Literal["across_rounds", "per_round", "none"] = draw(st.sampled_from(["across_rounds", "per_round", "none"]))
    return LSHCase(
        seed,
        buckets(draw(st.integers(1, 4)), draw(st.sampled_from([2, 4, 6, 12])), length, valid_BL, seed),
        Window(
            draw(st.integers(1, min(9, length - 1) if several else 9)),
            draw(st.integers(0, 3)),
            draw(st.integers(0, 3)),
            wrap,
        ),
        valid_BL,
        *(draw(st.booleans()) for _ in range(3)),
    )


@at_every_scale
def test_lsh_attention_equals_brute_force_over_explicit_masks(scale: int) -> None:
    with_several_chunks: list[LSHCase] = []

    def check(case: LSHCase) -> None:
        with_several_chunks.extend([case] if case.bucket_BHRL.shape[-1] > case.window.chunk_len else [])
        query, value, weight = inputs(case.bucket_BHRL.shape[-1], case.seed)
        assert_same_values_and_gradients(case.ours, case.plain, (query, value), weight)
        assert_rows_are_those_of_the_whole(case.ours(query, value), lambda at: case.at(at, query, value))

    holds("lsh attention", scale, lsh_cases(), check)
    assert len(with_several_chunks) > scale * CASES["lsh attention"] / 2


def assert_rows_are_those_of_the_whole(whole: Tensor, at: Callable[[Tensor], Tensor]) -> None:
    """Each position by itself, another one for each example of the batch, equals its row of the whole."""
    length = whole.shape[2]
    for position in range(length):
        position_B = torch.tensor([position, (2 * position + 1) % length])
        torch.testing.assert_close(at(position_B), rows(whole, position_B), rtol=EXACT, atol=EXACT)


class LocalCase(NamedTuple):
    """A call of `local_attention`."""

    length: int
    seed: int
    window: Window
    valid_BL: Tensor | None
    causal: bool
    exclude_self: bool
    unseen: Literal["own_value", "window_sum"]

    @property
    def options(self) -> dict[str, Any]:
        """What the functions take beside tensors by position."""
        return {name: getattr(self, name) for name in ("window", "valid_BL", "causal", "exclude_self", "unseen")}

    def ours(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return local_attention(query, key, value, **self.options)

    def at(self, position_B: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return local_attention_at(position_B, rows(query, position_B), key, value, **self.options)

    def plain(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        chunk_len, n_before, n_after, _ = self.window
        wrap = "none" if self.window.wrap == "none" else "ring"
        sizes: dict[str, Any] = {"chunk_len": chunk_len, "n_before": n_before, "n_after": n_after, "wrap": wrap}
        examples = []
        for example in range(BATCH):
            valid = row_of(self.valid_BL, example)
            count_LL = oracles.local_counts(
                self.length, **sizes, causal=self.causal, exclude_self=self.exclude_self, valid=valid
            )
            sum_LL = oracles.window_sums(oracles.local_window(self.length, **sizes), valid)
            one_query, one_key, one_value = (x[example : example + 1] for x in (query, key, value))
            unseen_LL = sum_LL if self.unseen == "window_sum" else None
            count_BHLL = count_LL.expand(1, HEADS, -1, -1)
            examples.append(oracles.every_head(one_query, one_key, one_value, count_BHLL, unseen_LL))
        return torch.cat(examples)


@st.composite
def local_cases(draw: st.DrawFn) -> LocalCase:
    length = draw(st.integers(1, 29))
    wrap: Literal["across_rounds", "per_round", "none"] = draw(st.sampled_from(["per_round", "none"]))
    return LocalCase(
        length,
        draw(st.integers(0, 2**16)),
        Window(draw(st.integers(1, 9)), draw(st.integers(0, 3)), draw(st.integers(0, 3)), wrap),
        draw(masks(BATCH, length)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(["own_value", "window_sum"])),
    )


@at_every_scale
def test_local_attention_equals_brute_force_over_explicit_masks(scale: int) -> None:
    def check(case: LocalCase) -> None:
        query, value, weight = inputs(case.length, case.seed)
        key = inputs(case.length, case.seed + 1)[0]
        assert_same_values_and_gradients(case.ours, case.plain, (query, key, value), weight)
        assert_rows_are_those_of_the_whole(case.ours(query, key, value), lambda at: case.at(at, query, key, value))

    holds("local attention", scale, local_cases(), check)


class DenseCase(NamedTuple):
    """A call of `dense_attention` or `query_chunked_attention`."""

    length: int
    seed: int
    query_chunk_len: int
    valid_BL: Tensor | None
    causal: bool
    exclude_self: bool

    @property
    def options(self) -> dict[str, Any]:
        """What the functions take beside tensors by position."""
        return {name: getattr(self, name) for name in ("valid_BL", "causal", "exclude_self")}

    def at(self, position_B: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return dense_attention_at(position_B, rows(query, position_B), key, value, **self.options)

    def plain(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        masked = [
            oracles.dense_counts(
                self.length, causal=self.causal, exclude_self=self.exclude_self, valid=row_of(self.valid_BL, example)
            )
            for example in range(BATCH)
        ]
        return oracles.every_head(query, key, value, torch.stack(masked)[:, None].expand(-1, HEADS, -1, -1))


@st.composite
def dense_cases(draw: st.DrawFn) -> DenseCase:
    length = draw(st.integers(1, 29))
    return DenseCase(
        length,
        draw(st.integers(0, 2**16)),
        draw(st.integers(1, 32)),
        draw(masks(BATCH, length)),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@at_every_scale
def test_dense_attention_equals_brute_force_over_explicit_masks(scale: int) -> None:
    def check(case: DenseCase) -> None:
        query, value, weight = inputs(case.length, case.seed)
        key = inputs(case.length, case.seed + 1)[0]

        def at_once(*leaves: Tensor) -> Tensor:
            return dense_attention(*leaves, **case.options)

        def chunked(*leaves: Tensor) -> Tensor:
            return query_chunked_attention(*leaves, **case.options, query_chunk_len=case.query_chunk_len)

        for ours in (at_once, chunked):
            assert_same_values_and_gradients(ours, case.plain, (query, key, value), weight)
        assert_rows_are_those_of_the_whole(at_once(query, key, value), lambda at: case.at(at, query, key, value))

    holds("dense attention", scale, dense_cases(), check)


@pytest.mark.parametrize("padded", [set(), {0}, {1}, {0, 3, 4}, {5, 6}])
def test_cross_attention_equals_brute_force_and_gives_nothing_where_the_source_is_all_padding(padded: set[int]) -> None:
    query, _, weight = inputs(length=5)
    key, value, _ = inputs(length=7, seed=4)
    valid_BE = torch.tensor([[position not in padded for position in range(7)], [False] * 7])

    def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        kept = [position for position in range(7) if position not in padded]
        first = torch.softmax(query[0] @ key[0, :, kept].mT, dim=-1) @ value[0, :, kept]
        return torch.stack([first, torch.zeros_like(first)])

    def ours(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return cross_attention(query, key, value, valid_BE=valid_BE)

    assert_same_values_and_gradients(ours, plain, (query, key, value), weight)
    if not padded:
        everywhere = cross_attention(query, key, value)
        torch.testing.assert_close(everywhere[:1], plain(query, key, value)[:1], rtol=EXACT, atol=EXACT)
        assert everywhere[1].abs().max() > 0


@pytest.mark.parametrize("chunk_len", [23, 10**9])
@pytest.mark.parametrize("causal", [True, False])
def test_lsh_attention_with_one_chunk_and_one_round_is_dense_shared_qk_attention(causal: bool, chunk_len: int) -> None:
    query, value, weight = inputs(length=23)
    bucket = torch.randint(4, (BATCH, HEADS, 1, 23), generator=torch.Generator().manual_seed(1))

    def ours(query: Tensor, value: Tensor) -> Tensor:
        return lsh_attention(
            query, value, bucket, score_scale=1.0, causal=causal, window=Window(chunk_len, 1, 0, "across_rounds")
        )

    def plain(query: Tensor, value: Tensor) -> Tensor:
        return dense_attention(query, unit_keys(query), value, causal=causal, exclude_self=True)

    assert_same_values_and_gradients(ours, plain, (query, value), weight)


def test_equal_rounds_change_nothing() -> None:
    query, value, _ = inputs(length=29)
    bucket = torch.randint(6, (BATCH, HEADS, 1, 29), generator=torch.Generator().manual_seed(2))
    sizes: dict[str, Any] = {"causal": True, "window": Window(7, 0, 0, "across_rounds")}
    once = lsh_attention(query, value, bucket, score_scale=1.0, **sizes)
    thrice = lsh_attention(query, value, bucket.expand(-1, -1, 3, -1), score_scale=1.0, **sizes)
    torch.testing.assert_close(once, thrice, rtol=EXACT, atol=EXACT)


ALL_MASKS = [(causal, exclude_self) for causal in (True, False) for exclude_self in (True, False)]
NOT_FUSED = (False, True)
"""causal, exclude_self: what the fused kernel refuses, as a test below shows."""


@pytest.mark.parametrize("length", [1, 2, 31])
@pytest.mark.parametrize(("causal", "exclude_self"), [both for both in ALL_MASKS if both != NOT_FUSED])
def test_fused_attention_equals_brute_force(causal: bool, exclude_self: bool, length: int) -> None:
    query, value, weight = inputs(length)
    key = inputs(length, seed=9)[0]
    both: dict[str, Any] = {"causal": causal, "exclude_self": exclude_self}
    count = oracles.dense_counts(length, **both).expand(BATCH, HEADS, length, length)

    def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return oracles.every_head(query, key, value, count)

    assert_same_values_and_gradients(lambda *x: fused_attention(*x, **both), plain, (query, key, value), weight)


def test_fused_attention_refuses_what_it_cannot_express() -> None:
    query, value, _ = inputs(length=3)
    with pytest.raises(ValueError, match="exclude_self=True needs causal=True; use dense_attention"):
        fused_attention(query, query, value, causal=False, exclude_self=True)


def test_a_position_that_sees_only_itself_returns_its_value_in_float32() -> None:
    query, value, _ = (x.float() for x in inputs(length=17))
    bucket = torch.randint(4, (BATCH, HEADS, 5, 17), generator=torch.Generator().manual_seed(3))
    sizes: dict[str, Any] = {"window": Window(4, 1, 0, "across_rounds")}
    out = lsh_attention(query, value, bucket, score_scale=1.0, causal=True, **sizes)
    # Five fifths of it: float32 rounds the sum of the rounds' weights by less than 3e-7.
    torch.testing.assert_close(out[:, :, 0], value[:, :, 0], rtol=3e-7, atol=0)


def test_a_position_that_sees_only_itself_returns_its_value_in_float16_too() -> None:
    query, value, _ = (x.half() for x in inputs(length=17))
    bucket = torch.randint(4, (BATCH, HEADS, 2, 17), generator=torch.Generator().manual_seed(3))
    sizes: dict[str, Any] = {"window": Window(4, 1, 0, "across_rounds")}
    out = lsh_attention(query, value, bucket, score_scale=1.0, causal=True, **sizes)
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
    out = lsh_attention(query, value, bucket, score_scale=1.0, causal=True, **sizes)
    for gradient in torch.autograd.grad(out[:, :, :past].sum(), (query, value)):
        assert gradient[:, :, past:].abs().max() == 0
        assert gradient[:, :, :past].abs().max() > 0


DEFAULT = LSHAttention()
"""The default geometry, but for the chunk's length: it looks back over the borders between rounds."""


def default_case(*, deduplicate: bool, length: int = 26, chunk_len: int = 4, n_rounds: int = 3) -> LSHCase:
    window = Window(chunk_len, DEFAULT.n_chunks_before, DEFAULT.n_chunks_after, DEFAULT.wrap)
    bucket_BHRL = buckets(n_rounds, 12, length, None, seed=6)
    return LSHCase(6, bucket_BHRL, window, None, causal=False, same_bucket_only=False, deduplicate=deduplicate)


def test_deduplication_is_exact_in_the_default_geometry_around_the_ring_too() -> None:
    query, value, weight = inputs(length=26)
    case = default_case(deduplicate=True)
    met = default_case(deduplicate=False).counts()
    ends = default_case(deduplicate=False)._replace(window=case.window._replace(wrap="none")).counts()
    assert DEFAULT.wrap == "across_rounds"
    assert ((met > 0) & (ends == 0)).any(), "some pairs should meet only around the ring"
    assert ((met > ends) & (ends > 0)).any(), "some pairs should meet both around the ring and within a round"

    def union(query: Tensor, value: Tensor) -> Tensor:
        score = (query @ oracles.unit_keys(query).mT).masked_fill(met == 0, float("-inf"))
        return torch.softmax(score, dim=-1) @ value

    assert_same_values_and_gradients(case.ours, union, (query, value), weight)


def test_without_deduplication_the_softmax_is_weighted_by_how_often_a_pair_meets() -> None:
    query, value, weight = inputs(length=26)
    case = default_case(deduplicate=False)
    times = case.counts()
    assert {0, 1, 2, 3} <= set(times.flatten().tolist())

    def weighted(query: Tensor, value: Tensor) -> Tensor:
        mass = times * (query @ oracles.unit_keys(query).mT).exp()
        return mass / mass.sum(dim=-1, keepdim=True) @ value

    assert_same_values_and_gradients(case.ours, weighted, (query, value), weight)
    unlike = case.ours(query, value) - case._replace(deduplicate=True).ours(query, value)
    assert unlike.norm() / value.norm() > 0.1


@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("masked", range(9))
def test_masking_any_single_position_is_exactly_masking_it(masked: int, causal: bool, deduplicate: bool) -> None:
    length = 9
    query, value, weight = inputs(length, seed=masked)
    valid_BL = (torch.arange(length) != masked).expand(BATCH, length)
    bucket_BHRL = buckets(2, 4, length, valid_BL, seed=masked)
    lsh = LSHCase(0, bucket_BHRL, Window(3, 1, 1, "across_rounds"), valid_BL, causal, False, deduplicate)
    dense = DenseCase(length, 0, 4, valid_BL, causal, exclude_self=True)
    local = LocalCase(length, 0, Window(3, 1, 1, "per_round"), valid_BL, causal, True, "own_value")
    assert_same_values_and_gradients(lsh.ours, lsh.plain, (query, value), weight)
    for ours, plain in (
        (lambda *x: dense_attention(*x, **dense.options), dense.plain),
        (lambda *x: query_chunked_attention(*x, **dense.options, query_chunk_len=4), dense.plain),
        (local.ours, local.plain),
    ):
        assert_same_values_and_gradients(ours, plain, (query, query.flip(2), value), weight)


def test_a_row_that_is_not_padding_never_gets_the_sum_of_its_window() -> None:
    # The window holds the future. With shared queries and keys the first position sees nobody.
    query, value, _ = inputs(length=6)
    value.requires_grad_()
    valid_BL = torch.tensor([[True] * 6, [False, False, True, True, True, True]])
    exact: dict[str, Any] = {"window": Window(3, 1, 1, "none"), "causal": True, "exclude_self": True}
    for valid in (None, valid_BL):
        out = local_attention(query, unit_keys(query), value, **exact, unseen="window_sum", valid_BL=valid)
        torch.testing.assert_close(out[0, :, 0], value[0, :, 0], rtol=EXACT, atol=EXACT)
        (gradient,) = torch.autograd.grad(out[0, :, :3].sum(), value)
        assert gradient[0, :, 3:].abs().max() == 0
    torch.testing.assert_close(out[1, :, 2], value[1, :, 2], rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(out[1, :, 0], value[1].sum(dim=1), rtol=EXACT, atol=EXACT)
