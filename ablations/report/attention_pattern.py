"""Who meets whom in LSH attention, from the buckets that a trained model's head gave: the library's rules in NumPy.

A report draws this without PyTorch. Positions are sorted by bucket, ties by position, and cut into chunks, round by
round; a query meets the keys in its own chunk and its neighbours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ablations.harness.measurement import AttentionPattern, HeaviestKeys

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

NEVER = -1
"""Stands for the round in which a pair meets that never does."""


@dataclass(frozen=True)
class Mass:
    """What becomes of dense attention's weight of one query.

    Attributes:
        query: Its position.
        by_round: The weight on keys that are first met in each round.
        missed: The weight on keys that are noted and never met.
        rest: The weight on all further keys: only the heaviest are noted, and of these it is not known whether they are
            met.
    """

    query: int
    by_round: tuple[float, ...]
    missed: float
    rest: float


def sorted_positions(pattern: AttentionPattern) -> Integers:
    """Position in each slot of each round, position_RS."""
    return np.argsort(np.array(pattern.buckets), axis=-1, kind="stable")


def chunk_len(pattern: AttentionPattern) -> int:
    """Positions in a chunk, no more than there are."""
    return min(pattern.attention.chunk_len, pattern.length)


def chunks(pattern: AttentionPattern) -> Integers:
    """Chunk of each position in each round, counted through all rounds, chunk_RL."""
    slot_RL = np.argsort(sorted_positions(pattern), axis=-1)
    return slot_RL // chunk_len(pattern) + np.arange(len(slot_RL))[:, None] * chunks_per_round(pattern)


def chunks_per_round(pattern: AttentionPattern) -> int:
    """Chunks of one round, a short last one included."""
    return -(-pattern.length // chunk_len(pattern))


def allowed(pattern: AttentionPattern) -> Booleans:
    """Whether a query may see a key wherever it meets it, allowed_LL: never itself, and causally only the past."""
    position = np.arange(pattern.length)
    query, key = position[:, None], position[None, :]
    return np.asarray(key < query if pattern.causal else key != query)


def same_bucket(pattern: AttentionPattern) -> Booleans:
    """Whether two positions share a bucket, round by round, alike_RLL."""
    bucket_RL = np.array(pattern.buckets)
    return np.asarray(bucket_RL[:, :, None] == bucket_RL[:, None, :])


def meetings(pattern: AttentionPattern) -> Booleans:
    """Whether a query, where it stands in a round, sees a key, met_RLL; a query that sees nobody has an empty row.

    Where rounds stand in one ring, the first chunk of a round looks at keys in the order of the round before.
    """
    chunk_RL, alike_RLL = chunks(pattern), same_bucket(pattern)
    met_RLL = np.zeros_like(alike_RLL)
    for mine, its in np.ndindex(len(chunk_RL), len(chunk_RL)):
        meets_LL = _looks_at(pattern, chunk_RL[mine][:, None], chunk_RL[its][None, :])
        if pattern.attention.same_bucket_only:
            meets_LL = meets_LL & alike_RLL[mine] & (mine == its)
        met_RLL[mine] |= meets_LL
    return met_RLL & allowed(pattern)


def _looks_at(pattern: AttentionPattern, chunk: Integers, other: Integers) -> Booleans:
    """Whether queries in one chunk look at another."""
    lsh, per_round = pattern.attention, chunks_per_round(pattern)
    width, distance = lsh.n_chunks_before + 1 + lsh.n_chunks_after, other - chunk + lsh.n_chunks_before
    if lsh.wrap == "across_rounds":
        return np.asarray(distance % (per_round * len(pattern.buckets)) < width)
    same_round = chunk // per_round == other // per_round
    if lsh.wrap == "per_round":
        return np.asarray(same_round & (distance % per_round < width))
    return np.asarray(same_round & (distance >= 0) & (distance < width))


def first_met(pattern: AttentionPattern) -> Integers:
    """The round, counted from 0, in which a query first sees a key, round_LL; `NEVER` where it does in none.

    A position that sees nobody in any round sees itself, from the first.
    """
    met_RLL = meetings(pattern)
    round_LL = np.where(met_RLL.any(axis=0), met_RLL.argmax(axis=0), NEVER)
    alone = np.flatnonzero(~met_RLL.any(axis=(0, 2)))
    round_LL[alone, alone] = 0
    return round_LL


def masses(pattern: AttentionPattern) -> tuple[Mass, ...]:
    """Of each query whose weights are noted."""
    round_LL = first_met(pattern)
    return tuple(_mass(row, round_LL[row.query], len(pattern.buckets)) for row in pattern.dense)


def _mass(row: HeaviestKeys, round_L: Integers, n_rounds: int) -> Mass:
    weight, round_ = np.array(row.weights), round_L[list(row.keys)]
    by_round = tuple(float(weight[round_ == one].sum()) for one in range(n_rounds))
    # Weights are rounded, so that all of them may add up to a little more than one.
    return Mass(row.query, by_round, float(weight[round_ == NEVER].sum()), max(0.0, 1 - float(weight.sum())))


def loads(pattern: AttentionPattern) -> Integers:
    """Positions in each bucket of each round, load_RN."""
    return np.stack([np.bincount(bucket_L, minlength=pattern.n_buckets) for bucket_L in pattern.buckets])
