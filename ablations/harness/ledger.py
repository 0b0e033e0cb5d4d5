"""What a step's peak should be made of, worked out from a cell alone: the account that a measurement is held against.

No constant here is fitted. Every term is the size of a tensor that the code of `reformer` holds at that moment, and the
peak is the largest of the few moments that can be it:

- the loss, while a chunk's logits are there;
- the backward pass of a feed-forward half, while its hidden layer, that layer's gradient and what comes of it through
  the activation are;
- the backward pass of attention, see `ablations.harness.ledger_attention`.

In a standard stack the topmost layer's halves are the ones: whatever lies below is still kept. In a reversible stack
every layer is tried: above the topmost one there is one gradient of both streams, above any other there are two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from ablations.harness.cell import Cell
from ablations.harness.ledger_attention import attention_of
from ablations.harness.ledger_sizes import FLOAT, INDEX, Sizes
from ablations.harness.measurement import Ledger
from reformer.config import (
    VARIANTS,
    AxialPositions,
    DenseAttention,
    LearnedPositions,
    LSHAttention,
    ReformerConfig,
    RotaryPositions,
    SinusoidalPositions,
)

ADAM_STATE = 2
"""Numbers that Adam keeps for each parameter; beside them it counts steps, once for each tensor."""

PREDICTED_MODES: frozenset[str] = frozenset({"forward", "forward_backward", "training_step"})


PLAIN = ("activation", "dropout", "ff_chunk_len", "causal", "merge", "tie_embeddings", "cross_attention", "grid_bits")
"""Fields of a config that a prediction takes for what they are by default."""


@dataclass(frozen=True)
class Unpredicted:
    """No prediction, and why."""

    because: str


def predicted(cell: Cell) -> Ledger | Unpredicted:
    """The ledger of one step of the cell, or why there is none.

    Parts are as `Ledger` describes them, for a step that is not the first: gradients and the optimiser's state exist.
    """
    if reason := _no_prediction(cell):
        return Unpredicted(reason)
    sizes = Sizes.of(cell)
    numbers, tensors = _parameters(cell.config)
    learns, trains = cell.mode != "forward", cell.mode == "training_step"
    streams, activations, buckets = _kept(sizes, cell.config) if learns else (0, 0, 0)
    moments = _moments(sizes, cell.config) if learns else _forward_moments(sizes, cell.config)
    return Ledger(
        parameters=FLOAT * numbers,
        gradients=FLOAT * numbers * learns,
        optimiser=FLOAT * (ADAM_STATE * numbers + tensors) * trains,
        streams=streams,
        activations=activations,
        buckets=buckets,
        transient=max(moments) - streams - activations - buckets,
    )


def peak_of(ledger: Ledger) -> int:
    """What a measurement calls the peak: all of it but what is there before a step begins."""
    return ledger.total - ledger.parameters - ledger.gradients - ledger.optimiser


def _no_prediction(cell: Cell) -> str | None:
    """Why there is none: the first thing about the cell that the account below does not know."""
    config = cell.config
    unknown = {
        "only whole models of ours are predicted": (cell.scope, cell.implementation) != ("model", "ours"),
        "what a GPU's allocator and kernels hold is not predicted": cell.device != "cpu",
        f"dtype={cell.dtype!r} is not predicted": cell.dtype != "float32",
        f"mode={cell.mode!r} is not predicted": cell.mode not in PREDICTED_MODES,
        f"variant {config.variant!r} is not predicted": config.variant not in VARIANTS,
        "only models with plain settings are predicted": not _is_plain(config),
        "of LSH attention only backend='blocked' with its usual options is predicted": any(
            isinstance(one, LSHAttention) and not _is_usual(one) for one in config.attentions
        ),
    }
    return next((reason for reason, holds in unknown.items() if holds), None)


def _is_plain(config: ReformerConfig) -> bool:
    """Without what adds tensors of its own: dropout, grids, chunks, a second input, another head or activation."""
    usual = ReformerConfig.model_fields
    rotary = isinstance(config.positions, RotaryPositions)
    drops = any(isinstance(one, DenseAttention | LSHAttention) and one.dropout for one in config.attentions)
    return not rotary and not drops and all(getattr(config, name) == usual[name].default for name in PLAIN)


def _is_usual(attention: LSHAttention) -> bool:
    """With nothing that adds masks, counts or kept outputs."""
    added = attention.same_bucket_only or attention.deduplicate or attention.save_attention_output
    return attention.backend == "blocked" and not added


def parameter_count(config: ReformerConfig) -> int:
    """Numbers in all parameters of a model with plain settings, and nearly so of any other."""
    return _parameters(config)[0]


def _parameters(config: ReformerConfig) -> tuple[int, int]:
    """Numbers in all parameters, and the tensors that they are in."""
    d_model, d_heads = config.d_model, config.n_heads * config.d_head
    tables = {
        "learned": (config.max_len * d_model, 1),
        "axial": _axial_tables(config),
        "sinusoidal": (0, 0),
    }[config.positions.kind]
    norm, projections = 2 * d_model, 3 * d_model * d_heads
    layer = 2 * norm + projections + _feed_forward_numbers(config)
    numbers = config.vocab_size * d_model + tables[0] + config.n_layers * layer + norm
    # Per layer: two norms of two, three projections, two linear maps of two. Then embedding, last norm and head.
    return numbers + (d_model + 1) * config.vocab_size, tables[1] + 11 * config.n_layers + 5


def _axial_tables(config: ReformerConfig) -> tuple[int, int]:
    if not isinstance(config.positions, AxialPositions):
        return 0, 0
    shape, dims = config.positions.shape, config.positions.dims
    return sum(size * width for size, width in zip(shape, dims, strict=True)), len(shape)


def _feed_forward_numbers(config: ReformerConfig) -> int:
    return 2 * config.d_model * config.d_ff + config.d_ff + config.d_model


def _position_indices(sizes: Sizes, config: ReformerConfig) -> int:
    """What the position tables were looked up with: the gradient of a table needs it."""
    match config.positions:
        case LearnedPositions():
            return INDEX * sizes.length
        case AxialPositions(shape=shape):
            return INDEX * sizes.length * len(shape)
        case SinusoidalPositions() | RotaryPositions():
            return 0
        case _:
            assert_never(config.positions)


def _head_gradients(config: ReformerConfig) -> int:
    """Of the output layer: the loss takes them while it has the logits, and keeps them for the backward pass."""
    return FLOAT * (config.d_model + 1) * config.vocab_size


def _kept(sizes: Sizes, config: ReformerConfig) -> tuple[int, int, int]:
    """Streams, other floats and integers that are kept at the end of the forward pass."""
    attentions = [attention_of(sizes, one) for one in config.attentions]
    # The merged streams, which the last norm has read, and their gradient.
    activations = sizes.statistics + sizes.stream + _head_gradients(config)
    indices = _position_indices(sizes, config)
    if config.residual == "reversible":
        return 3 * sizes.stream, activations, indices + sum(one.buckets for one in attentions)
    activations += sum(one.kept + 2 * sizes.norm + 2 * sizes.hidden for one in attentions)
    indices += sum(one.buckets + one.orders for one in attentions)
    return (2 * config.n_layers + 1) * sizes.stream, activations, indices


def _moments(sizes: Sizes, config: ReformerConfig) -> Iterator[int]:
    """Bytes alive at each moment of a step with gradients that may be its peak."""
    yield (
        sum(_kept(sizes, config))
        + sizes.stream
        + sizes.targets
        + sizes.logits
        + (1 + sizes.copies_chunk) * sizes.logits_chunk
    )
    if config.residual == "reversible":
        for depth in range(config.n_layers):
            yield from _reversible_moments(sizes, config, depth)
    else:
        yield from _standard_moments(sizes, config)


def _standard_moments(sizes: Sizes, config: ReformerConfig) -> Iterator[int]:
    """The backward pass of the topmost layer: what is kept of it, less what was used up, and gradients."""
    streams, activations, indices = _kept(sizes, config)
    # The last norm is done with: the merged streams, what it kept of them, and the output layer's gradients are gone.
    left = streams + activations + indices - 2 * sizes.stream - sizes.statistics - _head_gradients(config)
    weights = FLOAT * config.d_model * config.d_ff
    # Of the two hidden layers that it keeps, and the gradient of one.
    yield left + sizes.stream + sizes.hidden + weights
    top = attention_of(sizes, config.attentions[-1])
    # The feed-forward half is done with, and the stream that it has read. Both streams have gradients of their own; in
    # a single layer both are the embedding, and their gradients are one sum.
    left -= sizes.norm + 2 * sizes.hidden + sizes.stream
    yield left + min(2, config.n_layers) * sizes.stream + top.backward


def _reversible_moments(sizes: Sizes, config: ReformerConfig, depth: int) -> Iterator[int]:
    """The backward pass of one layer, recomputed from the streams above it."""
    attentions = [attention_of(sizes, one) for one in config.attentions[: depth + 1]]
    present = _position_indices(sizes, config) + sum(one.buckets for one in attentions)
    # Of both streams above the layer: one and the same where both come out of the merge.
    present += (1 if depth == config.n_layers - 1 else 2) * sizes.stream
    # Both streams, the branch that was taken off one of them, and what its norm gave.
    rebuilt = 3 * sizes.stream + sizes.norm
    yield present + rebuilt + 3 * sizes.hidden + FLOAT * config.d_model * config.d_ff
    # The feed-forward half's gradients wait for the layer's end: of its stream, its parameters and its norm's. So does
    # that of the attention half's last projection, which comes first.
    projection = config.d_model * config.n_heads * config.d_head
    waiting = sizes.stream + FLOAT * (_feed_forward_numbers(config) + 2 * config.d_model + projection)
    here = attentions[-1]
    yield present + rebuilt + waiting + here.orders + here.kept + here.backward


def _forward_moments(sizes: Sizes, config: ReformerConfig) -> Iterator[int]:
    """Bytes alive at each moment of a step without gradients that may be its peak."""
    # Hidden vectors, a chunk's logits, and their logarithms.
    yield sizes.stream + sizes.targets + 2 * sizes.logits + sizes.copies_chunk * sizes.logits_chunk
    # Where each token stands, and the buckets of the layers so far, which are dropped with the last of them.
    present = INDEX * sizes.length
    for depth, one in enumerate(attention_of(sizes, attention) for attention in config.attentions):
        # The embedding, and from the second layer on both streams as they entered the layer.
        present_here = present + (3 if depth else 1) * sizes.stream
        yield present_here + sizes.stream + one.forward
        present, present_here = present + one.buckets, present_here + one.buckets
        # The sum that the attention half made. The hidden layer before and after its activation.
        yield present_here + 2 * sizes.stream + 2 * sizes.hidden
