"""Does a step of attention take as long whatever the length, if the tokens are as many?

Run alone: `python run_all.py --profile paper-cpu --only constant_tokens`. Cost on two cores: about three minutes. The
paper's Figure 5, right: with 32,768 tokens in every step, in 32 sequences of 1,024 or in one of 32,768, LSH attention
takes the same time, and dense attention takes twenty times as long in the end.

Attention alone, without its projections, hashing and sorting included. The paper's dense baseline is the one of its
section 2, a query at a time: here a chunk of queries (`query_chunked`). Beside it stand all scores at once
(`sdpa_math`), and a fused kernel (`sdpa_flash`), which the paper could not know: against it lengths must be far greater
before hashing pays. On two cores there are a quarter of the tokens, lengths from half the paper's shortest to a quarter
of its longest, and one head: dense attention of the longest takes a second. Only forward passes are timed there, as in
the figure.
What was found stands in `reports/index.md`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ablations.experiments.costs import LARGE, SMALL, Axes
from ablations.harness.cell import Mode, TimeStep
from ablations.harness.experiment import Experiment, Grid, Scale

ROUNDS = (1, 2, 4, 8)
DENSE = ("sdpa_math", "query_chunked", "sdpa_flash")


def _scale(
    model: Mapping[str, Any],
    *,
    tokens: int,
    lengths: tuple[int, ...],
    modes: tuple[Mode, ...],
    seeds: tuple[int, ...],
    seconds: float,
    backend: str,
    dtype: str = "float32",
) -> Scale:
    workloads = tuple(TimeStep(mode=mode, seconds=seconds) for mode in modes)
    grids = (
        Grid(workloads=workloads, axes={"seed": seeds, **axes}, scope="attention")
        for length in lengths
        for axes in _axes(length, tokens // length, backend, dtype)
    )
    return Scale(model=dict(model), grids=tuple(grids))


def _axes(length: int, batch: int, backend: str, dtype: str) -> Iterator[Axes]:
    sizes: Axes = {"batch": (batch,), "n_layers": (1,), "length": (length,), "dtype": (dtype,)}
    yield {
        **sizes,
        "chunk_len": (64,),
        "n_hashes": ROUNDS,
        "backend": (backend,),
        "variant": ("lsh_only",),
        "implementation": ("ours",),
    }
    yield {**sizes, "variant": ("dense_separate_qk",), "implementation": DENSE}


EXPERIMENT = Experiment(
    name="constant_tokens",
    title="Constant tokens",
    question="How does the time of attention change with length if a step has the same number of tokens?",
    scales={
        "smoke": _scale(
            SMALL, tokens=512, lengths=(128, 512), modes=("forward",), seeds=(0,), seconds=0.02, backend="blocked"
        ),
        "paper-cpu": _scale(
            SMALL,
            tokens=8192,
            lengths=(512, 1024, 2048, 4096, 8192),
            modes=("forward",),
            seeds=(0, 1, 2),
            seconds=0.1,
            backend="blocked",
        ),
        "paper": _scale(
            LARGE,
            tokens=32768,
            lengths=(1024, 2048, 4096, 8192, 16384, 32768),
            modes=("forward", "forward_backward"),
            seeds=(0, 1, 2),
            seconds=1.0,
            backend="triton",
            # The fused kernel takes no float32 on a GPU.
            dtype="bfloat16",
        ),
    },
)
