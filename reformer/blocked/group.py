"""Some heads of some examples: their rows by position, and the weights of a block of their chunks."""

import torch
from torch import Tensor
from torch.nn import functional as F

from reformer.blocked.blocks import Block, Line
from reformer.blocked.scratch import Scratch
from reformer.functional import scores
from reformer.functional.chunked import NOTHING_SEEN
from reformer.functional.lsh import HashRounds
from reformer.fused import Options

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

    Each head has a row for each position in a table, and one of zeros behind them, for slots that hold no position.

    Attributes:
        options: How attention is computed.
        line: The chunks of its heads in one line.
        blocks: The line in blocks.
        scratch: Memory that groups share.
        dtype: What products are computed in.
        wide: What is summed up in, float32 at least.
        query_SK: Queries by row.
        key_SK: Scaled keys by row.
        value_SK: Values by row.
        inverse_S1: One over the root mean square of each query, wide.
        query_row_x: Row of the query in each slot of the line.
        key_row_x: Row of the key in each slot of the line, and those beyond its end that the last window looks at.
        row_HL: Row of each position.
        slot_HRL: Slot of the line where each position stands in each round.
    """

    def __init__(
        self,
        first_part: int,
        query_BHLK: Tensor,
        value_BHLK: Tensor,
        rounds: HashRounds,
        valid_BL: Tensor | None,
        options: Options,
        scratch: Scratch,
    ) -> None:
        self._first_part, self.options, self.scratch = first_part, options, scratch
        self.dtype = torch.float32 if query_BHLK.dtype == torch.float16 else query_BHLK.dtype
        self.wide = torch.promote_types(self.dtype, torch.float32)
        batch, heads, length, _ = query_BHLK.shape
        self.line = Line(rounds.grid, batch * heads, query_BHLK.device)
        self.blocks = self.line.blocks()
        self.query_SK, self.value_SK = self.table("query", query_BHLK), self.table("value", value_BHLK)
        self.inverse_S1 = self._inverse()
        self.key_SK = self._keys()
        first_H11 = torch.arange(batch * heads, device=query_BHLK.device)[:, None, None] * (length + 1)
        self.row_HL = first_H11[:, 0] + torch.arange(length, device=query_BHLK.device)
        row_CW = (rounds.position_BHCW.flatten(0, 1) + first_H11).flatten(0, 1)
        self.query_row_x, self.key_row_x = self.line.of_queries(row_CW, length), self.line.of_keys(row_CW, length)
        own_slot_HRL = rounds.slot_BHRL.flatten(0, 1).int()
        self.slot_HRL, self._own_slot_HRL = self.line.slots(own_slot_HRL).long(), own_slot_HRL
        self._set_places(valid_BL, heads)
        self._by_row = _by_row(rounds) if options.deduplicate else None
        if options.same_bucket_only:
            label_CW = rounds.labels.flatten(0, 2)
            self._query_label_x, self._key_label_x = self.line.of_queries(label_CW, -1), self.line.of_keys(label_CW, -1)

    @property
    def key_factor(self) -> float:
        """What a query over its root mean square is multiplied with to give its key."""
        return float(self.query_SK.shape[1] ** -0.5 * self.options.score_scale)

    def table(self, name: str, x_BHLK: Tensor) -> Tensor:
        """Rows by position, head after head, in memory that the next group overwrites."""
        batch, heads, length, width = x_BHLK.shape
        table_BHSK = self.scratch(name, (batch, heads, length + 1, width), self.dtype)
        table_BHSK[:, :, :length].copy_(x_BHLK)
        table_BHSK[:, :, length].zero_()
        return table_BHSK.view(-1, width)

    def gathered(self, name: str, table_SK: Tensor, row_x: Tensor) -> Tensor:
        """Rows of a table, in memory that the next call with this name overwrites."""
        out = self.scratch(name, (row_x.shape[0], table_SK.shape[1]), table_SK.dtype)
        return torch.index_select(table_SK, 0, row_x, out=out)

    def widened(self, name: str, x: Tensor) -> Tensor:
        """The tensor in the type that is summed up in; a copy, if any, is overwritten by the next of this name."""
        return x if x.dtype == self.wide else self.scratch.copy(f"wide {name}", x, self.wide)

    def narrowed(self, name: str, x: Tensor) -> Tensor:
        """The tensor in the type that products are computed in; a copy as in `widened`."""
        return x if x.dtype == self.dtype else self.scratch.copy(f"narrow {name}", x, self.dtype)

    def queries(self, block: Block) -> Tensor:
        """query_CWK of a block."""
        return block.by_chunk(self.gathered("queries", self.query_SK, self.query_row_x[block.queries]))

    def keys(self, block: Block) -> Tensor:
        """key_CMK of a block."""
        return self._windows("keys", self.key_SK, block)

    def values(self, block: Block) -> Tensor:
        """value_CMK of a block."""
        return self._windows("values", self.value_SK, block)

    def _windows(self, name: str, table_SK: Tensor, block: Block) -> Tensor:
        overlapping_CMK = block.by_window(self.gathered(name, table_SK, self.key_row_x[block.keys]))
        if self.dtype == self.wide:
            return overlapping_CMK
        # Products of half precision lose a third of their speed on matrices that overlap; copying takes a tenth.
        return self.scratch.copy(f"{name} of windows", overlapping_CMK, self.dtype)

    def weights(self, block: Block, query_CWK: Tensor, key_CMK: Tensor) -> tuple[Tensor, Tensor]:
        """Each query's weights, normalised within its window, and its largest score.

        What is hidden has weight 0 exactly, unless its query sees nothing at all.

        Returns:
            weight_CWM and top_CW1, wide; the weights' memory is overwritten by the next call.
        """
        score_CWM = self.scratch("score", block.score_shape, self.dtype)
        score_CWM = self.widened("score", torch.bmm(query_CWK, key_CMK.mT, out=score_CWM))
        torch.minimum(score_CWM, self._bounds(block), out=score_CWM)
        if self._by_row is not None:
            score_CWM.sub_(self._times_met(self._by_row, block).clamp_(min=1).to(self.wide).log_())
        if self.options.same_bucket_only:
            query_label, key_label = self._query_label_x[block.queries], self._key_label_x[block.keys]
            alike = block.by_chunk(query_label[:, None]) == block.by_window(key_label[:, None]).mT
            score_CWM.masked_fill_(~alike, HIDDEN)
        top_CW1 = score_CWM.amax(dim=-1, keepdim=True)
        return torch.softmax(score_CWM, dim=-1, out=score_CWM), top_CW1

    def product_into(self, out_CxK: Tensor, left: Tensor, right: Tensor) -> None:
        """The product of two batches of matrices, computed in their type, in the wide type of `out_CxK`."""
        if self.dtype == self.wide:
            torch.bmm(left, right, out=out_CxK)
        else:
            out_CxK.copy_(torch.bmm(left, right, out=self.scratch("product", out_CxK.shape, self.dtype)))

    def window_rows(self) -> Tensor:
        """Rows of each position among those of all windows of the line, int32, [positions, R * windows]."""
        return self.line.windows(self._own_slot_HRL).transpose(1, 2).flatten(2).flatten(0, 1)

    def dropped(self, weight_CWM: Tensor, block: Block) -> Tensor:
        """A block's weights, or their gradients, with what dropout takes away of them."""
        dropped_CWM: Tensor = self.options.drop(weight_CWM, self._part(block.number))
        return dropped_CWM

    def alone(self, lse_HRL: Tensor) -> tuple[Tensor, Tensor]:
        """Which positions see nothing but themselves in any round, and what dropout leaves of that.

        Returns:
            Their numbers, counted through all heads, and weight_x1.
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
        norm_S1 = torch.linalg.vector_norm(self.query_SK, dim=-1, keepdim=True, dtype=self.wide)
        mean_square_S1: Tensor = norm_S1.square_().div_(self.query_SK.shape[1])
        return mean_square_S1.add_(scores.KEY_EPSILON).rsqrt_()

    def _keys(self) -> Tensor:
        factor_S1 = self.inverse_S1 * self.key_factor
        key_SK = self.scratch("key", self.query_SK.shape, self.wide)
        return self.narrowed("key", torch.mul(self.query_SK, factor_S1, out=key_SK))

    def _set_places(self, valid_BL: Tensor | None, heads: int) -> None:
        """Numbers for queries and keys whose difference bounds their score."""
        n_heads, length = self.row_HL.shape
        place_HS = (torch.arange(length + 1, device=self.row_HL.device, dtype=self.wide) * (2 * FAR)).repeat(n_heads, 1)
        hidden_HS = torch.zeros_like(place_HS, dtype=torch.bool)
        hidden_HS[:, length] = True
        if valid_BL is not None:
            hidden_HS[:, :length] = ~valid_BL.repeat_interleave(heads, dim=0)
        # Padding stands behind everything, where no causal query looks.
        query_place, key_place = (
            (place_HS - FAR, place_HS.masked_fill(hidden_HS, -HIDDEN)) if self.options.causal else (place_HS, place_HS)
        )
        self._query_place_x = query_place.flatten().index_select(0, self.query_row_x)[:, None]
        self._key_place_x = key_place.flatten().index_select(0, self.key_row_x)[:, None]
        self._key_hidden_x = (hidden_HS.to(self.wide) * HIDDEN).flatten().index_select(0, self.key_row_x)[:, None]

    def _bounds(self, block: Block) -> Tensor:
        """Above any score where a query may see a key, below any where it may not, bound_CWM.

        Causal: (2 q - 1 - 2 k) FAR, negative from k = q on. Otherwise (2 |q - k| - 1) FAR, negative at k = q only.
        """
        query_CW1 = block.by_chunk(self._query_place_x[block.queries])
        key_C1M = block.by_window(self._key_place_x[block.keys]).mT
        bound_CWM = torch.sub(query_CW1, key_C1M, out=self.scratch("bound", block.score_shape, self.wide))
        if not self.options.causal:
            bound_CWM.abs_().sub_(FAR).add_(block.by_window(self._key_hidden_x[block.keys]).mT)
        return bound_CWM

    def _times_met(self, rounds: HashRounds, block: Block) -> Tensor:
        query_CW = block.by_chunk(self.query_row_x[block.queries, None]).squeeze(-1)
        key_CM = block.by_window(self.key_row_x[block.keys, None]).squeeze(-1)
        return rounds.times_met(query_CW[None, None], key_CM[None, None], self.options.same_bucket_only)[0, 0]


def summed(rows_xK: Tensor, row_yz: Tensor, weight_yz: Tensor | None = None) -> Tensor:
    """Sums of rows, [y, K], each row times its weight: what an embedding bag is, and ten times as fast as gathering."""
    sum_yK: Tensor = F.embedding_bag(row_yz, rows_xK, mode="sum", per_sample_weights=weight_yz)
    return sum_yK


def _by_row(rounds: HashRounds) -> HashRounds:
    """Where every row stands in every round, as if all heads were one: B and H are one."""
    bucket_11RS, slot_11RS = (
        F.pad(x_BHRL.flatten(0, 1), (0, 1)).transpose(0, 1).flatten(1)[None, None]
        for x_BHRL in (rounds.bucket_BHRL, rounds.slot_BHRL)
    )
    return rounds._replace(bucket_BHRL=bucket_11RS, slot_BHRL=slot_11RS)
