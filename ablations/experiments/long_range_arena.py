"""How do speed and memory of training compare at the Long-Range Arena's lengths?

Run alone: `python run_all.py --profile paper-cpu --only long_range_arena`. Cost on two cores: about a minute and a
half. Table 2 of the Long-Range Arena (Tay et al., 2021) has a Reformer at half a Transformer's speed at 1,024 bytes and
at 0.8 of it at 4,096, the slowest of all, and at a quarter of its memory; a local window is about as fast as a
Transformer at 1,024 and five times as fast at 4,096.

That Reformer has ten chunks whatever the length, so that it takes the square of it, and hashes alike in every step.
This one is the paper's, with the arena's one hash round. Fused dense attention stands beside: the arena has none. On
two cores the width is 64, not 256, a batch has one text, and of the lengths there are the first and the last. On a GPU
a batch has two: the arena's 32 are spread over 16 devices, and its peaks are of each.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import SMALL, TRAINING_PEAK, Axes, time_grid, weighed_in
from ablations.harness.experiment import Experiment, Grid, Scale

TEXT: Mapping[str, Any] = {"vocab_size": 256, "d_model": 256, "n_heads": 4, "d_head": 64, "d_ff": 1024}
"""The arena's model of byte-level texts."""


def _scale(
    model: Mapping[str, Any],
    *,
    batch: int,
    n_layers: int,
    lengths: tuple[int, ...],
    seeds: tuple[int, ...],
    seconds: float,
    backend: str,
) -> Scale:
    axes: Axes = {
        "batch": (batch,),
        "n_layers": (n_layers,),
        "length": lengths,
        "chunk_len": (64,),
        "n_hashes": (1,),
        "backend": (backend,),
        "variant": ("transformer", "dense_fused", "local_only", "lsh_only", "reformer"),
    }
    times = time_grid(axes, modes=("training_step",), seeds=seeds, seconds=seconds)
    return Scale(
        model=dict(model),
        grids=(times, Grid(workloads=(TRAINING_PEAK,), axes={"seed": weighed_in(seeds, axes), **axes})),
    )


EXPERIMENT = Experiment(
    name="long_range_arena",
    title="Long-Range Arena",
    question="How do speed and memory of training compare from 1,024 to 4,096 bytes?",
    scales={
        "smoke": _scale(SMALL, batch=1, n_layers=1, lengths=(128,), seeds=(0,), seconds=0.02, backend="blocked"),
        "paper-cpu": _scale(
            SMALL, batch=1, n_layers=4, lengths=(1024, 4096), seeds=(0, 1), seconds=0.1, backend="blocked"
        ),
        "paper": _scale(
            TEXT,
            batch=2,
            n_layers=4,
            lengths=(1024, 2048, 3072, 4096),
            seeds=(0, 1, 2),
            seconds=1.0,
            backend="triton",
        ),
    },
)
