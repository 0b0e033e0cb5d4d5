"""Slow and obvious versions of what the library does fast: explicit L x L masks, loops, plain autograd."""

import torch
from torch import Tensor


def unit_keys(query_BHLK: Tensor) -> Tensor:
    """Keys of length one, up to the epsilon that keeps a zero vector finite."""
    rms = (query_BHLK.pow(2).sum(-1, keepdim=True) / query_BHLK.shape[-1] + 1e-6).sqrt()
    key_BHLK: Tensor = query_BHLK / rms / query_BHLK.shape[-1] ** 0.5
    return key_BHLK


def attend(query_LK: Tensor, key_LK: Tensor, value_LK: Tensor, count_LL: Tensor) -> Tensor:
    """One head by brute force: each key counts as often as `count` says; a row without any keeps its own value."""
    rows = []
    for row in range(query_LK.shape[0]):
        seen = [column for column in range(key_LK.shape[0]) if count_LL[row, column] > 0]
        if not seen:
            rows.append(value_LK[row])
            continue
        score = torch.stack([query_LK[row] @ key_LK[column] + count_LL[row, column].log() for column in seen])
        rows.append(torch.softmax(score, dim=0) @ value_LK[seen])
    return torch.stack(rows)


def lsh_counts(bucket_RL: Tensor, *, chunk_len: int, n_before: int, n_after: int, causal: bool) -> Tensor:
    """How often each position meets each other one, over all rounds, as an explicit L x L matrix.

    Every round: sort by bucket, then position; cut into chunks, the last of them short; number the chunks through all
    rounds; a position meets everyone in its own chunk and its neighbours on the ring of chunks, each chunk once.
    """
    n_rounds, length = bucket_RL.shape
    members: list[list[int]] = []
    chunk_of: list[list[int]] = []
    for round_ in range(n_rounds):
        order = sorted(range(length), key=lambda position: (int(bucket_RL[round_, position]), position))
        first = len(members)
        members += [order[start : start + chunk_len] for start in range(0, length, chunk_len)]
        where = {position: first + slot // chunk_len for slot, position in enumerate(order)}
        chunk_of.append([where[position] for position in range(length)])
    count = torch.zeros(length, length, dtype=torch.float64)
    for chunks in chunk_of:
        for position in range(length):
            near = {(chunks[position] + offset) % len(members) for offset in range(-n_before, n_after + 1)}
            for other in (other for chunk in near for other in members[chunk]):
                if other < position if causal else other != position:
                    count[position, other] += 1
    return count


def dense_counts(length: int, *, causal: bool, exclude_self: bool) -> Tensor:
    """Every position meets every other once; itself only if that is allowed; the future never if causal."""
    count = torch.ones(length, length, dtype=torch.float64)
    if causal:
        count = count.tril()
    return count - torch.diag(count.diagonal()) if exclude_self else count


def local_counts(
    length: int, *, chunk_len: int, n_before: int, n_after: int, causal: bool, exclude_self: bool
) -> Tensor:
    """Positions meet within their chunk of the sequence and its neighbours; the row of chunks has ends."""
    count = dense_counts(length, causal=causal, exclude_self=exclude_self)
    for row in range(length):
        for column in range(length):
            distance = column // chunk_len - row // chunk_len
            if not -n_before <= distance <= n_after:
                count[row, column] = 0
    return count


def every_head(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, count_BHLL: Tensor) -> Tensor:
    """`attend` for each head of each example."""
    return torch.stack(
        [
            torch.stack([attend(q, k, v, c) for q, k, v, c in zip(*example, strict=True)])
            for example in zip(query_BHLK, key_BHLK, value_BHLK, count_BHLL, strict=True)
        ]
    )
