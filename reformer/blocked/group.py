"""Some heads of some examples: their rows by position, and the weights of a block of their chunks."""

import torch
from torch import Tensor
from torch.nn import functional as F

from reformer.blocked.blocks import Block, Line
from reformer.blocked.scratch import Scratch
from reformer.functional import scores
from reformer.functional.chunked import NOTHING_SEEN
from reformer.functional.lsh import HashRounds, label_buckets
from reformer.functional.windows import Grid
from reformer.fused import Inputs, Options

FAR = 2.0**40
"""Bound on the score of neighbouring positions that may see each other; larger for others, and minus it if not."""

HIDDEN = -(2.0**70)
"""Score of keys that are hidden for another reason than their place: below every bound."""

ALONE = -(2.0**38)
"""A query whose largest score is below sees nothing but itself."""

LONGEST = 2**22
"""Positions up to here, and the halves between them, are numbers that float32 tells apart."""


class Group:
    """What the blocks of a group of heads are computed from.

    Tables have a row for each position, head after head. Free slots hold the first row, which they hide.

    Attributes:
        options: How attention is computed.
        line: The chunks of its heads in one line.
        blocks: The line in blocks.
        scratch: Memory that groups share.
        dtype: What products are computed in.
        wide: What is summed up in, float32 at least.
        query_xK: Queries, a table.
        value_xK: Values, a table.
        inverse_x1: One over the root mean square of each query, a table, wide.
        row_S: Row of the position in each slot of the line.
        slot_HRL: Slot of the line where each position stands in each round, int32.
        slot_xR: The same by row of the tables.
    """

    def __init__(
        self,
        first_part: int,
        inputs: Inputs,
        position_BHRS: Tensor,
        options: Options,
        scratch: Scratch,
    ) -> None:
        self._first_part, self.options, self.scratch = first_part, options, scratch
        query_BHLK, value_BHLK, bucket_BHRL, valid_BL = inputs
        self.dtype = torch.float32 if query_BHLK.dtype == torch.float16 else query_BHLK.dtype
        self.wide = torch.promote_types(self.dtype, torch.float32)
        batch, heads, n_rounds, length = bucket_BHRL.shape
        self.line = Line(Grid(options.window, n_rounds, length), batch * heads)
        self.blocks = self.line.blocks()
        self.query_xK, self.value_xK = self.table("query", query_BHLK), self.table("value", value_BHLK)
        self.inverse_x1 = self._inverse()
        position_HRS = position_BHRS.flatten(0, 1)
        first_H11 = torch.arange(batch * heads, dtype=torch.int32, device=query_BHLK.device)[:, None, None] * length
        self.row_S = self.line.laid(position_HRS + first_H11, 0)
        self.slot_HRL = self.line.slots(position_HRS)
        self.slot_xR = self.slot_HRL.transpose(1, 2).flatten(0, 1)
        self._key_scale_S1 = (self.inverse_x1 * self.key_factor).index_select(0, self.row_S)
        self._set_places(position_HRS, valid_BL, heads)
        if options.same_bucket_only:
            self._label_S1 = self._labels(bucket_BHRL.flatten(0, 1), position_HRS)[:, None]
        if options.deduplicate:
            self._rounds = _by_row(HashRounds.of(bucket_BHRL, position_BHRS.long(), options.window))

    @property
    def key_factor(self) -> float:
        """What a query over its root mean square is multiplied with to give its key."""
        return float(self.query_xK.shape[1] ** -0.5 * self.options.score_scale)

    def table(self, name: str, x_BHLK: Tensor) -> Tensor:
        """Rows by position: the tensor itself if it can, or a copy that the next group overwrites."""
        x_xK = x_BHLK.reshape(-1, x_BHLK.shape[-1])
        # Rows with gaps between their numbers are summed up in another order, and layouts must not change a bit.
        usable = x_xK.dtype == self.dtype and x_xK.stride(1) == 1
        return x_xK if usable else self.scratch.copy(name, x_xK, self.dtype)

    def gathered(self, name: str, table_xK: Tensor, slots: slice) -> Tensor:
        """Rows of a table by slot, in memory that the next call with this name overwrites."""
        row_x = self.row_S[slots]
        out = self.scratch(name, (row_x.shape[0], table_xK.shape[1]), table_xK.dtype)
        return torch.index_select(table_xK, 0, row_x, out=out)

    def widened(self, name: str, x: Tensor) -> Tensor:
        """The tensor in the type that is summed up in; a copy, if any, is overwritten by the next of this name."""
        return x if x.dtype == self.wide else self.scratch.copy(f"wide {name}", x, self.wide)

    def narrowed(self, name: str, x: Tensor) -> Tensor:
        """The tensor in the type that products are computed in; a copy as in `widened`."""
        return x if x.dtype == self.dtype else self.scratch.copy(f"narrow {name}", x, self.dtype)

    def queries_and_keys(self, block: Block) -> tuple[Tensor, Tensor]:
        """query_CWK and key_CMK of a block."""
        query_xK = self.gathered("queries", self.query_xK, block.keys)
        key_xK = self.scratch("keys", query_xK.shape, self.dtype)
        torch.mul(query_xK, self._key_scale_S1[block.keys], out=key_xK)
        return block.own(query_xK), self._windows("keys", key_xK, block)

    def values(self, block: Block) -> Tensor:
        """value_CMK of a block."""
        return self._windows("values", self.gathered("values", self.value_xK, block.keys), block)

    def _windows(self, name: str, x_xK: Tensor, block: Block) -> Tensor:
        overlapping_CMK = block.by_window(x_xK)
        if self.dtype == self.wide:
            return overlapping_CMK
        # Products of half precision lose a third of their speed on matrices that overlap; copying takes a tenth.
        return self.scratch.copy(f"{name} of windows", overlapping_CMK, self.dtype)

    def scores(self, block: Block, query_CWK: Tensor, key_CMK: Tensor) -> Tensor:
        """Each query's scores, far below any real one where a key is hidden; overwritten by the next block's.

        Returns:
            score_CWM, wide.
        """
        score_CWM = self.scratch("score", block.score_shape, self.dtype)
        score_CWM = self.widened("score", torch.bmm(query_CWK, key_CMK.mT, out=score_CWM))
        torch.minimum(score_CWM, self._bounds(block), out=score_CWM)
        if self.options.deduplicate:
            score_CWM.sub_(self._times_met(block).clamp_(min=1).to(self.wide).log_())
        if self.options.same_bucket_only:
            query_label_CW1 = block.by_chunk(self._label_S1[block.queries])
            alike = query_label_CW1 == block.by_window(self._label_S1[block.keys]).mT
            score_CWM.masked_fill_(~alike, HIDDEN)
        return score_CWM

    def product_into(self, out_CxK: Tensor, left: Tensor, right: Tensor) -> None:
        """The product of two batches of matrices, computed in their type, in the wide type of `out_CxK`."""
        if self.dtype == self.wide:
            torch.bmm(left, right, out=out_CxK)
        else:
            out_CxK.copy_(torch.bmm(left, right, out=self.scratch("product", out_CxK.shape, self.dtype)))

    def dropped(self, weight_CWM: Tensor, block: Block) -> Tensor:
        """A block's weights, or their gradients, with what dropout takes away of them."""
        dropped_CWM: Tensor = self.options.drop(weight_CWM, self._part(block.number))
        return dropped_CWM

    def alone(self, lse_HRL: Tensor) -> tuple[Tensor, Tensor]:
        """Which positions see nothing but themselves in any round, and what dropout leaves of that.

        Returns:
            Their rows, and weight_x1.
        """
        alone_x = (lse_HRL == NOTHING_SEEN).all(dim=1).flatten().nonzero().squeeze(-1)
        weight_Rx = torch.ones(lse_HRL.shape[1], len(alone_x), dtype=self.wide, device=alone_x.device)
        return alone_x, self.options.drop(weight_Rx, self._part(-1)).mean(dim=0)[:, None]

    @property
    def next_part(self) -> int:
        """The number of the first part of the next group's dropout."""
        return self._part(len(self.blocks))

    def _part(self, block: int) -> int:
        # Not spread out over 64 bits: PyTorch's generator on the CPU makes nothing of a seed's upper half.
        return self._first_part + 1 + block

    def _inverse(self) -> Tensor:
        norm_x1 = torch.linalg.vector_norm(self.query_xK, dim=-1, keepdim=True, dtype=self.wide)
        mean_square_x1: Tensor = norm_x1.square_().div_(self.query_xK.shape[1])
        return mean_square_x1.add_(scores.KEY_EPSILON).rsqrt_()

    def _set_places(self, position_HRS: Tensor, valid_BL: Tensor | None, heads: int) -> None:
        """Numbers for queries and keys whose difference bounds their score; free slots stand behind everything."""
        position_S1 = self.line.laid(position_HRS, position_HRS.shape[-1])[:, None]
        place_S1 = position_S1.to(self.wide).mul_(2 * FAR)
        hidden_S1 = position_S1 == position_HRS.shape[-1]
        if valid_BL is not None:
            valid_x = valid_BL.repeat_interleave(heads, dim=0).flatten()
            hidden_S1 |= ~valid_x.index_select(0, self.row_S)[:, None]
        if self.options.causal:
            # Where no query looks.
            self._query_place_S1, self._key_place_S1 = place_S1 - FAR, place_S1.masked_fill(hidden_S1, -HIDDEN)
        else:
            self._query_place_S1 = self._key_place_S1 = place_S1
            self._key_hidden_S1 = hidden_S1.to(self.wide).mul_(HIDDEN)

    def _bounds(self, block: Block) -> Tensor:
        """Above any score where a query may see a key, below any where it may not, bound_CWM.

        Causal: (2 q - 1 - 2 k) FAR, negative from k = q on. Otherwise (2 |q - k| - 1) FAR, negative at k = q only.
        """
        query_CW1 = block.by_chunk(self._query_place_S1[block.queries])
        key_C1M = block.by_window(self._key_place_S1[block.keys]).mT
        bound_CWM = torch.sub(query_CW1, key_C1M, out=self.scratch("bound", block.score_shape, self.wide))
        if not self.options.causal:
            bound_CWM.abs_().sub_(FAR).add_(block.by_window(self._key_hidden_S1[block.keys]).mT)
        return bound_CWM

    def _labels(self, bucket_HRL: Tensor, position_HRS: Tensor) -> Tensor:
        """A number for each slot that two slots share if they hold the same bucket of the same round, label_S."""
        return self.line.laid(label_buckets(bucket_HRL).gather(2, position_HRS.long()), -1)

    def _times_met(self, block: Block) -> Tensor:
        row_S1 = self.row_S[:, None].long()
        query_CW = block.by_chunk(row_S1[block.queries]).squeeze(-1)
        key_CM = block.by_window(row_S1[block.keys]).squeeze(-1)
        return self._rounds.times_met(query_CW[None, None], key_CM[None, None], self.options.same_bucket_only)[0, 0]


def summed(rows_xK: Tensor, row_yz: Tensor, weight_yz: Tensor | None = None) -> Tensor:
    """Sums of rows, [y, K], each row times its weight: what an embedding bag is, and ten times as fast as gathering."""
    sum_yK: Tensor = F.embedding_bag(row_yz, rows_xK, mode="sum", per_sample_weights=weight_yz)
    return sum_yK


def _by_row(rounds: HashRounds) -> HashRounds:
    """Where every row of a table stands in every round, as if all heads were one: B and H are one."""
    bucket_11Rx, slot_11Rx = (
        x_BHRL.flatten(0, 1).transpose(0, 1).flatten(1)[None, None] for x_BHRL in (rounds.bucket_BHRL, rounds.slot_BHRL)
    )
    return rounds._replace(bucket_BHRL=bucket_11Rx, slot_BHRL=slot_11Rx)
