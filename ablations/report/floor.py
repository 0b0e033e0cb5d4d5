"""The least time a step can take on a machine: its operations and bytes over what the machine can do at most.

Counts are per position and head ("token-head"), for windows of w chunks of C positions, R rounds, head width D and s
bytes a number. Of LSH attention they are those of a design that gathers by index, writes each round's output once, and
recomputes weights in the backward pass from what every round saw: no sorted copies, nothing of size R * C in memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ablations.harness.cell import Cell
from ablations.harness.record import Ceilings, Record
from reformer.config import AnyAttention, LSHAttention

NUMBER_BYTES: Mapping[str, int] = MappingProxyType({"float32": 4, "bfloat16": 2, "float16": 2})
STATISTIC_BYTES = 4
"""Log-sum-exps and the like are float32, positions int32."""


class Work(NamedTuple):
    """Floating-point operations of matrix products, and bytes that pass between memory and processor."""

    flops: float
    bytes: float

    def __add__(self, other: object) -> "Work":
        """Both, one after the other."""
        if not isinstance(other, Work):
            return NotImplemented
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def times(self, factor: float) -> "Work":
        """So many of it."""
        return Work(self.flops * factor, self.bytes * factor)


NO_WORK = Work(0.0, 0.0)


@dataclass(frozen=True)
class Ceiling:
    """What a machine did at most.

    Attributes:
        flops_per_second: Of the fastest large matrix product in each type of number.
        bytes_per_second: Read and written while a large tensor was copied.
    """

    flops_per_second: Mapping[str, float]
    bytes_per_second: float

    def seconds(self, work: Work, dtype: str) -> float | None:
        """The least that the work can take; `None` if the ceiling of that type was not measured."""
        rate = self.flops_per_second.get(dtype)
        return None if rate is None else max(work.flops / rate, work.bytes / self.bytes_per_second)


def ceiling_of(records: Iterable[Record]) -> Ceiling | None:
    """The best that any of the records measured, or `None` if none measured a ceiling."""
    found = [(record.cell.dtype, record.measurement) for record in records if isinstance(record.measurement, Ceilings)]
    if not found:
        return None
    rates: dict[str, float] = {}
    for dtype, ceilings in found:
        rates[dtype] = max(rates.get(dtype, 0.0), matrix_rate(ceilings))
    return Ceiling(rates, max(copy_rate(ceilings) for _, ceilings in found))


def matrix_rate(ceilings: Ceilings) -> float:
    """Operations a second of the fastest product."""
    return max(2 * product.width**3 / min(product.seconds) for product in ceilings.products)


def copy_rate(ceilings: Ceilings) -> float:
    """Bytes a second of the fastest copy: it reads and writes."""
    return 2 * ceilings.copy_bytes / min(ceilings.copy_seconds)


def work_of(cell: Cell) -> Work:
    """What one step of the cell must do, whoever's code does it.

    Of a whole model: matrix products without any recomputation, and the memory traffic of attention alone. Everything
    else that it reads and writes comes on top, and so does the optimiser.
    """
    backward = cell.mode != "forward"
    token_heads = cell.batch * cell.length * cell.config.n_heads
    attention = [_attention(cell, one, backward=backward).times(token_heads) for one in cell.config.attentions]
    total = sum(attention, NO_WORK)
    return total if cell.scope == "attention" else total + _linear(cell).times(3 if backward else 1)


def _attention(cell: Cell, attention: AnyAttention, *, backward: bool) -> Work:
    size = NUMBER_BYTES[cell.dtype]
    if not isinstance(attention, LSHAttention):
        return dense_work(cell.length, cell.config.d_head, size, causal=cell.config.causal, backward=backward)
    parts = lsh_parts(attention, cell.config.d_head, size)
    return sum((parts[name] for name in (LSH_PARTS if backward else FORWARD_PARTS)), NO_WORK)


FORWARD_PARTS = ("hash", "sort", "forward", "combine")
LSH_PARTS = (*FORWARD_PARTS, "delta", "backward", "sum")


def lsh_parts(attention: LSHAttention, d_head: int, size: int) -> Mapping[str, Work]:
    """The parts of one step by name, per token-head.

    `combine` and `sum` add up rounds and cost nothing with one. The backward pass recomputes the scores: five products
    where the forward pass has two.
    """
    rounds, window = attention.n_hashes, 1 + attention.n_chunks_before + attention.n_chunks_after
    forward = 4.0 * window * attention.chunk_len * d_head * rounds
    vector, several = d_head * size, rounds > 1
    per_round = rounds * (vector + STATISTIC_BYTES)
    return {
        "hash": Work(d_head * sum(attention.n_buckets or ()) * rounds, vector + 2 * rounds + STATISTIC_BYTES),
        "sort": Work(0.0, 16 * rounds),
        "forward": Work(forward, 2 * vector + 12 * rounds + per_round),
        "combine": Work(0.0, several * (per_round + vector + STATISTIC_BYTES)),
        "delta": Work(0.0, 2 * vector + STATISTIC_BYTES),
        "backward": Work(2.5 * forward, 3 * vector + 20 * rounds + 2 * vector * rounds),
        "sum": Work(0.0, several * (2 * vector * rounds + 2 * vector)),
    }


def dense_work(length: int, d_head: int, size: int, *, causal: bool, backward: bool) -> Work:
    """Dense attention per token-head: half of all pairs if causal, no scores in memory."""
    forward = 4.0 * length * d_head / (2 if causal else 1)
    vector = d_head * size
    once = Work(forward, 4 * vector + STATISTIC_BYTES)
    return once + Work(2.5 * forward, 8 * vector + 2 * STATISTIC_BYTES) if backward else once


def _linear(cell: Cell) -> Work:
    """The model's linear maps in one forward pass: projections, feed-forward halves and head."""
    config = cell.config
    projections = sum((3 if one.share_qk else 4) * config.n_heads * config.d_head for one in config.attentions)
    feed_forward = config.n_layers * 2 * config.d_ff
    per_token = 2 * config.d_model * (projections + feed_forward) + 2 * config.d_merged * config.vocab_size
    return Work(float(cell.batch * cell.length * per_token), 0.0)
