"""Slow and obvious versions of what the library does fast: explicit L x L masks, loops, plain autograd."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

Valid = Sequence[bool] | None
"""False where a position of one example is padding; `None` if none is."""


def unit_keys(query_BHLK: Tensor) -> Tensor:
    """Keys of length one, up to the epsilon that keeps a zero vector finite."""
    rms = (query_BHLK.pow(2).sum(-1, keepdim=True) / query_BHLK.shape[-1] + 1e-6).sqrt()
    key_BHLK: Tensor = query_BHLK / rms / query_BHLK.shape[-1] ** 0.5
    return key_BHLK


def attend(query_LK: Tensor, key_LK: Tensor, value_LK: Tensor, count_LL: Tensor, unseen_LL: Tensor) -> Tensor:
    """One head by brute force: each key counts as often as `count` says.

    A row without any gets the values under the weights in `unseen`.
    """
    alone_L1 = count_LL.sum(dim=1, keepdim=True) == 0
    # Rows without any key are made harmless here and replaced below.
    score_LL = query_LK @ key_LK.mT + torch.where(alone_L1, 1, count_LL).log()
    return torch.where(alone_L1, unseen_LL, torch.softmax(score_LL, dim=1)) @ value_LK


def every_head(
    query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, count_BHLL: Tensor, unseen_LL: Tensor | None = None
) -> Tensor:
    """`attend` for each head of each example; by default a row that sees nobody keeps its own value."""
    unseen_LL = torch.eye(query_BHLK.shape[2], dtype=torch.float64) if unseen_LL is None else unseen_LL
    return torch.stack(
        [
            torch.stack([attend(q, k, v, c, unseen_LL) for q, k, v, c in zip(*example, strict=True)])
            for example in zip(query_BHLK, key_BHLK, value_BHLK, count_BHLL, strict=True)
        ]
    )


class Chunk(NamedTuple):
    """Positions that stand together in one hash round."""

    round_: int
    members: list[int]


def rounds_of_chunks(bucket_RL: Sequence[Sequence[int]], chunk_len: int) -> list[list[Chunk]]:
    """Every round: sort by bucket, then position; cut into chunks, the last of them short."""
    rounds = []
    for round_, bucket_L in enumerate(bucket_RL):
        order = [position for _, position in sorted(zip(bucket_L, range(len(bucket_L)), strict=True))]
        starts = range(0, len(order), chunk_len)
        rounds.append([Chunk(round_, order[start : start + chunk_len]) for start in starts])
    return rounds


def neighbours(rounds: list[list[Chunk]], own: Chunk, *, n_before: int, n_after: int, wrap: str) -> list[Chunk]:
    """The chunks that a chunk's queries see, each once."""
    row = list(chain(*rounds)) if wrap == "across_rounds" else rounds[own.round_]
    place = next(index for index, chunk in enumerate(row) if chunk is own)
    places = list(range(place - n_before, place + n_after + 1))
    if wrap == "none":
        return [row[index] for index in places if 0 <= index < len(row)]
    return [row[index] for index in sorted({index % len(row) for index in places})]


def lsh_counts(
    bucket_RL: Tensor,
    *,
    chunk_len: int,
    n_before: int,
    n_after: int,
    causal: bool,
    wrap: str = "across_rounds",
    same_bucket_only: bool = False,
    deduplicate: bool = False,
    valid: Valid = None,
) -> Tensor:
    """How often each position meets each other one, over all rounds, as an explicit L x L matrix.

    Padding stands behind all others, whatever its bucket, and is met by nobody.
    """
    length = bucket_RL.shape[1]
    valid = [True] * length if valid is None else valid
    last = int(bucket_RL.max()) + 1
    buckets = [
        [bucket if here else last for bucket, here in zip(bucket_L, valid, strict=True)]
        for bucket_L in bucket_RL.tolist()
    ]
    rounds = rounds_of_chunks(buckets, chunk_len)
    count = [[0] * length for _ in range(length)]
    for own in chain(*rounds):
        for other in neighbours(rounds, own, n_before=n_before, n_after=n_after, wrap=wrap):
            for row in own.members:
                for column in other.members:
                    same = own.round_ == other.round_ and buckets[own.round_][row] == buckets[own.round_][column]
                    allowed = column < row if causal else column != row
                    if allowed and valid[column] and (same or not same_bucket_only):
                        count[row][column] += 1
    if deduplicate:
        count = [[min(times, 1) for times in row_of_count] for row_of_count in count]
    return torch.tensor(count, dtype=torch.float64)


def dense_counts(length: int, *, causal: bool, exclude_self: bool, valid: Valid = None) -> Tensor:
    """Every position meets every other once; itself only if that is allowed; the future never if causal.

    Padding is met by nobody.
    """
    count = torch.ones(length, length, dtype=torch.float64)
    if causal:
        count = count.tril()
    if exclude_self:
        count = count - torch.diag(count.diagonal())
    for column, here in enumerate([] if valid is None else valid):
        if not here:
            count[:, column] = 0
    return count


def local_window(length: int, *, chunk_len: int, n_before: int, n_after: int, wrap: str) -> Tensor:
    """Whether the chunk of one position looks at the chunk of another, as an explicit L x L matrix of 0 and 1."""
    n_chunks = -(-length // chunk_len)
    window = torch.zeros(length, length, dtype=torch.float64)
    for row in range(length):
        for offset in range(-n_before, n_after + 1):
            chunk = row // chunk_len + offset
            if wrap == "ring":
                chunk %= n_chunks
            for column in range(length):
                if column // chunk_len == chunk:
                    window[row, column] = 1
    return window


def local_counts(
    length: int,
    *,
    chunk_len: int,
    n_before: int,
    n_after: int,
    causal: bool,
    exclude_self: bool,
    wrap: str = "none",
    valid: Valid = None,
) -> Tensor:
    """Positions meet within their chunk of the sequence and its neighbours."""
    count = dense_counts(length, causal=causal, exclude_self=exclude_self, valid=valid)
    return count * local_window(length, chunk_len=chunk_len, n_before=n_before, n_after=n_after, wrap=wrap)


def window_sums(window_LL: Tensor, valid: Valid) -> Tensor:
    """What a row gets that sees nobody: padding the sum of its window, any other its own value."""
    own = torch.eye(window_LL.shape[0], dtype=torch.float64)
    return own if valid is None else torch.where(torch.tensor(valid)[:, None], own, window_LL)
