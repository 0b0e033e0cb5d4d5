"""Cells and records of several implementations of one thing, with planted times."""

from collections.abc import Callable, Iterable
from typing import Any

from ablations.harness.cell import Ceiling, Cell, KernelTimes, Mode, PeakMemory, TimeStep, Workload
from ablations.harness.measurement import Measurement, StepTimes
from ablations.harness.record import Record
from ablations.harness.store import MachineResults, Plan
from reformer.config import CONTROLS, VARIANTS, LSHAttention, ReformerConfig
from tests.report.records import environment, planned, record

LSH = ("ours", "huggingface", "lucidrains")


def contender(
    implementation: str,
    *,
    variant: str | None = None,
    scope: str = "attention",
    mode: Mode = "forward_backward",
    length: int = 512,
    n_hashes: int = 2,
    batch: int = 1,
    seed: int = 0,
    backend: str = "blocked",
    dtype: str = "float32",
    workload: str = "time",
    n_buckets: tuple[int, ...] | None = None,
) -> Cell:
    """One cell; sizes are those of `tests.report.records`."""
    known = {**VARIANTS, **CONTROLS}[variant or ("lsh_only" if implementation in LSH else "dense_separate_qk")]
    attention: Any = known.attention
    if isinstance(attention, LSHAttention):
        attention = LSHAttention(
            n_hashes=n_hashes, n_buckets=n_buckets, backend=backend if implementation == "ours" else "blocked"
        )
    config = ReformerConfig(
        vocab_size=256,
        d_model=96,
        n_heads=5,
        d_head=20,
        d_ff=112,
        n_layers=3 if scope == "model" else 1,
        max_len=length,
        attention=attention,
        residual=known.residual,
    )
    steps: Workload = TimeStep(mode=mode) if workload == "time" else PeakMemory(mode=mode)
    return Cell.model_validate(
        {
            "experiment": "peers",
            "config": config,
            "workload": steps,
            "batch": batch,
            "length": length,
            "device": "cpu",
            "seed": seed,
            "scope": scope,
            "implementation": implementation,
            "dtype": dtype,
        }
    )


def ceiling_cell(*, dtype: str = "float32", seed: int = 0) -> Cell:
    """Of the machine's ceilings."""
    one = contender("sdpa_math", dtype=dtype, seed=seed).model_dump()
    workload = Ceiling(widths=(10, 20), copy_bytes=1000)
    return Cell.model_validate(one | {"workload": workload, "scope": "machine", "implementation": "ours"})


def kernels_cell(of: Cell) -> Cell:
    """The same, with its kernels told apart."""
    return of.model_copy(update={"workload": KernelTimes(mode="forward_backward")})


def times(seconds: Iterable[float]) -> StepTimes:
    """Steps that took so long."""
    wall = tuple(seconds)
    return StepTimes(
        wall_seconds=wall,
        cpu_seconds=wall,
        device_seconds=None,
        warm_up_seconds=(1.0,),
        steady=True,
        tokens_per_step=512,
        threads=4,
        cores=4,
        others_seconds=0.001,
        others_missing=None,
        host_seconds=None,
        energy=None,
        energy_missing="no GPU in use",
    )


def measured(cells: Iterable[Cell], measure: Callable[[Cell], Measurement | tuple[str, str]]) -> MachineResults:
    """A machine that found this for each cell: a measurement, or a status and its reason."""
    found = tuple(cells)
    return MachineResults(
        environment=environment(),
        plan=Plan(experiments=(planned("peers", found),)),
        records=tuple(_record(one, measure(one)) for one in found),
    )


def _record(cell: Cell, found: Measurement | tuple[str, str]) -> Record:
    if isinstance(found, tuple):
        status, reason = found
        return record(cell, (status, reason))  # type: ignore[arg-type]
    return record(cell).model_copy(update={"measurement": found})
