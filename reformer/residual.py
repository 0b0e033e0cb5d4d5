"""The residual switch: how layers are chained, and what is kept for the backward pass."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import assert_never

import torch
from torch import Tensor

from reformer.config import ReformerConfig
from reformer.reversible import (
    Layer,
    Run,
    checkpointed_sequence,
    on_grid_sequence,
    plain_sequence,
    reversible_sequence,
    run_half,
)

Stack = Callable[[Sequence[Layer], Tensor], Tensor]
"""Layers bound to one call, and the embedding of shape BLD, to the merged stream that the head reads."""


def stack_for(config: ReformerConfig) -> Stack:
    """The function that chains layers as the config says."""
    merge = concatenated if config.merge == "concatenate" else mean
    match config.residual:
        case "standard":
            return partial(_two_streams, summing(config, plain_sequence), merge)
        case "checkpointed":
            return partial(_two_streams, summing(config, checkpointed_sequence), merge)
        case "reversible":
            return partial(_two_streams, summing(config, reversible_sequence), merge)
        case "single_stream":
            return single_stream_stack
        case _:
            assert_never(config.residual)


Merge = Callable[[Tensor, Tensor], Tensor]


def summing(config: ReformerConfig, run: Run) -> Run:
    """The sequence with sums as the config says: as they round, or exact ones on a grid."""
    return run if config.grid_bits is None else on_grid_sequence(run, config.grid_bits)


def _two_streams(run: Run, merge: Merge, layers: Sequence[Layer], x_BLD: Tensor) -> Tensor:
    return merge(*run(layers, x_BLD, x_BLD))


def single_stream_stack(layers: Sequence[Layer], x_BLD: Tensor) -> Tensor:
    """The ordinary Transformer's x + f(x), every activation kept."""
    for layer in layers:
        for half in layer:
            x_BLD = x_BLD + run_half(half, x_BLD)
    return x_BLD


def mean(x1_BLD: Tensor, x2_BLD: Tensor) -> Tensor:
    """Both streams as one of width D."""
    return (x1_BLD + x2_BLD) / 2


def concatenated(x1_BLD: Tensor, x2_BLD: Tensor) -> Tensor:
    """Both streams side by side, of width 2 D."""
    return torch.cat([x1_BLD, x2_BLD], dim=-1)
