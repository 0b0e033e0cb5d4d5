"""How do time and memory grow with the length of the sequence?

Run alone: `python run_all.py --only sequence_length`. Cost on two cores: about four minutes. The paper's claim: dense
attention grows with the square of the length, LSH attention nearly linearly (Table 1, Figure 5 right).
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, Axes, memory_grid, time_grid
from ablations.harness.cell import Mode
from ablations.harness.experiment import Experiment, Scale

Reach = Mapping[tuple[str, ...], tuple[int, ...]]
"""The lengths that variants go to: what takes the square of the length stops earlier on a small machine."""

LSH = ("lsh_only", "reformer")
EVERYONE = ("dense", "reversible_only", "dense_query_chunked", "dense_fused", *LSH)


def _scale(
    model: Mapping[str, Any],
    *,
    axial_shape: tuple[int, int],
    n_layers: int,
    forward: Reach,
    training: Reach,
    weighed: Reach,
    seeds: tuple[int, ...],
    seconds: float,
    backend: str,
) -> Scale:
    fixed: Axes = {
        "batch": (1,),
        "n_layers": (n_layers,),
        "n_hashes": (4,),
        "chunk_len": (64,),
        "backend": (backend,),
    }
    half = model["d_model"] // 2
    by_mode: tuple[tuple[Mode, Reach], ...] = (("forward", forward), ("forward_backward", training))
    times = (
        time_grid({**fixed, "length": lengths, "variant": variants}, modes=(mode,), seeds=seeds, seconds=seconds)
        for mode, reach in by_mode
        for variants, lengths in reach.items()
    )
    memory = (
        memory_grid({**fixed, "length": lengths, "variant": variants}, seeds=seeds)
        for variants, lengths in weighed.items()
    )
    # Axial positions have the same parameters at every length.
    positions = {"kind": "axial", "shape": axial_shape, "dims": (half, half)}
    return Scale(model={**model, "positions": positions}, grids=(*times, *memory))


PAPER_LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768, 65536)

CPU = _scale(
    SMALL,
    axial_shape=(128, 128),
    n_layers=2,
    forward={EVERYONE: (512, 1024, 2048, 4096), LSH: (8192, 16384)},
    training={EVERYONE: (512, 1024, 2048, 4096), ("dense",): (8192,), LSH: (8192, 16384)},
    weighed={EVERYONE: (512, 1024, 2048, 4096), ("dense", *LSH): (8192,)},
    seeds=(0, 1),
    seconds=0.3,
    backend="blocked",
)
GPU = _scale(
    LARGE,
    axial_shape=(256, 256),
    n_layers=3,
    forward={EVERYONE: PAPER_LENGTHS},
    training={EVERYONE: PAPER_LENGTHS},
    weighed={EVERYONE: PAPER_LENGTHS},
    seeds=(0, 1, 2),
    seconds=1.0,
    backend="triton",
)

EXPERIMENT = Experiment(
    name="sequence_length",
    title="Sequence length",
    question="How do step time and peak memory grow with the length of the sequence?",
    scales={
        "smoke": _scale(
            SMALL,
            axial_shape=(64, 32),
            n_layers=2,
            forward={EVERYONE: (256, 512, 1024)},
            training={EVERYONE: (256, 512, 1024), LSH: (2048,)},
            weighed={EVERYONE: (256, 512, 1024), LSH: (2048,)},
            seeds=(0,),
            seconds=0.1,
            backend="blocked",
        ),
        "cpu": CPU,
        "gpu": GPU,
        "paper-cpu": CPU,
        "paper": GPU,
    },
)
