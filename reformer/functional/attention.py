"""Dense, local and LSH attention as pure functions.

All take keys that are already scaled: a score is the plain product of query and key. With shared queries and keys the
scaling is `unit_keys`, and `exclude_self` keeps a position from seeing itself unless it sees nothing else (paper,
section 2, "Causal masking"): such a position returns its own value, to the rounding of an average over rounds.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from reformer.functional.sorting import invert, sort_by_bucket, take_rows, to_chunks, with_neighbours

NOTHING_SEEN = -1e30
"""Log-sum-exp of a row that sees only itself: far below any real one, yet finite, so that rounds can be compared."""

FUSED_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]

KEY_EPSILON = 1e-6
"""Added to the mean square of a key before the root, as in the authors' released code."""


def unit_keys(query_BHLK: Tensor) -> Tensor:
    """Keys of length one from shared queries: the query over its root mean square and over sqrt(K)."""
    mean_square = query_BHLK.square().mean(dim=-1, keepdim=True)
    scale: Tensor = torch.rsqrt(mean_square + KEY_EPSILON) * query_BHLK.shape[-1] ** -0.5
    return query_BHLK * scale


def visible(query_position: Tensor, key_position: Tensor, *, length: int, causal: bool, exclude_self: bool) -> Tensor:
    """Which keys a query may see, by position alone; positions outside 0..length-1 are seen by nobody."""
    exists = (key_position >= 0) & (key_position < length)
    if not causal:
        return (
            exists & (key_position != query_position)
            if exclude_self
            else exists.expand_as(query_position + key_position)
        )
    return exists & (key_position < query_position if exclude_self else key_position <= query_position)


