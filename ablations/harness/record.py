"""What is kept of one attempt to measure a cell. Every attempt ends as a record, whatever happened."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ablations.harness.cell import Cell
from reformer.config import Frozen

SCHEMA = 3
"""Version of the records this code writes; older ones are upgraded when read, newer ones are refused.

1: as 2, but configs lacked the fields that the whole Reformer added, all of which have the old behaviour as default.
2: as now, but there were only whole models of ours in float32, and their LSH attention was always the eager one.
"""

Status = Literal["ok", "oom", "killed", "timeout", "error", "unsupported", "not_run"]
"""`not_run` means that something the cell needs is missing here (a data set); it is tried again on the next run."""


class StepTimes(Frozen):
    """Raw samples of one process: each entry one step. Seconds.

    Attributes:
        kind: Tells measurements apart.
        wall_seconds: By the wall clock, the device synchronised before each reading.
        cpu_seconds: Processor time of the process over the same steps, all threads added.
        device_seconds: Between CUDA events, on a GPU; `None` on CPU, where there are none.
        warm_up_seconds: Wall clock of the steps before, which are not part of the sample.
        steady: Whether the warm-up had settled when sampling began.
        tokens_per_step: Batch times length.
        threads: Intra-op threads of PyTorch.
    """

    kind: Literal["time"] = "time"
    wall_seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    device_seconds: tuple[float, ...] | None
    warm_up_seconds: tuple[float, ...]
    steady: bool
    tokens_per_step: int
    threads: int


class PeakBytes(Frozen):
    """Memory of one step, above the parameters and their gradients, which exist before it starts. Bytes.

    Attributes:
        kind: Tells measurements apart.
        peak_bytes: Most bytes of tensors alive at once. On CPU exact, from the allocator's events; on GPU the caching
            allocator's peak of allocated bytes.
        method: How `peak_bytes` was taken.
        parameter_bytes: Of the model; of attention alone, of its inputs.
        gradient_bytes: Of their gradients; 0 for a forward step.
        os_peak_bytes: Rise of the process's peak resident memory over the step, or `None`.
        os_peak_missing: Why `os_peak_bytes` is `None`.
        reserved_bytes: Peak that the GPU's caching allocator held; `None` on CPU.
        process_bytes: What the driver says the process holds (NVML); `None` where it cannot tell.
        process_missing: Why `process_bytes` is `None`.
    """

    kind: Literal["memory"] = "memory"
    peak_bytes: int
    method: Literal["profiler_allocation_events", "cuda_max_memory_allocated"]
    parameter_bytes: int
    gradient_bytes: int
    os_peak_bytes: int | None
    os_peak_missing: str | None
    reserved_bytes: int | None
    process_bytes: int | None
    process_missing: str | None


class TrainingPoint(Frozen):
    """One optimiser step: loss on its batch in bits per byte, and seconds of training since the first step began."""

    step: int
    seconds: float
    bits_per_byte: float


class Evaluation(Frozen):
    """Held-out bits per byte after `step` steps; `seconds` of training so far, evaluation time not counted."""

    step: int
    seconds: float
    bits_per_byte: float
    n_bytes: int


class LearningCurve(Frozen):
    """A training run. `split` states in words which bytes were trained on and which held out."""

    kind: Literal["learn"] = "learn"
    points: tuple[TrainingPoint, ...]
    evaluations: tuple[Evaluation, ...]
    tokens_per_step: int
    split: str


class KernelTime(Frozen):
    """One kernel of a GPU, whatever its arguments: how often it ran in all steps, and how long it took together."""

    name: str
    calls: int
    seconds: float


class KernelSeconds(Frozen):
    """Every kernel that ran during so many steps, as the profiler saw them."""

    kind: Literal["kernels"] = "kernels"
    kernels: tuple[KernelTime, ...]
    steps: int


class MatrixProducts(Frozen):
    """Seconds that each product of two square matrices of one width took."""

    width: int
    seconds: tuple[float, ...]


class Ceilings(Frozen):
    """What the machine did at most: raw samples, warm-up left out.

    Attributes:
        kind: Tells measurements apart.
        products: Of each width that was tried.
        copy_bytes: Size of the tensor that was copied; a copy reads and writes as much.
        copy_seconds: Of each copy.
        threads: Intra-op threads of PyTorch.
    """

    kind: Literal["ceiling"] = "ceiling"
    products: tuple[MatrixProducts, ...]
    copy_bytes: int
    copy_seconds: tuple[float, ...]
    threads: int


Measurement = Annotated[StepTimes | PeakBytes | KernelSeconds | LearningCurve | Ceilings, Field(discriminator="kind")]


class Environment(Frozen):
    """Where and with what a record was made.

    Attributes:
        machine: Short name made of the hardware and a number of its own, the folder under `results/`.
        processor: Model of the processor.
        cores: Logical processors available.
        memory_bytes: Main memory.
        accelerator: Name of the GPU, or `None`.
        accelerator_memory_bytes: Its memory, or `None`.
        driver: Its driver's version, or `None`.
        system: Operating system and kernel.
        python: Version.
        packages: Versions of the packages that matter to the figures.
        commit: Revision of this project, or `None` outside a checkout.
        dirty: Whether the code differed from that revision; `None` without one.
    """

    machine: str
    processor: str
    cores: int
    memory_bytes: int
    accelerator: str | None
    accelerator_memory_bytes: int | None
    driver: str | None
    system: str
    python: str
    packages: dict[str, str]
    commit: str | None
    dirty: bool | None


class Record(Frozen):
    """One attempt at one cell.

    Attributes:
        schema_version: `SCHEMA` when written.
        cell_id: `cell.id` when written; kept so that a record can be found without understanding its cell.
        cell: What was asked.
        status: What became of it.
        reason: Why, for every status but `ok`.
        measurement: What was measured; present exactly when `status` is `ok`.
        environment: Where.
        started: UTC, ISO 8601.
        seconds: Wall clock of the whole attempt, process start included.
    """

    schema_version: int = SCHEMA
    cell_id: str
    cell: Cell
    status: Status
    reason: str | None
    measurement: Measurement | None
    environment: Environment
    started: str
    seconds: float

    @model_validator(mode="after")
    def _status_and_content_agree(self) -> Self:
        if (self.status == "ok") != (self.measurement is not None) or (self.status == "ok") != (self.reason is None):
            raise ValueError(f"status {self.status!r} goes with a measurement if ok, with a reason otherwise")
        return self
