"""Do twenty layers train on 65,536 tokens within an accelerator's memory?

Run alone: `python run_all.py --profile paper-cpu --only deep_and_long`. Cost on two cores: about half a minute. The
paper's claim: Reformers of up to 20 layers, of width 1,024, train on sequences of 64K tokens on one accelerator core,
whose memory is 16 GiB; what keeps the activations of every layer, or all scores, does not fit (section 5, Figure 5
left).

Each variant takes two steps of Adam within the budget, or runs out of memory: parameters, gradients and Adam's state
count. On two cores model and budget are a thirty-second of the paper's, a width of 32 within 512 MiB: tensors along
the sequence are to the budget what they are there, and parameters are a smaller part of it.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, Axes, with_axial_positions
from ablations.harness.cell import Capacity
from ablations.harness.experiment import Experiment, Grid, Scale

NARROW: Mapping[str, Any] = {"vocab_size": 256, "d_model": 32, "n_heads": 1, "d_head": 32, "d_ff": 128}


def _scale(
    model: Mapping[str, Any],
    *,
    n_layers: int,
    axial_shape: tuple[int, int],
    budget_bytes: int,
    n_hashes: int,
    variants: tuple[str, ...],
    backend: str,
) -> Scale:
    first, second = axial_shape
    axes: Axes = {
        "seed": (0,),
        "batch": (1,),
        "n_layers": (n_layers,),
        "length": (first * second,),
        "chunk_len": (64,),
        "n_hashes": (n_hashes,),
        "backend": (backend,),
        "variant": variants,
    }
    grid = Grid(workloads=(Capacity(budget_bytes=budget_bytes),), axes=axes)
    return Scale(model=with_axial_positions({**model, "ff_chunk_len": 1024}, axial_shape), grids=(grid,))


EXPERIMENT = Experiment(
    name="deep_and_long",
    title="Deep and long",
    question="Which variants train with twenty layers on 65,536 tokens within an accelerator's memory?",
    scales={
        "smoke": _scale(
            NARROW,
            n_layers=20,
            axial_shape=(32, 32),
            budget_bytes=24 * 2**20,
            n_hashes=1,
            variants=("dense", "lsh_only", "reformer"),
            backend="blocked",
        ),
        "paper-cpu": _scale(
            NARROW,
            n_layers=20,
            axial_shape=(256, 256),
            budget_bytes=2**29,
            n_hashes=1,
            variants=("dense", "lsh_only", "reformer"),
            backend="blocked",
        ),
        "paper": _scale(
            LARGE,
            n_layers=20,
            axial_shape=(256, 256),
            budget_bytes=16 * 2**30,
            n_hashes=4,
            variants=("dense", "reversible_only", "lsh_only", "reformer", "dense_query_chunked", "dense_fused"),
            backend="triton",
        ),
    },
)