def masked_scores(query: Tensor, key: Tensor, seen: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Scores in which only what a query may see counts.

    A query that sees nothing falls back on its own position, with a constant score: weight 1 there, and no gradient to
    the query. It is exact where a large negative constant added to the score is not: float32 is 0.008 coarse at -1e5.

    Args:
        query: [..., queries, K].
        key: [..., keys, K].
        seen: Which keys a query sees; may be broadcast against [..., queries, keys].
        own: Which keys are at the query's own position, at least one for each query.

    Returns:
        score [..., queries, keys], minus infinity where nothing is seen; and alone [..., queries, 1], true for queries
        that fell back.
    """
    alone = ~seen.any(dim=-1, keepdim=True)
    # In place: the product is ours, nothing else needs it, and at L x L every copy counts.
    score = (query @ key.mT).masked_fill_(~seen, float("-inf")).masked_fill_(alone & own, 0.0)
    return score, alone


def dense_attention(
    query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, *, causal: bool, exclude_self: bool
) -> Tensor:
    """Every position against every other, all scores in memory at once.

    Returns:
        out_BHLK.
    """
    return _dense_rows(query_BHLK, key_BHLK, value_BHLK, 0, causal, exclude_self)


def query_chunked_attention(
    query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, *, causal: bool, exclude_self: bool, query_chunk_len: int
) -> Tensor:
    """The same values as `dense_attention`, a chunk of queries at a time, each recomputed in the backward pass.

    The memory-efficient dense attention of the paper's section 2: scores of one chunk at a time, L in place of L^2.

    Returns:
        out_BHLK.
    """
    pieces = [
        checkpoint(
            _dense_rows,
            query_chunk,
            key_BHLK,
            value_BHLK,
            index * query_chunk_len,
            causal,
            exclude_self,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for index, query_chunk in enumerate(query_BHLK.split(query_chunk_len, dim=2))
    ]
    return torch.cat(pieces, dim=2)


def _dense_rows(
    query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, start: int, causal: bool, exclude_self: bool
) -> Tensor:
    n_queries, length = query_BHLK.shape[2], key_BHLK.shape[2]
    query_position = torch.arange(start, start + n_queries, device=query_BHLK.device)[:, None]
    key_position = torch.arange(length, device=query_BHLK.device)[None, :]
    seen = visible(query_position, key_position, length=length, causal=causal, exclude_self=exclude_self)
    score_BHLM, _ = masked_scores(query_BHLK, key_BHLK, seen, query_position == key_position)
    return score_BHLM.softmax(dim=-1) @ value_BHLK


def fused_attention(
    query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, *, causal: bool, exclude_self: bool
) -> Tensor:
    """The same values as `dense_attention` by PyTorch's fused kernel, with no mask in memory.

    A causal position without itself sees exactly the positions before it, which is causal attention of the sequence
    from its second position on against the sequence up to its last but one; the first position returns its own value.

    Returns:
        out_BHLK.

    Raises:
        ValueError: `exclude_self` without `causal`, which the fused kernel cannot express without an L x L mask.
        RuntimeError: PyTorch has no fused kernel for these tensors.
    """
    if not exclude_self:
        return _fused(query_BHLK, key_BHLK, value_BHLK, causal=causal)
    if not causal:
        raise ValueError("fused_attention with exclude_self=True needs causal=True; use dense_attention")
    if query_BHLK.shape[2] == 1:
        return value_BHLK
    later = _fused(query_BHLK[:, :, 1:], key_BHLK[:, :, :-1], value_BHLK[:, :, :-1], causal=True)
    return torch.cat([value_BHLK[:, :, :1], later], dim=2)


def _fused(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, *, causal: bool) -> Tensor:
    # Without this PyTorch would fall back on its unfused kernel, and hold L x L scores, without a word.
    with sdpa_kernel(FUSED_KERNELS):
        return F.scaled_dot_product_attention(query_BHLK, key_BHLK, value_BHLK, is_causal=causal, scale=1.0)


def local_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
    chunk_len: int,
    n_chunks_before: int,
    n_chunks_after: int,
) -> Tensor:
    """Each position against those of its own chunk of the sequence and the chunks beside it; any length.

    Returns:
        out_BHLK.
    """
    batch, heads, length, _ = query_BHLK.shape
    chunk_len = min(chunk_len, length)
    in_order = torch.arange(length, device=query_BHLK.device).expand(batch, heads, 1, length)
    position_BHCW = to_chunks(in_order, chunk_len=chunk_len)
    window_BHCM = with_neighbours(position_BHCW, n_before=n_chunks_before, n_after=n_chunks_after, wrap=False)
    out_BHCWK, _ = _attend_in_chunks(
        query_BHLK, key_BHLK, value_BHLK, position_BHCW, window_BHCM, causal=causal, exclude_self=exclude_self
    )
    return out_BHCWK.flatten(2, 3)[:, :, :length]


def lsh_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    *,
    causal: bool,
    chunk_len: int,
    n_chunks_before: int,
    n_chunks_after: int,
) -> Tensor:
    """Each position against those near it in the bucket-sorted sequence, over several hash rounds (paper, section 2).

    In every round positions are sorted by bucket, then by position, and cut into chunks; a query sees its own chunk and
    its neighbours, in a ring over all rounds. Rounds are combined by their log-sum-exp (equation 7). As in the authors'
    code a chunk is not confined to one bucket, and a key met in several rounds counts once for each. Any length works:
    the last chunk of a round may be short, which changes no value and no gradient.

    Args:
        query_BHLK: Shared queries.
        key_BHLK: Scaled keys of the same positions, `unit_keys(query_BHLK)`.
        value_BHLK: Values.
        bucket_BHRL: Bucket of each position in each round, from `hash_vectors`.
        causal: Whether a position sees only the past.
        chunk_len: W.
        n_chunks_before: Chunks seen before the own one.
        n_chunks_after: Chunks seen after the own one.

    Returns:
        out_BHLK.
    """
    n_rounds, length = bucket_BHRL.shape[2:]
    # One chunk that is short anyway need not be filled up.
    chunk_len = min(chunk_len, length)
    position_BHRS = sort_by_bucket(bucket_BHRL)
    position_BHCW = to_chunks(position_BHRS, chunk_len=chunk_len)
    window_BHCM = with_neighbours(position_BHCW, n_before=n_chunks_before, n_after=n_chunks_after, wrap=True)
    out_BHCWK, lse_BHCW = _attend_in_chunks(
        query_BHLK, key_BHLK, value_BHLK, position_BHCW, window_BHCM, causal=causal, exclude_self=True
    )
    slot_BHRL = invert(position_BHRS) + _round_starts(n_rounds, length, chunk_len, bucket_BHRL.device)
    out_BHRLK = take_rows(out_BHCWK.flatten(2, 3), slot_BHRL)
    lse_BHRL = lse_BHCW.flatten(2, 3).gather(2, slot_BHRL.flatten(2, 3)).view_as(slot_BHRL)
    return combine_rounds(out_BHRLK, lse_BHRL)


def _round_starts(n_rounds: int, length: int, chunk_len: int, device: torch.device) -> Tensor:
    slots_per_round = length + -length % chunk_len
    return (torch.arange(n_rounds, device=device) * slots_per_round)[:, None]


def _attend_in_chunks(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    position_BHCW: Tensor,
    window_BHCM: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
) -> tuple[Tensor, Tensor]:
    """Queries at `position` against keys at `window`, chunk by chunk: out_BHCWK and lse_BHCW."""
    query_position, key_position = position_BHCW[..., :, None], window_BHCM[..., None, :]
    length = query_BHLK.shape[2]
    seen = visible(query_position, key_position, length=length, causal=causal, exclude_self=exclude_self)
    query_BHCWK, key_BHCMK = take_rows(query_BHLK, position_BHCW), take_rows(key_BHLK, window_BHCM)
    score_BHCWM, alone_BHCW1 = masked_scores(query_BHCWK, key_BHCMK, seen, query_position == key_position)
    # Float16 could not hold NOTHING_SEEN.
    lse_BHCW1 = score_BHCWM.logsumexp(dim=-1, keepdim=True).to(torch.promote_types(score_BHCWM.dtype, torch.float32))
    lse_BHCW = torch.where(alone_BHCW1, NOTHING_SEEN, lse_BHCW1).squeeze(-1)
    return score_BHCWM.softmax(dim=-1) @ take_rows(value_BHLK, window_BHCM), lse_BHCW


def combine_rounds(out_BHRLK: Tensor, lse_BHRL: Tensor) -> Tensor:
    """Average over hash rounds, each weighted by the mass it saw: softmax of the log-sum-exps (paper, equation 7)."""
    weight_BHRL = lse_BHRL.softmax(dim=2).to(out_BHRLK.dtype)
    return (out_BHRLK * weight_BHRL[..., None]).sum(dim=2)
