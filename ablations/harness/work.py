"""The least that a step must do, and the least time that it can take on a machine: counted, and over what was measured.

What it assumes:
- Operations are those of matrix products alone, and none is done twice: two products of scores and values forward, four
  for their gradients. Of LSH attention every pair of a window counts, masked or not: masked pairs lie scattered.
- Bytes are those of what a step is given and what it hands over, and of the weights of a whole model's linear maps and
  their gradients, each once: all else may stay on the processor.
- These pass memory, at the rate of a copy: what is small enough to lie in a cache from one step to the next passes
  faster, and a time below the floor is then no error.

Rates of a machine are measured on it; no table of what makers promise is in here.

Counts are per position and head ("token-head"), for windows of w chunks of C positions, R rounds, head width D and s
bytes a number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, assert_never

from ablations.harness.cell import Cell
from ablations.harness.measurement import Ceilings
from ablations.harness.record import Record
from reformer.config import (
    AnyAttention,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
)

NUMBER_BYTES: Mapping[str, int] = MappingProxyType({"float32": 4, "bfloat16": 2, "float16": 2})
STATISTIC_BYTES = POSITION_BYTES = 4
"""Log-sum-exps and the like are float32, positions int32."""
BUCKET_BYTES = 2
"""Of a bucket's number where there are few enough; else it takes four."""
PASSES: Mapping[str, int] = MappingProxyType(
    {"forward": 1, "forward_recorded": 1, "backward": 2, "forward_backward": 3, "training_step": 3, "decode": 1}
)
"""How often the products of a forward pass are done in a step of each mode: twice as often for their gradients."""

Bound = Literal["compute", "memory"]
"""Which of the two takes longer at the ceiling: a step's operations, or its bytes."""


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

    def bound(self, work: Work, dtype: str) -> Bound | None:
        """What makes it so; `None` as in `seconds`."""
        rate = self.flops_per_second.get(dtype)
        if rate is None:
            return None
        return "compute" if work.flops / rate >= work.bytes / self.bytes_per_second else "memory"

    def utilisation(self, work: Work, dtype: str, seconds: float) -> float | None:
        """Operations of the work over what the fastest product does in this time; `None` as in `seconds`."""
        rate = self.flops_per_second.get(dtype)
        return None if rate is None else work.flops / seconds / rate


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

    Of a whole model: matrix products without any recomputation, what goes into and comes out of attention, and the
    weights. Everything else that it reads and writes comes on top, and so does the optimiser. What another package's
    contender must do is not known: none of it counts.
    """
    if cell.is_outside:
        return NO_WORK
    tokens = cell.batch * (1 if cell.mode == "decode" else cell.length)
    attention = [_attention(cell, one).times(tokens * cell.config.n_heads) for one in cell.config.attentions]
    total = sum(attention, NO_WORK)
    return total if cell.scope == "attention" else total + _linear(cell, tokens)


def _attention(cell: Cell, attention: AnyAttention) -> Work:
    """Per token-head. The gradients have twice the products, and as many vectors as what they are gradients of."""
    config, passes, keys = cell.config, PASSES[cell.mode], _keys_seen(cell, attention)
    hashing = _hash_flops(cell, attention) if isinstance(attention, LSHAttention) and cell.mode != "backward" else 0.0
    vectors = _vectors(cell, attention) + (2 * keys if cell.mode == "decode" else 0)
    return Work(hashing + 4.0 * config.d_head * keys * passes, vectors * config.d_head * NUMBER_BYTES[cell.dtype])


def _vectors(cell: Cell, attention: AnyAttention) -> int:
    """That a step is given and hands over for each token-head: queries, keys, values, results; then their gradients."""
    vectors = 3 if attention.share_qk else 4
    match PASSES[cell.mode]:
        case 1:
            return vectors
        case 2:
            # It is not given the results: only their gradient.
            return 2 * vectors - 1
        case _:
            return 2 * vectors


def _keys_seen(cell: Cell, attention: AnyAttention) -> float:
    """By a query, in all rounds: half of all if causal, or whole windows; by the last one, all."""
    match attention:
        case LSHAttention():
            return float(_window_len(cell, attention) * attention.n_hashes)
        case LocalAttention():
            return float(_window_len(cell, attention))
        case DenseAttention() | QueryChunkedAttention() | FusedAttention():
            return cell.length / (2 if cell.config.causal and cell.mode != "decode" else 1)
        case _:
            assert_never(attention)


def _window_len(cell: Cell, attention: LSHAttention | LocalAttention) -> int:
    window = 1 + attention.n_chunks_before + attention.n_chunks_after
    return min(cell.length, window * attention.chunk_len)


def _hash_flops(cell: Cell, attention: LSHAttention) -> float:
    return 2.0 * cell.config.d_head * hash_directions(cell, attention) * attention.n_hashes


def hash_directions(cell: Cell, attention: LSHAttention) -> int:
    """Directions that a vector is multiplied with in each round: half as many as there are buckets in each factor.

    lucidrains has no factors and no bucket count of its own: it hashes into one bucket for each chunk.
    """
    if cell.implementation == "lucidrains":
        return cell.length // attention.chunk_len // 2
    return sum(attention.n_buckets or ()) // 2


def lsh_parts(cell: Cell, attention: LSHAttention) -> Mapping[str, Work]:
    """The parts of one step by name, per token-head, as our kernels divide it.

    Each part reads what it needs once and writes what it hands over once: more than a whole step has to, since what
    passes between parts passes memory, but no more than a part has to. The backward pass recomputes the scores: five
    products where the forward pass has two. `rows` takes the lengths of keys before the forward pass, and what each
    row needs beside them before the backward pass; `combine` and `sum` add up rounds and cost nothing with one.
    """
    rounds, vector = attention.n_hashes, cell.config.d_head * NUMBER_BYTES[cell.dtype]
    forward, several = 4.0 * cell.config.d_head * _keys_seen(cell, attention), rounds > 1
    per_round, positions = rounds * (vector + STATISTIC_BYTES), rounds * POSITION_BYTES
    parts = {
        "hash": Work(_hash_flops(cell, attention), vector + rounds * BUCKET_BYTES),
        "sort": Work(0.0, rounds * BUCKET_BYTES + positions),
        "rows": Work(0.0, vector + STATISTIC_BYTES),
        "forward": Work(forward, 2 * vector + STATISTIC_BYTES + positions + per_round),
        "combine": Work(0.0, several * (per_round + vector + STATISTIC_BYTES)),
    }
    if cell.mode == "forward":
        return parts
    return parts | {
        "rows": parts["rows"] + Work(0.0, 2 * vector + STATISTIC_BYTES),
        "backward": Work(2.5 * forward, 3 * vector + 3 * STATISTIC_BYTES + positions + 2 * vector * rounds),
        "sum": Work(0.0, several * (2 * vector * rounds + 2 * vector)),
    }


def _linear(cell: Cell, tokens: int) -> Work:
    """The model's linear maps: projections, feed-forward halves and head. Weights are read, and gradients written."""
    config = cell.config
    projections = sum((3 if one.share_qk else 4) * config.n_heads * config.d_head for one in config.attentions)
    feed_forward = config.n_layers * 2 * config.d_ff
    weights = config.d_model * (projections + feed_forward) + config.d_merged * config.vocab_size
    passes = PASSES[cell.mode]
    return Work(2.0 * weights * tokens * passes, weights * NUMBER_BYTES[cell.dtype] * min(passes, 2))
