"""Attention within chunks: what local and LSH attention have in common."""

import torch
from torch import Tensor

from reformer.functional.dropping import Drop
from reformer.functional.scores import masked_scores, visible, weighted_values
from reformer.functional.sorting import take_rows

NOTHING_SEEN = -1e30
"""Log-sum-exp of a row that sees nothing: far below any real one, yet finite, so that rounds can be compared."""


def attend_in_chunks(
    query_BHCWK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    query_position_BHCW: Tensor,
    key_position_BHCM: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
    valid_BL: Tensor | None,
    drop: Drop,
    alike_BHCWM: Tensor | None = None,
    count_BHCWM: Tensor | None = None,
    fallback_BHCWM: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Each chunk's queries against the keys of its window.

    Args:
        query_BHCWK: Queries by slot.
        key_BHLK: Scaled keys by position.
        value_BHLK: Values by position.
        query_position_BHCW: Position of each query.
        key_position_BHCM: Positions in each chunk's window; outside 0..L-1 where there is none.
        causal: Whether a position sees only the past.
        exclude_self: Whether a position sees itself only if it sees nothing else.
        valid_BL: False where a position is padding, which nobody sees.
        drop: Applied to the attention weights.
        alike_BHCWM: False where a query must not see a key for a reason of its own, such as another bucket.
        count_BHCWM: How often query and key meet, if a key met several times is to count once.
        fallback_BHCWM: Keys whose values a query that sees nothing gets the sum of; by default its own position.

    Returns:
        out_BHCWK, and lse_BHCW, the log-sum-exp of each query's scores before dropout.
    """
    query_position, key_position = query_position_BHCW[..., :, None], key_position_BHCM[..., None, :]
    key_valid = None if valid_BL is None else at_positions(valid_BL, key_position_BHCM)[..., None, :]
    seen_BHCWM = visible(
        query_position,
        key_position,
        length=key_BHLK.shape[2],
        causal=causal,
        exclude_self=exclude_self,
        key_valid=key_valid,
    )
    if alike_BHCWM is not None:
        seen_BHCWM = seen_BHCWM & alike_BHCWM
    own = query_position == key_position if fallback_BHCWM is None else fallback_BHCWM
    score_BHCWM, alone_BHCW1 = masked_scores(
        query_BHCWK, take_rows(key_BHLK, key_position_BHCM), seen_BHCWM, own, count=count_BHCWM
    )
    lse_BHCW = torch.where(alone_BHCW1, NOTHING_SEEN, score_BHCWM.logsumexp(dim=-1, keepdim=True)).squeeze(-1)
    out_BHCWK = weighted_values(score_BHCWM, take_rows(value_BHLK, key_position_BHCM), drop=drop)
    if fallback_BHCWM is not None:
        out_BHCWK = out_BHCWK * torch.where(alone_BHCW1, fallback_BHCWM.sum(dim=-1, keepdim=True), 1)
    return out_BHCWK, lse_BHCW


def at_positions(valid_BL: Tensor, position_BHCM: Tensor) -> Tensor:
    """What holds for the given positions; outside the sequence, what holds for its end next to them."""
    batch, heads, chunks, keys = position_BHCM.shape
    inside = position_BHCM.clamp(0, valid_BL.shape[1] - 1).flatten(1)
    return valid_BL.gather(1, inside).view(batch, heads, chunks, keys)
