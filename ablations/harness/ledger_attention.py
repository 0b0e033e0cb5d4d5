"""What attention of our models keeps and needs, in bytes: dense attention, and LSH attention in blocks.

`ledger` says what surrounds it. Of the moments within a half the one that holds most is, in the backward pass of dense
attention, that of the softmax: weights, their gradient, and the scores' gradient; of LSH attention in blocks the end of
the last block, when the sums over rounds are taken while all scratch memory is still held. In the forward pass it is
the product of weights and values.
"""

import math
from typing import NamedTuple

from ablations.harness.ledger_sizes import FLOAT, INDEX, Sizes
from reformer.config import AnyAttention, DenseAttention, LSHAttention

SCORES = 2**19
"""As `reformer.blocked.blocks.SCORES`, which cannot be imported without torch; a test compares them."""

ROWS = 2**12
"""As `reformer.blocked.lsh.ROWS`, likewise."""

PLACE = 4
"""Of a slot or position in int32."""

WIDEST_SHORT = 2**15 - 1
"""Buckets that int16 can number."""


class AttentionBytes(NamedTuple):
    """Of one layer's attention.

    Attributes:
        kept: Floats, and masks, that are kept for the backward pass, without its norm.
        buckets: Bucket of each position in each round, which a reversible layer keeps too.
        orders: Other integers that are kept.
        forward: The most that it holds beside its norm's result while it runs without gradients.
        backward: The most that its backward pass holds above what was kept; negative where that was used up before.
    """

    kept: int
    buckets: int
    orders: int
    forward: int
    backward: int


def attention_of(sizes: Sizes, attention: AnyAttention) -> AttentionBytes:
    """The bytes of a layer with this attention, which must be dense or LSH."""
    match attention:
        case DenseAttention():
            return _dense(sizes)
        case LSHAttention():
            return _Blocked(sizes, attention).bytes
        case _:
            raise AssertionError(f"{attention.kind!r} is not predicted, and predicted() says so before")


def _dense(sizes: Sizes) -> AttentionBytes:
    scores = FLOAT * sizes.batch * sizes.n_heads * sizes.length**2
    mask = sizes.length**2
    # Heads that do not lie as a batch of matrices in memory are copied for their products.
    copied = sizes.heads if sizes.batch > 1 and sizes.n_heads > 1 else 0
    # Of each query: one over its root mean square, and that over sqrt(K).
    scales = 2 * FLOAT * sizes.batch * sizes.n_heads * sizes.length
    # Queries, keys, values and results; who is hidden and who sees nobody else; weights.
    kept = 4 * sizes.heads + copied + scales + 2 * mask + scores
    # Gradients of weights and of scores, and of values; values and results are gone.
    backward = 2 * scores + sizes.heads - 2 * sizes.heads
    # Queries, keys, values and results; who is seen, and who sees nobody; scores and weights; places of queries and
    # keys.
    forward = 4 * sizes.heads + copied + mask + sizes.length + 2 * scores + 2 * INDEX * sizes.length
    return AttentionBytes(kept, 0, 0, forward, backward)


