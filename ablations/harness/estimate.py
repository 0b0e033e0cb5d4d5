"""How long a cell will take and how much memory it needs, roughly, before it has run.

Of profile `paper-cpu`, on the two cores that the constants for a CPU were fitted on, each experiment of more than half
a minute takes what is said here within 30 %, `deep_and_long` aside, which takes longer; single cells, and other
machines, are within a factor of two or three. For a GPU nothing was checked. Never used in a result. Bytes are better
than that where `ledger` predicts them.
"""

import math
from typing import NamedTuple, assert_never

from ablations.harness.cell import (
    LSH_PEERS,
    Capacity,
    Ceiling,
    Cell,
    Device,
    Exactness,
    KernelTimes,
    PeakMemory,
    Scope,
    TimeStep,
)
from ablations.harness.ledger import Unpredicted, parameter_count, peak_of, predicted
from ablations.harness.training import Duplication, Learn, Multi30k
from reformer.config import (
    AnyAttention,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    ReformerConfig,
)

FLOPS: dict[Device, float] = {"cpu": 5e10, "cuda": 2e13}
"""Floating-point operations a second that plain PyTorch reaches on small machines of either kind, in float32."""
START_SECONDS = 0.3
STEP_SECONDS: dict[Device, float] = {"cpu": 0.006, "cuda": 0.005}
"""Overhead of a layer's forward and backward pass, whatever its size."""
TRAINING_FACTOR: dict[Device, float] = {"cpu": 1.3, "cuda": 1.0}
"""How much faster training runs compute than single steps that are timed: their batches are larger."""
WIDE_FACTOR = 4
"""How much faster wide matrices are multiplied on a CPU, and half-precision ones on a GPU."""
WIDE = 512
PEER_FACTOR: dict[Scope, float] = {"attention": 5, "model": 2}
"""How much longer a peer takes than ours, roughly; so may another package's contender."""
COMPILE_SECONDS = 20
WARM_UP_STEPS = 10
WARM_UP_SECONDS: dict[Device, float] = {"cpu": 0.1, "cuda": 1.2}
"""At least; on a GPU with the steps that are taken for the host's clock."""
ENERGY_SECONDS = 2.2
TRANSLATION_PASSES = 10
"""Forward passes that writing a translation token by token takes as long as."""
LEAST_SECONDS_FOR_ENERGY = 1.0
"""Of sampling: the counter needs two seconds of steps, no small part of a cell that is sampled for a third of one."""
LONGEST_WARM_UP_SECONDS = 6.0
FLOAT_BYTES = 4
TOO_MUCH = 1.5
"""What needs so many times its budget fails while its first step is under way."""
FORWARD_ONLY = frozenset({"forward", "forward_recorded", "decode"})
SCORE_COPIES = 3
"""Scores, weights and a temporary of the same size, at the peak."""
STREAM_COPIES = 14
"""Activations of width d_model that a layer keeps, next to its feed-forward hidden layer."""


class Estimate(NamedTuple):
    """What a cell needs.

    Attributes:
        seconds: For the whole cell.
        peak_bytes: At the peak of a step, above what is there before it.
        held_bytes: With parameters, gradients and the optimiser's state.
    """

    seconds: float
    peak_bytes: float
    held_bytes: float


def estimate(cell: Cell) -> Estimate:
    """What the cell will need."""
    if isinstance(cell.workload, Ceiling):
        flops = cell.workload.repeats * sum(2 * width**3 for width in cell.workload.widths)
        copied = 2 * cell.workload.copy_bytes
        return Estimate(START_SECONDS + flops / _rate(cell), copied, copied)
    peak = _peak_bytes(cell)
    held = peak + _state_bytes(cell)
    if isinstance(cell.workload, Capacity) and held > TOO_MUCH * (cell.workload.budget_bytes or math.inf):
        return Estimate(START_SECONDS, peak, held)
    tokens = cell.batch * cell.length
    forward = tokens * _forward_flops_per_token(cell) / _rate(cell)
    forward += STEP_SECONDS[cell.device] / 3 * cell.config.n_layers
    forward *= PEER_FACTOR[cell.scope] if cell.implementation in LSH_PEERS or cell.is_outside else 1
    start = START_SECONDS + (COMPILE_SECONDS if cell.implementation == "flex" else 0)
    return Estimate(start + _seconds(cell, forward), peak, held)


def _rate(cell: Cell) -> float:
    fast = cell.config.d_model >= WIDE if cell.device == "cpu" else cell.dtype != "float32"
    return FLOPS[cell.device] * (WIDE_FACTOR if fast else 1)


