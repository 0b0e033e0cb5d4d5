"""Bytes of the tensors that a model of ours in float32 handles."""

from typing import NamedTuple, Self

from ablations.harness.cell import Cell

FLOAT = 4
INDEX = 8
"""Of int64."""


class Sizes(NamedTuple):
    """Letters as in `reformer`. Bytes, unless said otherwise.

    Attributes:
        batch: B, a count.
        length: L, a count.
        n_heads: H, a count.
        d_head: K, a count.
        stream: Of a residual stream, [B, L, D].
        heads: Of queries, keys or values, [B, H, L, K].
        hidden: Of the feed-forward half's hidden layer, [B, L, F].
        statistics: Mean and deviation of each position, as a norm keeps them.
        targets: Of the right tokens, and of whether each counts.
        logits: Of a chunk of positions.
        logits_chunk: Of what the output layer reads, for a chunk of positions.
        copies_chunk: Whether the loss copies that: chunks of several sequences do not lie side by side in memory.
    """

    batch: int
    length: int
    n_heads: int
    d_head: int
    stream: int
    heads: int
    hidden: int
    statistics: int
    targets: int
    logits: int
    logits_chunk: int
    copies_chunk: bool

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Of a step of the cell."""
        config, tokens = cell.config, cell.batch * cell.length
        chunk = cell.batch * min(cell.length, config.loss_chunk_len)
        return cls(
            batch=cell.batch,
            length=cell.length,
            n_heads=config.n_heads,
            d_head=config.d_head,
            stream=FLOAT * tokens * config.d_model,
            heads=FLOAT * tokens * config.n_heads * config.d_head,
            hidden=FLOAT * tokens * config.d_ff,
            statistics=2 * FLOAT * tokens,
            targets=(INDEX + 1) * tokens,
            logits=FLOAT * chunk * config.vocab_size,
            logits_chunk=FLOAT * chunk * config.d_model,
            copies_chunk=cell.batch > 1 and cell.length > config.loss_chunk_len,
        )

    @property
    def norm(self) -> int:
        """What a norm gives to its half, and keeps beside that."""
        return self.stream + self.statistics
