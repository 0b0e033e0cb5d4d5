"""How exactly are reversible layers undone?

Run alone: `python run_all.py --profile paper-cpu --only inversion`. Cost on two cores: about half a minute. The paper's
claim: a layer's inputs are recovered from its outputs by subtracting (section 3, equation 8). In exact arithmetic they
are; in floating point each sum rounds, and what is rebuilt is off by more with each layer that is undone.

All layers run forwards, and are undone from the last one's outputs; both streams before the first layer are compared
with what comes back. With `grid_bits` sums are exact, and so should be what comes back, at any depth and in either type
of parameters; streams are float32 in both.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, Axes
from ablations.harness.cell import Exactness
from ablations.harness.experiment import Experiment, Grid, Scale

MEDIUM: Mapping[str, Any] = {"vocab_size": 256, "d_model": 256, "n_heads": 4, "d_head": 64, "d_ff": 1024}
GRID_BITS = (None, 12)


def _scale(model: Mapping[str, Any], *, length: int, depths: tuple[int, ...], backend: str) -> Scale:
    axes: Axes = {
        "seed": (0,),
        "batch": (1,),
        "dtype": ("float32", "bfloat16"),
        "n_layers": depths,
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (2,),
        "backend": (backend,),
        "variant": ("reversible_only", "reformer"),
    }
    inversion = Exactness(check="inversion")
    grids = (Grid(workloads=(inversion,), axes=dict(axes), model={"grid_bits": bits}) for bits in GRID_BITS)
    return Scale(model=dict(model), grids=tuple(grids))


EXPERIMENT = Experiment(
    name="inversion",
    title="Inversion",
    question="How far is what undoing all layers gives from what went into the first one?",
    scales={
        "smoke": _scale(SMALL, length=128, depths=(2,), backend="blocked"),
        "paper-cpu": _scale(MEDIUM, length=512, depths=(3, 6, 12, 20), backend="blocked"),
        "paper": _scale(LARGE, length=4096, depths=(3, 6, 12, 20), backend="triton"),
    },
)
