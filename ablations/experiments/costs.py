"""What the experiments on time, memory and exactness share: two sizes of model, and the grids that cost them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablations.harness.cell import Mode, PeakMemory, TimeStep
from ablations.harness.experiment import Grid

SMALL: Mapping[str, Any] = {"vocab_size": 256, "d_model": 64, "n_heads": 1, "d_head": 64, "d_ff": 256}
"""So small that attention outweighs the rest from a few hundred positions on, as it does in large models much later."""

LARGE: Mapping[str, Any] = {"vocab_size": 256, "d_model": 1024, "n_heads": 8, "d_head": 128, "d_ff": 4096}
"""The paper's width (section 5). The feed-forward half is not chunked: all lengths run the same program."""

Axes = Mapping[str, tuple[int | str, ...]]


def with_axial_positions(model: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """The model with two tables of positions of equal width: their parameters are few, and as many at every length."""
    half = model["d_model"] // 2
    return {**model, "positions": {"kind": "axial", "shape": shape, "dims": (half, half)}}


def time_grid(axes: Axes, *, modes: Sequence[Mode], seeds: tuple[int, ...], seconds: float) -> Grid:
    """Steps timed at every point of the axes, in a process for each seed, for at least `seconds` each."""
    return Grid(workloads=tuple(TimeStep(mode=mode, seconds=seconds) for mode in modes), axes={"seed": seeds, **axes})


TRAINING_PEAK = PeakMemory(mode="training_step", resident=False)
"""Of a step of Adam, tensors only: the system's view of large steps takes long."""


def memory_grid(axes: Axes, *, seeds: tuple[int, ...]) -> Grid:
    """Peak memory of a training step at every point of the axes, in a process for each of `weighed_in(seeds)`."""
    return Grid(workloads=(PeakMemory(mode="forward_backward"),), axes={**axes, "seed": weighed_in(seeds, axes)})


def weighed_in(seeds: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """Of the seeds, those that memory is measured for: the first where the count is exact, all of them on a GPU.

    There the allocator's peak may depend on more than the program, and one reading has no interval.
    """
    return seeds if "triton" in axes["backend"] else seeds[:1]
