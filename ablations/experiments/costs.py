"""What the experiments on time and memory share: two sizes of model, and the grids that cost them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablations.harness.cell import Mode, PeakMemory, TimeStep
from ablations.harness.experiment import Grid

SMALL: Mapping[str, Any] = {"vocab_size": 256, "d_model": 64, "n_heads": 1, "d_head": 64, "d_ff": 256}
"""So small that attention outweighs the rest from a few hundred positions on, as it does in large models much later."""

LARGE: Mapping[str, Any] = {
    "vocab_size": 256,
    "d_model": 1024,
    "n_heads": 8,
    "d_head": 128,
    "d_ff": 4096,
    "ff_chunk_len": 4096,
}
"""The paper's width (section 5)."""

Axes = Mapping[str, tuple[int | str, ...]]


def cost_grids(axes: Axes, *, modes: Sequence[Mode], seeds: tuple[int, ...], seconds: float) -> tuple[Grid, ...]:
    """Time and memory at every point of the axes.

    Time in a process for each seed; memory of a training step once, since it is exact.

    Args:
        axes: All but the seed.
        modes: Of the steps that are timed.
        seeds: One process each.
        seconds: To spend on timed steps in each.
    """
    times = tuple(TimeStep(mode=mode, seconds=seconds) for mode in modes)
    return (
        Grid(workloads=times, axes={"seed": seeds, **axes}),
        Grid(workloads=(PeakMemory(mode="forward_backward"),), axes={"seed": seeds[:1], **axes}),
    )
