"""The backward pass of a group of heads."""

import torch
from torch import Tensor

from reformer.blocked.blocks import Block
from reformer.blocked.group import Group, summed
from reformer.functional.chunked import NOTHING_SEEN


def gradients(group: Group, d_out_BHLK: Tensor, out_BHLK: Tensor, lse_BHRL: Tensor) -> tuple[Tensor, Tensor]:
    """d_query_BHLK and d_value_BHLK.

    Args:
        group: The heads.
        d_out_BHLK: Gradient of their output.
        out_BHLK: Their output.
        lse_BHRL: Log-sum-exp of each position's scores in each round.
    """
    rounds = _Rounds(group, d_out_BHLK, out_BHLK, lse_BHRL)
    for block in group.blocks:
        rounds.compute(block)
    # Values first: what they need for positions that are alone differs from call to call, and must not be the peak.
    d_value_xK, d_query_xK = rounds.d_value(lse_BHRL), rounds.d_query()
    return d_query_xK.view(d_out_BHLK.shape), d_value_xK.view(d_out_BHLK.shape)


class _Rounds:
    """Gradients of every round by slot of the line. A slot's are summed up window after window, always in one order."""

    def __init__(self, group: Group, d_out_BHLK: Tensor, out_BHLK: Tensor, lse_BHRL: Tensor) -> None:
        self._group = group
        self._d_out_xK = group.table("d_out", d_out_BHLK)
        shape = (group.line.n_slots, d_out_BHLK.shape[-1])
        self._d_query_SK, self._d_key_SK, self._d_value_SK = (
            group.scratch(name, shape, group.dtype) for name in ("d_query", "d_key", "d_value")
        )
        first = group.blocks[0]
        for sum_SK in (self._d_key_SK, self._d_value_SK):
            sum_SK[: first.seen(first.n_seen - 1).start].zero_()
        lse_HRL = lse_BHRL.flatten(0, 1)
        # What a position that is alone in every round owes to itself is added at the end.
        share_HRL = lse_HRL.softmax(dim=1) * (lse_HRL > NOTHING_SEEN).any(dim=1, keepdim=True)
        delta_BHL = group.scratch.copy("delta", d_out_BHLK, group.wide).mul_(out_BHLK).sum(dim=-1)
        owed_HRL = share_HRL * delta_BHL.flatten(0, 1)[:, None]
        self._share_S1, self._delta_S1 = self._by_slot(share_HRL, owed_HRL)

    def _by_slot(self, *each_HRL: Tensor) -> list[Tensor]:
        """What each position has in each round, by slot of the line; 0 for slots of nobody, copies among them."""
        n_slots, slot_x = self._group.line.n_slots, self._group.slot_HRL.flatten().long()
        return [x_HRL.new_zeros(n_slots).index_copy_(0, slot_x, x_HRL.flatten())[:, None] for x_HRL in each_HRL]

    def compute(self, block: Block) -> None:
        """What a block's queries owe to the keys and values of their windows."""
        group = self._group
        query_CWK, key_CMK = group.queries_and_keys(block)
        score_CWM = group.scores(block, query_CWK, key_CMK)
        weight_CWM = torch.softmax(score_CWM, dim=-1, out=score_CWM)
        d_out_xK = group.gathered("d_outs", self._d_out_xK, block.queries).mul_(self._share_S1[block.queries])
        d_out_CWK = block.by_chunk(d_out_xK)
        _add(self._d_value_SK, block, group.narrowed("weight", group.dropped(weight_CWM, block)), d_out_CWK)
        d_score_CWM = self._d_score(block, weight_CWM, d_out_CWK)
        torch.bmm(d_score_CWM, key_CMK, out=block.by_chunk(self._d_query_SK[block.queries]))
        _add(self._d_key_SK, block, d_score_CWM, query_CWK)

    def _d_score(self, block: Block, weight_CWM: Tensor, d_out_CWK: Tensor) -> Tensor:
        group = self._group
        d_weight_CWM = group.scratch("d_weight", block.score_shape, group.dtype)
        torch.bmm(d_out_CWK, group.values(block).mT, out=d_weight_CWM)
        d_weight_CWM = group.dropped(group.widened("d_weight", d_weight_CWM), block)
        d_weight_CWM.sub_(block.by_chunk(self._delta_S1[block.queries])).mul_(weight_CWM)
        return group.narrowed("d_weight", d_weight_CWM)

    def d_value(self, lse_BHRL: Tensor) -> Tensor:
        """The gradient to values by position, head after head, [x, K]."""
        group = self._group
        group.line.add_copies(self._d_value_SK)
        d_value_xK = summed(self._d_value_SK, group.slot_xR)
        alone_x, weight_x1 = group.alone(lse_BHRL.flatten(0, 1))
        return d_value_xK.index_add_(0, alone_x, (self._d_out_xK[alone_x] * weight_x1).to(d_value_xK.dtype))

    def d_query(self) -> Tensor:
        """The same for queries, what comes through keys included: a key is `query * inverse * factor`."""
        group = self._group
        group.line.add_copies(self._d_key_SK)
        d_query_xK = group.widened("d_query by position", summed(self._d_query_SK, group.slot_xR))
        d_key_xK = group.widened("d_key by position", summed(self._d_key_SK, group.slot_xR))
        query_xK, inverse_x1 = group.widened("query", group.query_xK), group.inverse_x1
        scale_x1 = inverse_x1 * group.key_factor
        along_x1 = (query_xK * d_key_xK).sum(dim=-1, keepdim=True) * inverse_x1.square() / query_xK.shape[1]
        return d_query_xK.addcmul_(d_key_xK, scale_x1).addcmul_(query_xK, along_x1 * scale_x1, value=-1)


def _add(sum_SK: Tensor, block: Block, left_CWM: Tensor, right_CWK: Tensor) -> None:
    """Add what a block's queries owe to each chunk of their windows, `left_CWM.mT @ right_CWK`.

    The last chunk of a window is in no window before it: it is written, and what stood there is forgotten.
    """
    for place in reversed(range(block.n_seen)):
        into_CWK = block.by_chunk(sum_SK[block.seen(place)])
        left_CWW = left_CWM[:, :, place * block.chunk_len : (place + 1) * block.chunk_len].mT
        if place == block.n_seen - 1:
            torch.bmm(left_CWW, right_CWK, out=into_CWK)
        else:
            torch.baddbmm(into_CWK, left_CWW, right_CWK, out=into_CWK)