class _Blocked:
    """LSH attention with `backend="blocked"`: named for what `reformer.blocked` calls it."""

    def __init__(self, sizes: Sizes, attention: LSHAttention) -> None:
        self._sizes, self._rounds = sizes, attention.n_hashes
        self._chunk_len = min(attention.chunk_len, sizes.length)
        per_round = -(-sizes.length // self._chunk_len)
        ring_len = self._rounds * per_round if attention.wrap == "across_rounds" else per_round
        width = attention.n_chunks_before + attention.n_chunks_after + 1
        self._n_seen = width if attention.wrap == "none" else min(width, ring_len)
        together = max(1, ROWS // (self._rounds * sizes.length))
        self._heads_together = min(sizes.n_heads, together)
        examples = min(sizes.batch, max(1, together // sizes.n_heads))
        self._group = examples * self._heads_together
        self._several = (examples, self._heads_together) != (sizes.batch, sizes.n_heads)
        rings = self._group * self._rounds * per_round // ring_len
        self._windows = rings * (ring_len + self._n_seen - 1)
        self._bucket = 2 if math.prod(attention.n_buckets or ()) <= WIDEST_SHORT else 4

    @property
    def bytes(self) -> AttentionBytes:
        """All of it."""
        sizes = self._sizes
        times = self._rounds * sizes.batch * sizes.n_heads * sizes.length
        lse, orders, buckets = FLOAT * times, PLACE * times, self._bucket * times
        # Queries, values and results.
        kept = 3 * sizes.heads + lse
        return AttentionBytes(
            kept=kept,
            buckets=buckets,
            orders=orders,
            forward=kept + orders + buckets + self._forward(),
            # The gradient of the results, and those of queries and values.
            backward=3 * sizes.heads + self._backward(),
        )

    @property
    def _n_slots(self) -> int:
        return (self._windows + self._n_seen - 1) * self._chunk_len

    @property
    def _rows(self) -> int:
        """Of a group of heads."""
        return self._group * self._sizes.length

    @property
    def _of_rows(self) -> int:
        """A vector for each row."""
        return FLOAT * self._rows * self._sizes.d_head

    @property
    def _of_slots(self) -> int:
        """A vector for each slot."""
        return FLOAT * self._n_slots * self._sizes.d_head

    @property
    def _in_block(self) -> int:
        return min(self._windows, max(1, SCORES // (self._chunk_len**2 * self._n_seen)))

    @property
    def _of_scores(self) -> int:
        return FLOAT * self._in_block * self._chunk_len**2 * self._n_seen

    @property
    def _of_keys(self) -> int:
        """A vector for each key of a block."""
        return FLOAT * (self._in_block + self._n_seen - 1) * self._chunk_len * self._sizes.d_head

    @property
    def _of_queries(self) -> int:
        """A vector for each query of a block."""
        return FLOAT * self._in_block * self._chunk_len * self._sizes.d_head

    @property
    def _table(self) -> int:
        """Several heads of an example lie side by side in memory: to be one table they are copied."""
        return self._of_rows if self._heads_together > 1 else 0

    @property
    def _held_by_group(self) -> int:
        """Tables of queries and values; a row, a scale and two places for each slot; a slot for each round of a row."""
        slots_of_rows = PLACE * self._rounds * self._rows * (2 if self._group > 1 and self._rounds > 1 else 1)
        return 2 * self._table + 4 * FLOAT * self._n_slots + slots_of_rows + FLOAT * self._rows

    @property
    def _next_group(self) -> int:
        """What the next group of heads holds, made while the last one's is still there with its log-sum-exps."""
        statistics = FLOAT * (self._n_slots + self._rounds * self._rows)
        return self._held_by_group + statistics if self._several else 0

    def _forward(self) -> int:
        # Scores and their bounds; queries, keys and values of a block; results and two statistics of each slot.
        scratch = 2 * self._of_scores + 3 * self._of_keys + self._of_slots + 2 * FLOAT * self._n_slots
        # What is combined of all rounds, with log-sum-exps by slot and by round, and shares by round and by row.
        combined = self._of_rows + FLOAT * (self._n_slots + 3 * self._rounds * self._rows)
        # A sum of rows is told the slots of each row, side by side, and where each row's begin, and counts them.
        told = PLACE * self._rows * (self._rounds + 3)
        return self._held_by_group + scratch + max(combined + told, self._next_group)

    def _backward(self) -> int:
        # Scores, bounds and gradients of weights; queries, keys and values of a block, and gradients of its results;
        # gradients of queries, keys and values of each slot; the product of results and their gradients.
        scratch = 3 * self._of_scores + 3 * self._of_keys + self._of_queries + 3 * self._of_slots + self._of_rows
        # Share and product of each slot. Gradients of values, queries and keys by row, a product of two of them, and a
        # scale for each row.
        sums = 2 * FLOAT * self._n_slots + 4 * self._of_rows + 2 * FLOAT * self._rows + self._table
        return self._held_by_group + scratch + max(sums, self._next_group)
