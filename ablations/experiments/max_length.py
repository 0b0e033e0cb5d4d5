"""How long a sequence trains within a memory budget?

Run alone: `python run_all.py --only max_length`; with another budget, say `--memory-budget 900MiB`. Cost on two cores:
about three minutes. The paper's claim: the Reformer trains on sequences, 64K tokens in its own experiments, that do not
fit into an accelerator's memory where attention is dense or every layer's activations are kept.

Of each variant the longest sequence is searched that takes two steps of Adam within the budget, see
`ablations.harness.search`; every length that is tried is a row. Everything counts: parameters, gradients, Adam's state,
activations, and, on a CPU, what the C library and matrix products take beside tensors.

Positions are axial and the feed-forward half goes through 1,024 positions at a time, in every variant: neither then
decides how long a sequence may be. What is left is what attention and residuals keep. On a CPU the budget is 256 MiB:
so small that the longest steps take seconds, and so large that parameters and what operations take beside tensors are a
small part of it. On a GPU it is the paper's 16 GiB, and the whole device. Attention whose memory grows with the length
and whose time grows with its square ends for want of time, at least on a CPU, and the table says so.
What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL
from ablations.harness.cell import Capacity
from ablations.harness.experiment import Experiment, LengthSearch, Scale

VARIANTS = ("dense", "reversible_only", "lsh_only", "reformer", "dense_query_chunked", "dense_fused")

PAPER = 16 * 2**30
"""Bytes of an accelerator's memory, as `--memory-budget 16GiB`."""


def _scale(
    model: Mapping[str, Any],
    *,
    n_layers: int,
    start: int,
    most: int,
    axial_shape: tuple[int, int],
    budgets: tuple[int | None, ...],
    seconds: float,
    backend: str,
) -> Scale:
    half = model["d_model"] // 2
    positions = {"kind": "axial", "shape": axial_shape, "dims": (half, half)}
    axes: dict[str, tuple[int | str, ...]] = {
        "seed": (0,),
        "batch": (1,),
        "n_layers": (n_layers,),
        "length": (start,),
        "chunk_len": (64,),
        "n_hashes": (4,),
        "backend": (backend,),
        "variant": VARIANTS,
    }
    workloads = tuple(Capacity(budget_bytes=budget) for budget in budgets)
    search = LengthSearch(workloads=workloads, axes=axes, most=most, seconds=seconds)
    return Scale(model={**model, "positions": positions, "ff_chunk_len": 1024}, searches=(search,))


CPU = _scale(
    SMALL,
    n_layers=4,
    start=1024,
    most=65536,
    axial_shape=(256, 256),
    budgets=(256 * 2**20,),
    seconds=12.0,
    backend="blocked",
)
GPU = _scale(
    LARGE,
    n_layers=6,
    start=4096,
    most=2**20,
    axial_shape=(1024, 1024),
    budgets=(PAPER, None),
    seconds=60.0,
    backend="triton",
)

EXPERIMENT = Experiment(
    name="max_length",
    title="Longest sequence",
    question="How long a sequence trains within a memory budget?",
    scales={
        "smoke": _scale(
            SMALL,
            n_layers=2,
            start=512,
            most=4096,
            axial_shape=(64, 64),
            budgets=(64 * 2**20,),
            seconds=2.0,
            backend="blocked",
        ),
        "cpu": CPU,
        "gpu": GPU,
        "paper-cpu": CPU,
        "paper": GPU,
    },
)
