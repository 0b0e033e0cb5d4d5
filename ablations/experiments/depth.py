"""Does memory grow with depth?

Run alone: `python run_all.py --only depth`. Cost on two cores: about a minute. The paper's claim: with reversible
layers the activations of one layer are held, whatever the depth (Table 3). Weights and gradients do grow; they exist
before the step that is measured and are not part of its peak.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, Axes, memory_grid, time_grid
from ablations.harness.experiment import Experiment, Scale


def _scale(
    model: Mapping[str, Any],
    *,
    length: int,
    depths: tuple[int, ...],
    seeds: tuple[int, ...],
    seconds: float,
    backend: str,
) -> Scale:
    axes: Axes = {
        "batch": (1,),
        "n_layers": depths,
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (2,),
        "backend": (backend,),
        "variant": ("dense", "reversible_only", "lsh_only", "reformer", "dense_checkpointed"),
    }
    times = time_grid(axes, modes=("forward_backward",), seeds=seeds, seconds=seconds)
    return Scale(model=dict(model), grids=(times, memory_grid(axes, seeds=seeds)))


CPU = _scale(SMALL, length=1024, depths=(1, 2, 4, 8), seeds=(0, 1), seconds=0.3, backend="blocked")
GPU = _scale(LARGE, length=8192, depths=(1, 3, 6, 12, 20), seeds=(0, 1, 2), seconds=1.0, backend="triton")

EXPERIMENT = Experiment(
    name="depth",
    title="Depth",
    question="How do step time and peak memory grow with the number of layers?",
    scales={
        "smoke": _scale(SMALL, length=256, depths=(1, 2, 4), seeds=(0,), seconds=0.1, backend="blocked"),
        "cpu": CPU,
        "gpu": GPU,
        "paper-cpu": CPU,
        "paper": GPU,
    },
)