def _seconds(cell: Cell, forward: float) -> float:
    with_backward = forward * (3 if cell.config.residual in ("standard", "single_stream") else 4)
    match cell.workload:
        case TimeStep(mode=mode, min_samples=min_samples, seconds=seconds):
            # One token attends to as many positions as the last one of a whole text, and does what else that does.
            step = forward / cell.length if mode == "decode" else forward if mode in FORWARD_ONLY else with_backward
            once = 3 * forward + step + WARM_UP_SECONDS[cell.device]
            once += ENERGY_SECONDS if cell.device == "cuda" and seconds >= LEAST_SECONDS_FOR_ENERGY else 0
            return once + min(WARM_UP_STEPS * step, LONGEST_WARM_UP_SECONDS + step) + max(seconds, min_samples * step)
        case PeakMemory(mode=mode, resident=resident):
            return (3 if resident else 2) * (forward if mode in FORWARD_ONLY else with_backward)
        case KernelTimes(mode=mode, steps=steps):
            return (2 + steps) * (forward if mode in FORWARD_ONLY else with_backward)
        case Capacity(mode=mode):
            return 2 * (forward if mode in FORWARD_ONLY else with_backward)
        case Learn(task=task, recipe=recipe, evaluate_every=every, evaluation_windows=windows, conditions=conditions):
            evaluations = recipe.steps / every + len(conditions)
            passes = 2 if isinstance(task, Duplication) else 1
            translating = TRANSLATION_PASSES * task.translated if isinstance(task, Multi30k) else 0
            sequences = passes * evaluations * windows + translating
            return (recipe.steps * with_backward + sequences / cell.batch * forward) / TRAINING_FACTOR[cell.device]
        case Exactness(check=check):
            return {"inversion": 2 * forward, "chunking": 2 * with_backward, "parameters": 0.0}[check]
        case Ceiling():
            return 0.0
        case _:
            assert_never(cell.workload)


def _forward_flops_per_token(cell: Cell) -> float:
    config, length = cell.config, cell.length
    d_heads = config.n_heads * config.d_head
    projections = 2 * config.d_model * (3 * d_heads + 2 * config.d_ff)
    attention = sum(4 * d_heads * _keys_seen(one, length) + _hash_flops(one, d_heads) for one in config.attentions)
    if cell.scope == "attention":
        return attention
    return config.n_layers * projections + attention + 2 * config.d_model * config.vocab_size


def _hash_flops(attention: AnyAttention, d_heads: int) -> float:
    return d_heads * sum(attention.n_buckets or ()) * attention.n_hashes if isinstance(attention, LSHAttention) else 0


def _keys_seen(attention: AnyAttention, length: int) -> int:
    """Keys that each query is multiplied with, masked ones included."""
    match attention:
        case DenseAttention() | QueryChunkedAttention():
            return length
        case FusedAttention():
            return length // 2
        case LocalAttention():
            return min(length, attention.chunk_len * (1 + attention.n_chunks_before + attention.n_chunks_after))
        case LSHAttention():
            window = attention.chunk_len * (1 + attention.n_chunks_before + attention.n_chunks_after)
            return attention.n_hashes * min(length, window)
        case _:
            assert_never(attention)


def _state_bytes(cell: Cell) -> float:
    """Parameters, and what a step that trains them keeps beside them."""
    numbers = {"learn": 4, "forward": 1, "forward_backward": 2, "training_step": 4}.get(cell.mode, 2)
    return FLOAT_BYTES * numbers * parameter_count(cell.config) if cell.scope == "model" else 0.0


def _peak_bytes(cell: Cell) -> float:
    ledger = predicted(cell)
    return _rough_peak_bytes(cell) if isinstance(ledger, Unpredicted) else peak_of(ledger)


def _rough_peak_bytes(cell: Cell) -> float:
    config, tokens = cell.config, cell.batch * cell.length
    layers = [_layer_floats(config, attention, cell) for attention in config.attentions]
    forward_only = isinstance(cell.workload, (TimeStep, PeakMemory)) and cell.workload.mode == "forward"
    streams = (2 * config.n_layers if config.residual == "checkpointed" else 6) * tokens * config.d_model
    kept = max(layers) if forward_only or config.residual in ("reversible", "checkpointed") else sum(layers)
    return FLOAT_BYTES * (kept + streams)


def _layer_floats(config: ReformerConfig, attention: AnyAttention, cell: Cell) -> float:
    tokens = cell.batch * cell.length
    if isinstance(attention, FusedAttention):
        scores = 0.0
    elif isinstance(attention, QueryChunkedAttention):
        scores = SCORE_COPIES * config.n_heads * cell.batch * attention.query_chunk_len * cell.length
    else:
        scores = SCORE_COPIES * config.n_heads * tokens * _keys_seen(attention, cell.length)
    ff_tokens = min(cell.length, config.ff_chunk_len or cell.length) * cell.batch
    return scores + STREAM_COPIES * tokens * config.d_model + 2 * ff_tokens * config.d_ff
