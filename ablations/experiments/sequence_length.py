"""How do time and memory grow with the length of the sequence?

Run alone: `python run_all.py --only sequence_length`. Cost on two cores: about five minutes. The paper's claim: dense
attention grows with the square of the length, LSH attention nearly linearly (Table 1, Figure 5 right).
"""

from ablations.experiments.costs import LARGE, SMALL, Axes, cost_grids
from ablations.harness.experiment import Experiment, Grid, Scale

QUADRATIC = ("dense", "reversible_only", "dense_query_chunked")
AFFORDABLE = ("lsh_only", "reformer", "dense_fused")
"""What goes to the longest lengths. The fused kernel is quadratic in time too, but many times faster."""


def _grids(
    lengths: tuple[int, ...], further: tuple[int, ...], *, n_layers: int, seeds: tuple[int, ...], seconds: float
) -> tuple[Grid, ...]:
    """All variants over `lengths`, the affordable ones over `further` too."""
    fixed: Axes = {"batch": (1,), "n_layers": (n_layers,), "n_hashes": (4,), "chunk_len": (64,)}
    near: Axes = {**fixed, "length": lengths, "variant": (*QUADRATIC, *AFFORDABLE)}
    far: Axes = {**fixed, "length": further, "variant": AFFORDABLE}
    return tuple(
        grid
        for axes in (near, far)
        for grid in cost_grids(axes, modes=("forward", "forward_backward"), seeds=seeds, seconds=seconds)
    )


EXPERIMENT = Experiment(
    name="sequence_length",
    title="Sequence length",
    question="How do step time and peak memory grow with the length of the sequence?",
    scales={
        "smoke": Scale(
            model={**SMALL, "positions": {"kind": "axial", "shape": (64, 32), "dims": (32, 32)}},
            grids=_grids((256, 512, 1024), (2048,), n_layers=2, seeds=(0,), seconds=0.1),
        ),
        "cpu": Scale(
            model={**SMALL, "positions": {"kind": "axial", "shape": (128, 128), "dims": (32, 32)}},
            grids=_grids((512, 1024, 2048, 4096, 8192), (16384,), n_layers=2, seeds=(0, 1), seconds=0.5),
        ),
        "gpu": Scale(
            model={**LARGE, "positions": {"kind": "axial", "shape": (256, 256), "dims": (512, 512)}},
            grids=_grids((1024, 2048, 4096, 8192, 16384, 32768, 65536), (), n_layers=3, seeds=(0, 1, 2), seconds=1.0),
        ),
    },
)
