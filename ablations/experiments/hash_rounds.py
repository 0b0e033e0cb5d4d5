"""What does a hash round cost?

Run alone: `python run_all.py --only hash_rounds`. Cost on two cores: about half a minute. The paper's claim: time and
memory of LSH attention grow linearly with the rounds (Table 1). A dense model has no rounds and stands beside.
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
    n_layers: int,
    rounds: tuple[int, ...],
    seeds: tuple[int, ...],
    seconds: float,
    backend: str,
) -> Scale:
    axes: Axes = {
        "batch": (1,),
        "n_layers": (n_layers,),
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": rounds,
        "backend": (backend,),
        "variant": ("dense", "lsh_only", "reformer"),
    }
    times = time_grid(axes, modes=("forward", "forward_backward"), seeds=seeds, seconds=seconds)
    return Scale(model=dict(model), grids=(times, memory_grid(axes, seeds=seeds)))


CPU = _scale(SMALL, length=2048, n_layers=2, rounds=(1, 2, 4, 8), seeds=(0, 1), seconds=0.3, backend="blocked")
GPU = _scale(LARGE, length=8192, n_layers=3, rounds=(1, 2, 4, 8), seeds=(0, 1, 2), seconds=1.0, backend="triton")

EXPERIMENT = Experiment(
    name="hash_rounds",
    title="Hash rounds",
    question="How do step time and peak memory grow with the number of hash rounds?",
    scales={
        "smoke": _scale(SMALL, length=512, n_layers=2, rounds=(1, 2, 4), seeds=(0,), seconds=0.1, backend="blocked"),
        "cpu": CPU,
        "gpu": GPU,
        "paper-cpu": CPU,
        "paper": GPU,
    },
)
