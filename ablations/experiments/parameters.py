"""Do the variants have equally many parameters?

Run alone: `python run_all.py --profile paper-cpu --only parameters`. Cost on two cores: a few seconds. The paper's
claim: reversible layers have as many parameters as the layers that they replace (section 3). Models with shared queries
and keys have a matrix less in each layer, dense or not.

Nothing is computed: each model is built, of the paper's width and of the three layers of its ablations, and counted.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, Axes
from ablations.harness.cell import Exactness
from ablations.harness.experiment import Experiment, Grid, Scale

VARIANTS = ("transformer", "reversible_separate_qk", "dense", "reversible_only", "lsh_only", "reformer")


def _scale(model: Mapping[str, Any], *, length: int, n_layers: int, backend: str) -> Scale:
    axes: Axes = {
        "seed": (0,),
        "batch": (1,),
        "n_layers": (n_layers,),
        "length": (length,),
        "backend": (backend,),
        "variant": VARIANTS,
    }
    return Scale(model=dict(model), grids=(Grid(workloads=(Exactness(check="parameters"),), axes=axes),))


EXPERIMENT = Experiment(
    name="parameters",
    title="Parameters",
    question="How many parameters does each variant have?",
    scales={
        "smoke": _scale(SMALL, length=128, n_layers=2, backend="blocked"),
        "paper-cpu": _scale(LARGE, length=1024, n_layers=3, backend="blocked"),
        "paper": _scale(LARGE, length=1024, n_layers=12, backend="triton"),
    },
)
