"""Do shared queries and keys, or reversible layers, cost quality? On text, one switch at a time.

Run alone: `python run_all.py --profile paper-cpu --only enwik8_factors`. Cost on two cores: about four minutes. The
paper's Figure 3: shared queries and keys do no worse than separate ones (left), reversible layers no worse than
ordinary ones (right). `dense` against `dense_separate_qk` is the first switch. The second is turned twice.
`transformer` and `reversible_separate_qk` are what the paper compares, an ordinary Transformer and a reversible one,
whose two streams are another function; `dense` and `reversible_only` are the same function, whose activations are kept
or rebuilt.
What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.experiments.learning import LARGE, SMALL, TINY, Values, learn_text, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Learn

PAIRS: Values = ("dense", "dense_separate_qk", "reversible_only", "transformer", "reversible_separate_qk")


def _scale(model: dict[str, Any], workload: Learn, *, batch: int, length: int, n_layers: int, seeds: Values) -> Scale:
    grid = training_grid(PAIRS, workload, seeds=seeds, batch=batch, length=length, n_layers=(n_layers,))
    return Scale(model=model, grids=(grid,))


EXPERIMENT = Experiment(
    name="enwik8_factors",
    title="Shared queries and keys, and reversible layers, on text",
    question="After the same steps on the same bytes of Wikipedia, how many bits per byte does each switch cost?",
    scales={
        "smoke": _scale(TINY, learn_text(4, 1e-2, 4), batch=2, length=64, n_layers=2, seeds=(0,)),
        "paper-cpu": _scale(SMALL, learn_text(250, 3e-3, 64), batch=8, length=256, n_layers=3, seeds=(0, 1, 2)),
        "paper": _scale(
            LARGE, learn_text(2000, 3e-4, 256, autocast="bfloat16"), batch=8, length=2048, n_layers=3, seeds=(0, 1, 2)
        ),
    },
)
