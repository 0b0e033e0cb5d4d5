"""Does a deeper Reformer predict better after the same steps?

Run alone: `python run_all.py --profile paper-cpu --only enwik8_depth`. Cost on two cores: about two minutes. The
paper's Figure 5, left. What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.experiments.learning import LARGE, SMALL, TINY, Values, learn_text, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Learn


def _scale(
    model: dict[str, Any],
    workload: Learn,
    *,
    batch: int,
    length: int,
    depths: Values,
    chunk_len: int,
    seeds: Values,
    backend: str,
) -> Scale:
    grid = training_grid(
        ("reformer",),
        workload,
        seeds=seeds,
        batch=batch,
        length=length,
        n_layers=depths,
        n_hashes=(2,),
        chunk_len=(chunk_len,),
        backend=(backend,),
    )
    return Scale(model=model, grids=(grid,))


EXPERIMENT = Experiment(
    name="enwik8_depth",
    title="Depth and quality",
    question="After the same steps on the same bytes of Wikipedia, how many bits per byte do further layers save?",
    scales={
        "smoke": _scale(
            TINY, learn_text(4, 1e-2, 4), batch=2, length=64, depths=(1, 2), chunk_len=16, seeds=(0,), backend="blocked"
        ),
        "paper-cpu": _scale(
            SMALL,
            learn_text(250, 3e-3, 64),
            batch=4,
            length=256,
            depths=(1, 2, 4),
            chunk_len=16,
            seeds=(0, 1, 2),
            backend="blocked",
        ),
        "paper": _scale(
            {**LARGE, "positions": {"kind": "axial", "shape": (128, 512), "dims": (256, 768)}, "ff_chunk_len": 4096},
            learn_text(300, 3e-4, 16, autocast="bfloat16"),
            batch=1,
            length=65536,
            depths=(3, 6, 12, 20),
            chunk_len=256,
            seeds=(0, 1, 2),
            backend="triton",
        ),
    },
)
