"""Can LSH attention learn what takes one look far back, and does it find it with fewer rounds than it was trained with?

Run alone: `python run_all.py --profile paper-cpu --only duplication`. Cost on two cores: about seven minutes. The
paper's Table 2: a word of random symbols is written twice, one layer of width 256 with 4 heads learns to write it the
second time, and is then evaluated with dense attention and with 8, 4, 2 and 1 hash rounds.

On a small machine words are shorter than the paper's 511 symbols and steps are fewer than its 150,000; both stand in
the report. Learning rate, batch and chunk length the paper does not state: they are those below. Sequences have one
length from the first step on, as in the paper's text; the authors' released code draws many lengths instead.
What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.experiments.learning import Values, in_rounds, steady, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Condition, Duplication, Learn
from reformer.config import DenseAttention

PAPER_MODEL = {"vocab_size": 128, "d_model": 256, "n_heads": 4, "d_head": 64, "d_ff": 256}
"""As the paper states it, but for the vocabulary: 127 symbols and the 0 in front."""

EVALUATED = (8, 4, 2, 1)
"""Rounds of the table's columns."""


def _conditions(chunk_len: int) -> tuple[Condition, ...]:
    return (Condition(name="dense", attention=DenseAttention()), *in_rounds(EVALUATED, chunk_len))


def _scale(
    *, length: int, chunk_len: int, batch: int, steps: int, windows: int, seeds: Values, backend: str, rounds: Values
) -> Scale:
    # Evaluated along the way with `windows` words, and in the end in five ways with as many.
    workload = Learn(
        task=Duplication(),
        recipe=steady(steps, 2e-3),
        evaluate_every=max(1, steps // 10),
        evaluation_windows=windows,
        conditions=_conditions(chunk_len),
        observed_windows=4,
    )
    fixed: dict[str, Any] = {"seeds": seeds, "batch": batch, "length": length, "n_layers": (1,)}
    dense = training_grid(("dense",), workload, **fixed)
    hashing = training_grid(
        ("lsh_only",), workload, **fixed, n_hashes=rounds, chunk_len=(chunk_len,), backend=(backend,)
    )
    return Scale(model=PAPER_MODEL, grids=(dense, hashing))


EXPERIMENT = Experiment(
    name="duplication",
    title="The duplication task",
    question="After training with dense attention or so many hash rounds, how many symbols of the second writing are "
    "right with dense attention and with other numbers of rounds?",
    scales={
        "smoke": _scale(
            length=32, chunk_len=8, batch=4, steps=10, windows=4, seeds=(0,), backend="blocked", rounds=(4, 1)
        ),
        "paper-cpu": _scale(
            length=256,
            chunk_len=16,
            batch=8,
            steps=700,
            windows=64,
            seeds=(0, 1, 2),
            backend="blocked",
            rounds=(4, 2, 1),
        ),
        "paper": _scale(
            length=1024,
            chunk_len=64,
            batch=64,
            steps=10_000,
            windows=128,
            seeds=(0, 1, 2),
            backend="triton",
            rounds=(4, 2, 1),
        ),
    },
)
