"""LSH attention group by group of heads, in blocks of chunks, keeping nothing of the scores for the backward pass.

Scores exist for one block at a time, and are computed again in the backward pass. There the gradient through softmax,
log-sum-exp and the combination of rounds together is `P (dP - rowsum(d_out out))`, where P is normalised over all
rounds: P of one round times that round's share. So the outputs of single rounds need not be kept.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from reformer.blocked.gradients import gradients
from reformer.blocked.group import ALONE, LONGEST, Group, summed
from reformer.blocked.scratch import Scratch
from reformer.blocked.sorting import sort_by_bucket
from reformer.functional.chunked import NOTHING_SEEN
from reformer.functional.dropping import NO_DROPOUT, Dropout
from reformer.functional.windows import Window
from reformer.fused import Inputs, Options, empty_heads, register

ROWS = 2**12
"""Rows of heads that are computed together: more would touch more fresh memory, fewer would cost more calls."""


def lsh_attention(
    query_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    *,
    score_scale: float,
    window: Window,
    causal: bool,
    same_bucket_only: bool = False,
    deduplicate: bool = False,
    valid_BL: Tensor | None = None,
    drop: Dropout = NO_DROPOUT,
) -> Tensor:
    """The same values as `reformer.functional.lsh.lsh_attention`, whose arguments these are, up to rounding.

    Scores may be as large as 2^38. Float16 is computed in float32. Dropout draws other masks than the specification's.

    Returns:
        out_BHLK, its heads side by side in memory.

    Raises:
        ValueError: The sequence has more than 2^22 positions.
    """
    options = Options.of(score_scale, window, causal, same_bucket_only, deduplicate, drop)
    out_BHLK: Tensor = OPERATOR.attend(query_BHLK, value_BHLK, bucket_BHRL, valid_BL, *options)[0]
    return out_BHLK


def _attend(
    query_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    valid_BL: Tensor | None,
    score_scale: float,
    chunk_len: int,
    n_before: int,
    n_after: int,
    wrap: str,
    causal: bool,
    same_bucket_only: bool,
    deduplicate: bool,
    rate: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    options = Options(
        score_scale, chunk_len, n_before, n_after, wrap, causal, same_bucket_only, deduplicate, rate, seed
    )
    length = query_BHLK.shape[2]
    if length > LONGEST:
        raise ValueError(f"length {length} is above the {LONGEST} that backend='blocked' can tell apart; use 'eager'")
    position_BHRS = sort_by_bucket(bucket_BHRL)
    out_BHLK, lse_BHRL = empty_heads(value_BHLK), _lse_like(query_BHLK, bucket_BHRL)
    for here, group in _groups(Inputs(query_BHLK, value_BHLK, bucket_BHRL, valid_BL), position_BHRS, options):
        round_SK, lse_S = _attend_rounds(group)
        lse_HRL = lse_S.index_select(0, group.slot_HRL.flatten()).view_as(group.slot_HRL)
        lse_BHRL[here] = lse_HRL.view(lse_BHRL[here].shape)
        out_BHLK[here] = _combined(group, round_SK, lse_HRL).view(out_BHLK[here].shape)
    return out_BHLK, lse_BHRL, position_BHRS


def _attend_backward(
    d_out_BHLK: Tensor,
    query_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    valid_BL: Tensor | None,
    out_BHLK: Tensor,
    lse_BHRL: Tensor,
    position_BHRS: Tensor,
    score_scale: float,
    chunk_len: int,
    n_before: int,
    n_after: int,
    wrap: str,
    causal: bool,
    same_bucket_only: bool,
    deduplicate: bool,
    rate: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    options = Options(
        score_scale, chunk_len, n_before, n_after, wrap, causal, same_bucket_only, deduplicate, rate, seed
    )
    d_query_BHLK, d_value_BHLK = empty_heads(query_BHLK), empty_heads(value_BHLK)
    for here, group in _groups(Inputs(query_BHLK, value_BHLK, bucket_BHRL, valid_BL), position_BHRS, options):
        d_query_BHLK[here], d_value_BHLK[here] = gradients(group, d_out_BHLK[here], out_BHLK[here], lse_BHRL[here])
    return d_query_BHLK, d_value_BHLK


def _lse_like(query_BHLK: Tensor, bucket_BHRL: Tensor) -> Tensor:
    wide = torch.promote_types(query_BHLK.dtype, torch.float32)
    return torch.empty_like(bucket_BHRL, dtype=wide, memory_format=torch.contiguous_format)


OPERATOR = register("reformer_blocked", _attend, _attend_backward, lse_like=_lse_like)
"""The log-sum-exps that it returns are lse_BHRL, of every round."""


def _groups(inputs: Inputs, position_BHRS: Tensor, options: Options) -> Iterator[tuple[tuple[slice, slice], Group]]:
    """All heads in groups, and the place of each group; one at a time, since they share memory."""
    scratch, part = Scratch(position_BHRS.device), 0
    for here in _places(*position_BHRS.shape):
        valid_BL = None if inputs.valid_BL is None else inputs.valid_BL[here[0]]
        of_group = Inputs(inputs.query_BHLK[here], inputs.value_BHLK[here], inputs.bucket_BHRL[here], valid_BL)
        group = Group(part, of_group, position_BHRS[here], options, scratch)
        part = group.next_part
        yield here, group


def _places(batch: int, heads: int, n_rounds: int, length: int) -> list[tuple[slice, slice]]:
    """Some heads of one example, or all heads of some examples: as many as have `ROWS` rows in all rounds, or one."""
    together = max(1, ROWS // (n_rounds * length))
    examples, heads_together = max(1, together // heads), min(heads, together)
    return [
        (slice(example, example + examples), slice(head, head + heads_together))
        for example in range(0, batch, examples)
        for head in range(0, heads, heads_together)
    ]


def _attend_rounds(group: Group) -> tuple[Tensor, Tensor]:
    """What each slot of the line sees in its round, and the log-sum-exp of its scores, both wide."""
    n_slots = group.line.n_slots
    round_SK = group.scratch("rounds", (n_slots, group.value_xK.shape[1]), group.wide)
    top_S1, largest_S1 = (group.scratch(name, (n_slots, 1), group.wide) for name in ("top", "largest"))
    for block in group.blocks:
        score_CWM = group.scores(block, *group.queries_and_keys(block))
        torch.amax(score_CWM, dim=-1, keepdim=True, out=block.by_chunk(top_S1[block.queries]))
        weight_CWM = torch.softmax(score_CWM, dim=-1, out=score_CWM)
        torch.amax(weight_CWM, dim=-1, keepdim=True, out=block.by_chunk(largest_S1[block.queries]))
        weight_CWM = group.narrowed("weight", group.dropped(weight_CWM, block))
        group.product_into(block.by_chunk(round_SK[block.queries]), weight_CWM, group.values(block))
    # The largest weight is that of the largest score, exp(0) over the sum of all.
    lse_S1 = torch.where(top_S1 < ALONE, NOTHING_SEEN, top_S1 - largest_S1.log_())
    return round_SK, lse_S1.squeeze(-1)


def _combined(group: Group, round_SK: Tensor, lse_HRL: Tensor) -> Tensor:
    """The average over rounds, each weighted by the mass it saw, by position, head after head, [x, K]."""
    share_xR = lse_HRL.softmax(dim=1).transpose(1, 2).flatten(0, 1)
    total_xK = summed(round_SK, group.slot_xR, share_xR)
    alone_x, weight_x1 = group.alone(lse_HRL)
    total_xK[alone_x] = group.value_xK[alone_x] * weight_x1
    return total_xK
