"""What memory does the feed-forward half save if it takes a chunk of positions at a time?

Run alone: `python run_all.py --profile paper-cpu --only feed_forward_chunks`. Cost on two cores: about ten seconds. The
paper's claim: the hidden layer of width d_ff, its largest activation, need not exist at once (section 3, "Chunking";
Table 3). HuggingFace's article on the Reformer repeats it with a caution: at usual widths its benchmark saves nothing,
and with `d_ff` of 16,384 it saves a third.

Both regimes are here: a hidden layer four times as wide as the model, and one so wide that little else counts. Chunks
halve from the whole sequence on. That the values are the same is another question, see `chunking`.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, TRAINING_PEAK, Axes
from ablations.harness.experiment import Experiment, Grid, Scale


def _scale(
    model: Mapping[str, Any],
    *,
    wide: Mapping[str, Any],
    batch: int,
    length: int,
    n_layers: int,
    chunks: tuple[int, ...],
    backend: str,
    seeds: tuple[int, ...] = (0,),
) -> Scale:
    axes: Axes = {
        "seed": seeds,
        "batch": (batch,),
        "n_layers": (n_layers,),
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (1,),
        "backend": (backend,),
        "variant": ("reformer",),
    }
    widths: tuple[Mapping[str, Any], ...] = ({}, wide)
    grids = (
        Grid(workloads=(TRAINING_PEAK,), axes=dict(axes), model={**width, "ff_chunk_len": chunk})
        for width in widths
        for chunk in (None, *chunks)
    )
    return Scale(model=dict(model), grids=tuple(grids))


EXPERIMENT = Experiment(
    name="feed_forward_chunks",
    title="Feed-forward chunks",
    question="How does the peak memory of a training step change with the length of the feed-forward chunks?",
    scales={
        "smoke": _scale(
            SMALL, wide={"d_ff": 1024}, batch=1, length=256, n_layers=2, chunks=(128, 64), backend="blocked"
        ),
        "paper-cpu": _scale(
            SMALL,
            wide={"d_ff": 4096},
            batch=1,
            length=2048,
            n_layers=2,
            chunks=(1024, 512, 256, 128),
            backend="blocked",
        ),
        "paper": _scale(
            LARGE,
            wide={"d_ff": 16384, "n_heads": 2},
            batch=8,
            length=4096,
            n_layers=3,
            chunks=(2048, 1024, 512, 256, 128),
            backend="triton",
            seeds=(0, 1, 2),
        ),
    },
)
