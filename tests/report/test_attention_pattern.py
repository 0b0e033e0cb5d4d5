"""Who meets whom, against the library's own LSH attention: values that are unit vectors show which keys had weight."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ablations.harness.measurement import AttentionPattern, HeaviestKeys
from ablations.report import attention_pattern
from reformer.config import LSHAttention
from reformer.functional.lsh import HashRounds, lsh_attention
from reformer.functional.sorting import sort_by_bucket
from reformer.kinds import lsh_options

SHAPES = [(7, 3, 4, 1), (29, 6, 4, 2), (32, 8, 8, 3), (30, 4, 2, 3), (5, 9, 2, 2), (13, 13, 6, 1), (1, 4, 2, 2)]
"""Length, chunk length, buckets and rounds: short last chunks, one chunk alone, and even ones."""


def pattern(
    shape: tuple[int, int, int, int],
    *,
    causal: bool = True,
    dense: tuple[HeaviestKeys, ...] = (),
    seed: int = 0,
    **changes: Any,  # noqa: ANN401
) -> AttentionPattern:
    length, chunk_len, n_buckets, n_rounds = shape
    bucket_RL = np.random.default_rng(seed).integers(n_buckets, size=(n_rounds, length))
    lsh = LSHAttention(n_hashes=n_rounds, chunk_len=chunk_len, n_buckets=(n_buckets,), backend="eager", **changes)
    return AttentionPattern(
        layer=0, head=0, attention=lsh, causal=causal, buckets=tuple(map(tuple, bucket_RL.tolist())), dense=dense
    )


def keys_with_weight(one: AttentionPattern) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Of the real thing, seen_LL. Scores are small, so that no weight is rounded to nothing."""
    length = one.length
    query_BHLK = torch.randn(1, 1, length, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    out_BHLK = lsh_attention(
        query_BHLK,
        torch.eye(length, dtype=torch.float64)[None, None],
        torch.tensor(one.buckets)[None, None],
        score_scale=1.0,
        causal=one.causal,
        **lsh_options(one.attention),
    )
    return (out_BHLK[0, 0] > 1e-9).numpy()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wrap", ["across_rounds", "per_round", "none"])
@pytest.mark.parametrize("same_bucket_only", [False, True])
def test_keys_are_met_exactly_where_lsh_attention_gives_them_weight(
    shape: tuple[int, int, int, int], causal: bool, wrap: str, same_bucket_only: bool
) -> None:
    for seed in range(5):
        one = pattern(shape, causal=causal, wrap=wrap, same_bucket_only=same_bucket_only, seed=seed)
        met_LL = attention_pattern.first_met(one) != attention_pattern.NEVER
        assert np.array_equal(met_LL, keys_with_weight(one))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (1, 1), (9, 0)])
def test_wider_and_narrower_windows_are_the_librarys_too(before: int, after: int) -> None:
    for wrap in ("across_rounds", "per_round", "none"):
        one = pattern((29, 4, 6, 2), causal=False, wrap=wrap, n_chunks_before=before, n_chunks_after=after)
        assert np.array_equal(attention_pattern.first_met(one) != attention_pattern.NEVER, keys_with_weight(one))


def test_what_a_round_alone_meets_is_what_attention_with_that_round_alone_meets() -> None:
    one = pattern((29, 5, 4, 3), wrap="per_round")
    for number, met_LL in enumerate(attention_pattern.meetings(one)):
        alone = one.model_copy(update={"buckets": (one.buckets[number],)})
        met_LL[~met_LL.any(1), ~met_LL.any(1)] = True
        assert np.array_equal(met_LL, keys_with_weight(alone))


def test_order_and_chunks_are_the_librarys() -> None:
    for shape in SHAPES:
        one = pattern(shape)
        bucket_BHRL = torch.tensor(one.buckets)[None, None]
        position_BHRS = sort_by_bucket(bucket_BHRL)
        rounds = HashRounds.of(bucket_BHRL, position_BHRS, lsh_options(one.attention)["window"])
        assert np.array_equal(attention_pattern.sorted_positions(one), position_BHRS[0, 0].numpy())
        assert np.array_equal(attention_pattern.chunks(one), (rounds.slot_BHRL[0, 0] // rounds.grid.chunk_len).numpy())


def test_a_pair_counts_for_the_first_of_the_rounds_in_which_it_meets() -> None:
    one = pattern((29, 4, 6, 3))
    met_RLL, round_LL = attention_pattern.meetings(one), attention_pattern.first_met(one)
    several = 0
    for query, key in np.ndindex(29, 29):
        rounds = [number for number in range(3) if met_RLL[number, query, key]]
        several += len(rounds) > 1
        if rounds or query != key:
            assert round_LL[query, key] == (rounds[0] if rounds else attention_pattern.NEVER)
    assert several


def test_mass_is_split_by_the_round_in_which_its_key_is_first_met() -> None:
    rows = (HeaviestKeys(query=20, keys=(19, 3, 11, 0), weights=(0.5, 0.25, 0.125, 0.0625)),)
    one = pattern((29, 4, 6, 3), dense=rows)
    (mass,) = attention_pattern.masses(one)
    round_L = attention_pattern.first_met(one)[20]
    of = dict(zip(rows[0].keys, rows[0].weights, strict=True))
    for number, found in enumerate(mass.by_round):
        assert found == sum(weight for key, weight in of.items() if round_L[key] == number)
    assert mass.missed == sum(weight for key, weight in of.items() if round_L[key] == attention_pattern.NEVER)
    assert sum(mass.by_round) + mass.missed + mass.rest == pytest.approx(1)
    assert mass.rest == pytest.approx(0.0625)
    assert 0 < mass.missed < 1


def test_a_position_that_meets_nobody_sees_itself_and_its_mass_is_met() -> None:
    one = pattern((7, 3, 4, 2), dense=(HeaviestKeys(query=0, keys=(0,), weights=(1.0,)),))
    assert attention_pattern.masses(one)[0].by_round == (1.0, 0.0)


def test_loads_count_every_position_once_in_each_round_and_name_empty_buckets() -> None:
    one = pattern((29, 4, 64, 3))
    load_RN = attention_pattern.loads(one)
    assert load_RN.shape == (3, 64)
    assert load_RN.sum(1).tolist() == [29, 29, 29]
    for bucket_L, load_N in zip(one.buckets, load_RN, strict=True):
        assert load_N.tolist() == [bucket_L.count(bucket) for bucket in range(64)]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"buckets": ((0, 1, 0), (1, 0))}, "each round"),
        ({"buckets": ((),)}, "each round"),
        ({"buckets": ()}, "buckets"),
        ({"buckets": ((0, 4, 1),)}, "beyond the 4"),
        ({"buckets": ((0, -1, 1),)}, "greater than or equal"),
        ({"dense": ({"query": 7, "keys": (0,), "weights": (1.0,)},)}, "beyond the 7"),
        ({"dense": ({"query": 1, "keys": (7,), "weights": (1.0,)},)}, "beyond the 7"),
        ({"dense": ({"query": 1, "keys": (0,), "weights": ()},)}, "in pairs"),
        ({"dense": ({"query": 1, "keys": (), "weights": ()},)}, "at least 1 item"),
        ({"dense": ({"query": 1, "keys": (0,), "weights": (0.0,)},)}, "greater than 0"),
        ({"dense": ({"query": 1, "keys": (0, 0), "weights": (0.5, 0.5)},)}, "each key once"),
    ],
)
def test_a_pattern_whose_numbers_do_not_agree_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        AttentionPattern.model_validate(pattern((7, 3, 4, 2)).model_dump() | changes)
