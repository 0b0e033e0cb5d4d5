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
    shape = d_out_BHLK.shape
    return rounds.d_query().view(shape), rounds.d_value(lse_BHRL).view(shape)


class _Rounds:
    """Gradients of every round: of queries by slot, of keys and values by window. Each row is written once."""

    def __init__(self, group: Group, d_out_BHLK: Tensor, out_BHLK: Tensor, lse_BHRL: Tensor) -> None:
        self._group, n_slots, width = group, group.line.n_slots, d_out_BHLK.shape[-1]
        self._d_out_SK = group.table("d_out", d_out_BHLK)
        n_windows = n_slots * group.line.grid.n_seen
        self._d_query_xK = group.scratch("d_query", (n_slots, width), group.dtype)
        self._d_key_xK, self._d_value_xK = (
            group.scratch(name, (n_windows, width), group.dtype) for name in ("d_key", "d_value")
        )
        self._window_xy = group.window_rows()
        lse_HRL = lse_BHRL.flatten(0, 1)
        # What a position that is alone in every round owes to itself is added at the end.
        share_HRL = lse_HRL.softmax(dim=1) * (lse_HRL > NOTHING_SEEN).any(dim=1, keepdim=True)
        delta_BHL = group.scratch.copy("delta", d_out_BHLK, group.wide).mul_(out_BHLK).sum(dim=-1)
        self._share_x1 = self._by_slot(share_HRL)
        self._delta_x1 = self._by_slot(share_HRL * delta_BHL.flatten(0, 1)[:, None])

    def _by_slot(self, x_HRL: Tensor) -> Tensor:
        """What each position has in each round, by slot of the line; 0 for free slots."""
        by_slot_x = x_HRL.new_zeros(self._group.line.n_slots)
        return by_slot_x.scatter_(0, self._group.slot_HRL.flatten(), x_HRL.flatten())[:, None]

    def compute(self, block: Block) -> None:
        """What a block's queries owe to the keys and values of their windows."""
        group, (n_chunks, _, window_len) = self._group, block.score_shape
        query_CWK, key_CMK = group.queries(block), group.keys(block)
        weight_CWM, _ = group.weights(block, query_CWK, key_CMK)
        d_out_xK = group.gathered("d_outs", self._d_out_SK, group.query_row_x[block.queries])
        d_out_CWK = block.by_chunk(d_out_xK.mul_(self._share_x1[block.queries]))
        d_key_CMK, d_value_CMK = (
            x_xK[block.windows].view(n_chunks, window_len, -1) for x_xK in (self._d_key_xK, self._d_value_xK)
        )
        dropped_CWM = group.narrowed("weight", group.dropped(weight_CWM, block))
        torch.bmm(dropped_CWM.mT, d_out_CWK, out=d_value_CMK)
        d_score_CWM = self._d_score(block, weight_CWM, d_out_CWK)
        torch.bmm(d_score_CWM, key_CMK, out=block.by_chunk(self._d_query_xK[block.queries]))
        torch.bmm(d_score_CWM.mT, query_CWK, out=d_key_CMK)

    def _d_score(self, block: Block, weight_CWM: Tensor, d_out_CWK: Tensor) -> Tensor:
        group = self._group
        d_weight_CWM = group.scratch("d_weight", block.score_shape, group.dtype)
        torch.bmm(d_out_CWK, group.values(block).mT, out=d_weight_CWM)
        d_weight_CWM = group.dropped(group.widened("d_weight", d_weight_CWM), block)
        d_weight_CWM.sub_(block.by_chunk(self._delta_x1[block.queries])).mul_(weight_CWM)
        return group.narrowed("d_weight", d_weight_CWM)

    def d_value(self, lse_BHRL: Tensor) -> Tensor:
        """The gradient to values by position, head after head, [x, K]."""
        group = self._group
        d_value_xK = summed(self._d_value_xK, self._window_xy)
        alone_x, weight_x1 = group.alone(lse_BHRL.flatten(0, 1))
        d_alone_xK = self._d_out_SK[group.row_HL.flatten()[alone_x]] * weight_x1
        return d_value_xK.index_add_(0, alone_x, d_alone_xK.to(d_value_xK.dtype))

    def d_query(self) -> Tensor:
        """The same for queries, what comes through keys included: a key is `query * inverse * factor`."""
        group, row_x = self._group, self._group.row_HL.flatten()
        slot_xR = group.slot_HRL.transpose(1, 2).flatten(0, 1)
        d_query_xK = group.widened("d_query by position", summed(self._d_query_xK, slot_xR))
        d_key_xK = group.widened("d_key by position", summed(self._d_key_xK, self._window_xy))
        query_xK = group.widened("query", group.gathered("queries", group.query_SK, row_x))
        inverse_x1 = group.inverse_S1[row_x]
        along_x1 = (query_xK * d_key_xK).sum(dim=-1, keepdim=True) * inverse_x1.square() / query_xK.shape[1]
        through_key_xK = d_key_xK.addcmul_(query_xK, along_x1, value=-1).mul_(inverse_x1)
        return d_query_xK.add_(through_key_xK, alpha=group.key_factor)
