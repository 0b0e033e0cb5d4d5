"""Does the feed-forward half compute the same in chunks?

Run alone: `python run_all.py --profile paper-cpu --only chunking`. Cost on two cores: a few seconds. The paper's claim:
chunks are numerically identical to the whole sequence, since positions do not see each other there (sections 1 and 3).

Loss and gradients of all parameters are compared with those of the same weights without chunks. Products of smaller
matrices, and sums over chunks, may round differently: the difference is to be no more than that.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, Axes
from ablations.harness.cell import Exactness
from ablations.harness.experiment import Experiment, Grid, Scale


def _scale(
    model: Mapping[str, Any],
    *,
    length: int,
    n_layers: int,
    chunks: tuple[int, ...],
    seeds: tuple[int, ...],
    backend: str,
) -> Scale:
    axes: Axes = {
        "seed": seeds,
        "batch": (1,),
        "n_layers": (n_layers,),
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (2,),
        "backend": (backend,),
        "variant": ("dense", "reversible_only", "lsh_only", "reformer"),
    }
    chunking = Exactness(check="chunking")
    grids = (Grid(workloads=(chunking,), axes=dict(axes), model={"ff_chunk_len": chunk}) for chunk in chunks)
    return Scale(model=dict(model), grids=tuple(grids))


EXPERIMENT = Experiment(
    name="chunking",
    title="Chunking",
    question="How far are loss and gradients with a chunked feed-forward half from those without chunks?",
    scales={
        "smoke": _scale(SMALL, length=128, n_layers=2, chunks=(50,), seeds=(0,), backend="blocked"),
        "paper-cpu": _scale(SMALL, length=1024, n_layers=3, chunks=(64, 256), seeds=(0,), backend="blocked"),
        "paper": _scale(LARGE, length=4096, n_layers=3, chunks=(64, 512), seeds=(0, 1), backend="triton"),
    },
)
