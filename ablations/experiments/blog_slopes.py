"""What does a further layer cost in memory, parameters included?

Run alone: `python run_all.py --profile paper-cpu --only blog_slopes`. Cost on two cores: about a quarter of a minute.
HuggingFace's article on the Reformer measures training with 8 sequences of 512 tokens in models of 4, 8 and 12 layers:
BERT takes 414 MB more with each layer, a Reformer with one hash round 95 MB.

Here both have the same widths, and a step is one of Adam. The peak of a step is what comes on top of parameters,
gradients and Adam's state: its record has each of them, and the claim counts the first two in, as the article does. On
two cores the width is 64, not 768.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import SMALL, TRAINING_PEAK, Axes
from ablations.harness.experiment import Experiment, Grid, Scale

BERT: Mapping[str, Any] = {"vocab_size": 256, "d_model": 768, "n_heads": 12, "d_head": 64, "d_ff": 3072}


def _scale(
    model: Mapping[str, Any],
    *,
    batch: int,
    length: int,
    depths: tuple[int, ...],
    backend: str,
    seeds: tuple[int, ...] = (0,),
) -> Scale:
    axes: Axes = {
        "seed": seeds,
        "batch": (batch,),
        "n_layers": depths,
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (1,),
        "backend": (backend,),
        "variant": ("transformer", "reformer"),
    }
    return Scale(model=dict(model), grids=(Grid(workloads=(TRAINING_PEAK,), axes=axes),))


EXPERIMENT = Experiment(
    name="blog_slopes",
    title="Memory of a layer",
    question="By how much does the memory of a training step grow with each layer, parameters included?",
    scales={
        "smoke": _scale(SMALL, batch=2, length=128, depths=(2, 4), backend="blocked"),
        "paper-cpu": _scale(SMALL, batch=8, length=512, depths=(4, 8, 12), backend="blocked"),
        "paper": _scale(BERT, batch=8, length=512, depths=(4, 8, 12), backend="triton", seeds=(0, 1, 2)),
    },
)
