"""Do the four models learn alike?

Run alone: `python run_all.py --only learn_enwik8`. Cost on two cores: about two minutes. Each variant is trained on
enwik8 from the same weights on the same windows for the same number of steps, twice. These are short runs, made to
compare variants and not to reach the paper's 1.05 bits per byte, which takes about ten billion bytes of training.
What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.harness.experiment import Experiment, Grid, Scale
from ablations.harness.training import Learn, Recipe
from reformer.config import VARIANTS


def _scale(model: dict[str, Any], workload: Learn, *, batch: int, length: int, n_layers: int, backend: str) -> Scale:
    axes: dict[str, tuple[int | str, ...]] = {
        "seed": (0, 1),
        "batch": (batch,),
        "n_layers": (n_layers,),
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (2,),
        "backend": (backend,),
        "variant": tuple(VARIANTS),
    }
    return Scale(model=model, grids=(Grid(workloads=(workload,), axes=axes),))


def _learn(steps: int, learning_rate: float, evaluations: int, evaluation_windows: int) -> Learn:
    return Learn(
        recipe=Recipe(steps=steps, learning_rate=learning_rate, warmup_steps=max(1, steps // 10)),
        evaluate_every=steps // evaluations,
        evaluation_windows=evaluation_windows,
    )


SMALL_LEARNER = {"vocab_size": 256, "d_model": 64, "n_heads": 2, "d_head": 32, "d_ff": 256}
LARGE_LEARNER = {"vocab_size": 256, "d_model": 512, "n_heads": 8, "d_head": 64, "d_ff": 2048}

EXPERIMENT = Experiment(
    name="learn_enwik8",
    title="Learning enwik8",
    question="After the same steps on the same text, how well does each model predict bytes it has not seen?",
    scales={
        "smoke": _scale(SMALL_LEARNER, _learn(12, 1e-2, 3, 8), batch=2, length=256, n_layers=2, backend="blocked"),
        "cpu": _scale(SMALL_LEARNER, _learn(100, 1e-2, 4, 24), batch=4, length=512, n_layers=2, backend="blocked"),
        "gpu": _scale(LARGE_LEARNER, _learn(1000, 1e-3, 10, 128), batch=2, length=4096, n_layers=4, backend="triton"),
    },
)
