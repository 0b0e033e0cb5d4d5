"""How do others' Reformers, and dense attention as it is now, compare with this one?

Run alone: `python run_all.py --only peers`; it needs `pip install 'reformer-suite[peers]'`, without which the peers'
rows say so. Cost on two cores: twenty-five minutes; on a GPU see `.ci/gpu_run`.

Attention alone takes query-key and value tensors and computes output and gradients, hashing and sorting included and
projections left out, for every side. Whole models take training steps with Adam. All lie in one run: a round (seed)
visits the contenders of one comparison one after the other, in an order that is drawn for it, dense attention between
the hash rounds that it is compared with; ratios are taken within rounds.

Rounds, chunks, look-back and widths are equal, and so are bucket counts but for lucidrains'; the modules of
`ablations.harness.implementations` name what a peer has no option for. Whole models read both streams side by side, as
HuggingFace's does. Steps of many seconds are sampled once per round; whole models take two rounds, and at 16,384 tokens
there are only HuggingFace's and ours. What was found stands in `reports/index.md`.
"""

from collections.abc import Mapping
from typing import Any

from ablations.harness.cell import KernelTimes, Mode, PeakMemory, TimeStep, Workload
from ablations.harness.experiment import Experiment, Grid, Scale

Values = tuple[int | str, ...]

SMALL: Mapping[str, Any] = {
    "vocab_size": 256,
    "d_model": 64,
    "n_heads": 2,
    "d_head": 32,
    "d_ff": 128,
    "merge": "concatenate",
}
MEDIUM: Mapping[str, Any] = {
    "vocab_size": 256,
    "d_model": 512,
    "n_heads": 8,
    "d_head": 64,
    "d_ff": 2048,
    "merge": "concatenate",
}

LSH = ("ours", "huggingface", "lucidrains")
DENSE = ("sdpa_math", "sdpa_flash", "sdpa_efficient", "sdpa_cudnn", "flex")
ON_CPU = ("sdpa_math", "sdpa_flash")
"""The others are asked once, so that the report repeats PyTorch's reason."""
BOTH = ("float32", "bfloat16")
ROUNDS = (0, 1, 2)
ONCE = (0,)

QUICK = TimeStep(mode="forward_backward", seconds=0.3)
LONG = TimeStep(mode="forward_backward", min_samples=1, seconds=0.01)
"""For steps of seconds."""
PEAK = PeakMemory(mode="forward_backward", resident=False)
KERNELS = KernelTimes(mode="forward_backward")


def _lsh(length: int, workload: Workload, *, rounds: Values, backend: str, **others: Values) -> Grid:
    axes: dict[str, Values] = {
        "seed": ROUNDS,
        "batch": (1,),
        "dtype": BOTH,
        "n_layers": (1,),
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": rounds,
        "backend": (backend,),
        "variant": ("lsh_only",),
        "implementation": LSH,
    }
    return Grid(workloads=(workload,), axes=axes | others, scope="attention")


def _dense(length: int, workload: Workload, **others: Values) -> Grid:
    axes: dict[str, Values] = {
        "seed": ROUNDS,
        "batch": (1,),
        "dtype": BOTH,
        "n_layers": (1,),
        "length": (length,),
        "variant": ("dense_separate_qk",),
        "implementation": DENSE,
    }
    return Grid(workloads=(workload,), axes=axes | others, scope="attention")


def _models(length: int, workload: Workload, *, backend: str, **others: Values) -> Grid:
    """The Reformer of each implementation."""
    axes: dict[str, Values] = {
        "seed": ROUNDS,
        "batch": (1,),
        "dtype": ("float32",),
        "n_layers": (6,),
        "length": (length,),
        "chunk_len": (64,),
        "n_hashes": (2,),
        "backend": (backend,),
        "variant": ("reformer",),
        "implementation": LSH,
    }
    return Grid(workloads=(workload,), axes=axes | others)


def _residuals(length: int, workload: Workload, *, backend: str, **others: Values) -> Grid:
    """Ours where it keeps everything for the backward pass, or every layer's input."""
    ours: dict[str, Values] = {"variant": ("lsh_only", "lsh_checkpointed"), "implementation": ("ours",)}
    return _models(length, workload, backend=backend, **(others | ours))


def _step(workload: TimeStep | PeakMemory, mode: Mode) -> TimeStep | PeakMemory:
    return workload.model_copy(update={"mode": mode})


def _smoke() -> Scale:
    attention: dict[str, Values] = {"seed": ONCE, "dtype": ("float32",)}
    model: dict[str, Any] = {"backend": "blocked", "n_layers": (2,), "seed": ONCE}
    training, peak = _step(QUICK, "training_step"), _step(PEAK, "training_step")
    return Scale(
        model=dict(SMALL),
        grids=(
            _lsh(256, QUICK, rounds=(2,), backend="blocked", **attention),
            _dense(256, QUICK, **attention),
            _lsh(256, PEAK, rounds=(2,), backend="blocked", **attention),
            _lsh(256, KERNELS, rounds=(2,), backend="blocked", implementation=("ours",), **attention),
            *(make(256, work, **model) for work in (training, peak) for make in (_models, _residuals)),
        ),
    )


