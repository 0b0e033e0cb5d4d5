"""Scores between queries and keys: how keys are scaled, who sees whom, and the weights that follow.

All attention functions take keys that are already scaled: a score is the plain product of query and key. With shared
queries and keys the scaling is `unit_keys`, and `exclude_self` keeps a position from seeing itself unless it sees
nothing else (paper, section 2, "Causal masking"): such a position returns its own value.
"""

import torch
from torch import Tensor

from reformer.functional.dropping import Drop

KEY_EPSILON = 1e-6
"""Added to the mean square of a key before the root, as in the authors' released code."""


def widened(x: Tensor) -> Tensor:
    """The tensor in float32 at least: sums over scores lose too much in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def unit_keys(query_BHLK: Tensor) -> Tensor:
    """Keys of length one from shared queries: the query over its root mean square and over sqrt(K)."""
    # In half precision the square of 256 is infinite already.
    mean_square = widened(query_BHLK).square().mean(dim=-1, keepdim=True)
    scale = torch.rsqrt(mean_square + KEY_EPSILON) * query_BHLK.shape[-1] ** -0.5
    key_BHLK: Tensor = query_BHLK * scale.to(query_BHLK.dtype)
    return key_BHLK


def visible(
    query_position: Tensor,
    key_position: Tensor,
    *,
    length: int,
    causal: bool,
    exclude_self: bool,
    key_valid: Tensor | None = None,
) -> Tensor:
    """Which keys a query may see; positions outside 0..length-1 are seen by nobody.

    Args:
        query_position: [..., queries, 1].
        key_position: [..., 1, keys].
        length: L.
        causal: Whether a position sees only the past.
        exclude_self: Whether a position does not see itself.
        key_valid: False for keys that are padding; may be broadcast against the result.

    Returns:
        bool [..., queries, keys].
    """
    seen = (key_position >= 0) & (key_position < length)
    if key_valid is not None:
        seen = seen & key_valid
    if causal:
        return seen & (key_position < query_position if exclude_self else key_position <= query_position)
    return seen & (key_position != query_position) if exclude_self else seen.expand_as(query_position + seen)


def masked_scores(
    query: Tensor, key: Tensor, seen: Tensor, fallback: Tensor, *, count: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores in which only what a query may see counts.

    A query that sees nothing falls back on the keys named, with a constant score: equal weights there, and no gradient
    to the query. With its own position as the only one this is exact where a large negative constant added to the score
    is not: float32 is 0.008 coarse at -1e5.

    Args:
        query: [..., queries, K].
        key: [..., keys, K].
        seen: Which keys a query sees; may be broadcast against [..., queries, keys].
        fallback: Which keys a query gets that sees nothing, at least one for each query.
        count: How often each key is met; a key met N times has `log N` taken off its score, so that it counts once.

    Returns:
        score [..., queries, keys] in float32 at least, minus infinity where nothing is seen; and alone
        [..., queries, 1], true for queries that fell back.
    """
    alone = ~seen.any(dim=-1, keepdim=True)
    score = widened(query @ key.mT)
    if count is not None:
        score = score - count.clamp(min=1).to(score.dtype).log()
    # In place: the product is ours, nothing else needs it, and at L x L every copy counts.
    return score.masked_fill_(~seen, float("-inf")).masked_fill_(alone & fallback, 0.0), alone


def weighted_values(score: Tensor, value: Tensor, *, drop: Drop, part: int = 0) -> Tensor:
    """The mean of the values under the softmax of the scores, some weights dropped."""
    weight = drop(score.softmax(dim=-1), part)
    return weight.to(value.dtype) @ value