LONG_ON_CPU = 16384
PAIR = ("ours", "huggingface")
IN_ONE_HASH: dict[str, Values] = {
    "implementation": ("ours",),
    "n_buckets": (LONG_ON_CPU // 64,),
    "dtype": ("float32",),
}
"""Ours with lucidrains' buckets: one for each chunk, in one factor, which takes 128 directions and not 24."""


def _cpu() -> Scale:
    backend, once = "blocked", {"seed": ONCE}
    training, peak = _step(LONG, "training_step"), _step(PEAK, "training_step")
    return Scale(
        model=dict(MEDIUM),
        grids=(
            *(grid for length in (1024, 4096) for grid in _cpu_attention(length, backend)),
            _lsh(LONG_ON_CPU, LONG, rounds=(1, 4), backend=backend),
            _lsh(LONG_ON_CPU, LONG, rounds=(4,), backend=backend, **IN_ONE_HASH),
            _dense(LONG_ON_CPU, LONG, implementation=("sdpa_flash",), **once),
            _lsh(4096, PEAK, rounds=(1, 4), backend=backend, **once),
            _dense(4096, PEAK, implementation=ON_CPU, **once),
            _lsh(LONG_ON_CPU, PEAK, rounds=(4,), backend=backend, dtype=("float32",), **once),
            *(make(4096, training, backend=backend, seed=(0, 1)) for make in (_models, _residuals)),
            *(make(4096, peak, backend=backend, **once) for make in (_models, _residuals)),
            _models(LONG_ON_CPU, training, backend=backend, implementation=PAIR, seed=(0, 1)),
            _models(LONG_ON_CPU, peak, backend=backend, implementation=PAIR, **once),
        ),
    )


def _cpu_attention(length: int, backend: str) -> tuple[Grid, ...]:
    return (
        _lsh(length, QUICK, rounds=(1, 4), backend=backend),
        _dense(length, QUICK, implementation=ON_CPU),
        _dense(length, QUICK, implementation=tuple(one for one in DENSE if one not in ON_CPU), seed=ONCE),
    )


HALF: dict[str, Values] = {"dtype": ("bfloat16",)}
GPU_BATCHES: Mapping[int, int] = {4096: 16, 16384: 4, 65536: 1}
"""The same tokens at every length, many enough to fill the GPU."""
GPU_ROUNDS: Mapping[int, Values] = {4096: ROUNDS, 16384: ROUNDS, 65536: (0, 1)}
MILLION = 2**20
LAST: Values = (2,)
"""The last round, and in it the longest cells: whatever a run that is cut short lacks, it is these."""
PEERS_UP_TO = 16384
FASTEST = ("sdpa_flash", "sdpa_cudnn")
"""Of dense attention on a GPU. The others are timed in one round: FlexAttention compiles anew in every process."""


def _gpu() -> Scale:
    backend = "triton"
    alone: dict[str, Any] = {"backend": backend, "implementation": ("ours",), **HALF}
    return Scale(
        model=dict(MEDIUM),
        grids=(
            *(grid for length in GPU_BATCHES for grid in _gpu_attention(length, backend)),
            *(
                _lsh(length, KERNELS, rounds=(1, 4), seed=ONCE, **alone, batch=(batch,))
                for length, batch in GPU_BATCHES.items()
            ),
            *(grid for length in GPU_BATCHES for grid in _gpu_models(length, backend)),
            _lsh(MILLION, QUICK, rounds=(1, 4), seed=LAST, **alone),
            _dense(MILLION, LONG, seed=LAST, implementation=("sdpa_flash", "sdpa_cudnn"), **HALF),
            _lsh(MILLION, PEAK, rounds=(4,), seed=LAST, **alone),
        ),
    )


def _gpu_attention(length: int, backend: str) -> list[Grid]:
    sizes: dict[str, Values] = {"batch": (GPU_BATCHES[length],), **HALF}
    lsh: dict[str, Any] = {"backend": backend, "implementation": _reaching(length), **sizes}
    forward, slower = _step(QUICK, "forward"), tuple(one for one in DENSE if one not in FASTEST)
    return [
        _lsh(length, QUICK, rounds=(1, 4), seed=GPU_ROUNDS[length], **lsh),
        _dense(length, QUICK, seed=GPU_ROUNDS[length], implementation=FASTEST, **sizes),
        _dense(length, QUICK, seed=ONCE, implementation=slower, **sizes),
        _lsh(length, forward, rounds=(4,), seed=ONCE, **lsh),
        _dense(length, forward, seed=ONCE, implementation=FASTEST, **sizes),
        _lsh(length, PEAK, rounds=(4,), seed=ONCE, **lsh),
        # The others hold what flash attention holds.
        _dense(length, PEAK, seed=ONCE, implementation=("sdpa_math", "sdpa_flash"), **sizes),
    ]


def _gpu_models(length: int, backend: str) -> list[Grid]:
    sizes: dict[str, Any] = {"backend": backend, "batch": (GPU_BATCHES[length],), **HALF}
    training, peak = _step(QUICK, "training_step"), _step(PEAK, "training_step")
    return [
        _models(length, training, implementation=_reaching(length), seed=(0, 1), **sizes),
        _residuals(length, training, seed=(0, 1), **sizes),
        _models(length, peak, implementation=_reaching(length), seed=ONCE, **sizes),
        _residuals(length, peak, seed=ONCE, **sizes),
    ]


def _reaching(length: int) -> Values:
    return LSH if length <= PEERS_UP_TO else ("ours",)


EXPERIMENT = Experiment(
    name="peers",
    title="Peers",
    question="How do time and memory compare with other implementations, with dense attention, and with the floor?",
    scales={"smoke": _smoke(), "cpu": _cpu(), "gpu": _gpu()},
)
