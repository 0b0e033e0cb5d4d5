"""Cell in, measurement out: what happens inside the process of one cell. The only way from the harness to torch."""

import contextlib
import math
import re
import resource
import sys
import traceback
from pathlib import Path
from typing import assert_never

import torch

from ablations.harness.cell import Ceiling, Cell, KernelTimes, Learn, Mode, PeakMemory, TimeStep
from ablations.harness.environment import cores
from ablations.harness.errors import MissingExtraError, UnsupportedError
from ablations.harness.implementations import huggingface, lucidrains
from ablations.harness.implementations.inputs import torch_dtype
from ablations.harness.learning import learn
from ablations.harness.measure import memory
from ablations.harness.measure.ceiling import measure_ceilings
from ablations.harness.measure.kernels import kernel_seconds
from ablations.harness.measure.time import sample_steps
from ablations.harness.record import KernelSeconds, Measurement, PeakBytes, StepTimes
from ablations.harness.request import Outcome, Request
from ablations.harness.steps import build_trial
from ablations.harness.trial import Trial

OUT_OF_MEMORY_SAYS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory")
MEMORY_SHARE = 0.95
"""Of the memory that is free when a cell starts, what it may take."""


def warm_up_for(cell: Cell) -> None:
    """Import what the cell's implementation needs, if it is there: seconds, to be spent once and not in every cell."""
    with contextlib.suppress(MissingExtraError):
        if cell.implementation == "huggingface":
            huggingface.load()
        elif cell.implementation == "lucidrains":
            lucidrains.load()


def attempt(request: Request) -> Outcome:
    """Measure the cell, and turn whatever goes wrong into an outcome."""
    try:
        if request.cell.device == "cpu":
            limit_memory()
        return Outcome(status="ok", reason=None, measurement=measure(request))
    except UnsupportedError as error:
        return Outcome(status="unsupported", reason=str(error), measurement=None)
    except MissingExtraError as error:
        return Outcome(status="not_run", reason=str(error), measurement=None)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not _is_out_of_memory(error):
            return _failed(error)
        # The traceback holds the tensors; the message is all that is kept of it.
        return Outcome(status="oom", reason=_first_line(error) or "out of memory", measurement=None)
    except Exception as error:
        return _failed(error)


def _is_out_of_memory(error: Exception) -> bool:
    return any(words in str(error) for words in OUT_OF_MEMORY_SAYS)


def _failed(error: Exception) -> Outcome:
    traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__}: {_first_line(error)} ({Path(last.filename).name}, line {last.lineno})"
    return Outcome(status="error", reason=reason, measurement=None)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return re.sub(r"^\[enforce fail at [^\]]*\]\s*(err == 0\.\s*)?", "", lines[0]) if lines else ""


def limit_memory() -> None:
    """Let allocations beyond what is free now fail in this process, before the system kills some other one."""
    if sys.platform != "linux":
        return
    used = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert used, "no VmData in /proc/self/status"
    limit = int(min(_free_in_machine(), _free_in_container()) * MEMORY_SHARE) + int(used[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _free_in_machine() -> float:
    free = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert free, "no MemAvailable in /proc/meminfo"
    return int(free[1]) * 1024


def _free_in_container() -> float:
    """What the control group that a container sees as its root leaves, or infinity where nothing limits it."""
    root = Path("/sys/fs/cgroup")
    if not (root / "memory.max").exists():
        return math.inf
    most = (root / "memory.max").read_text().strip()
    return math.inf if most == "max" else int(most) - int((root / "memory.current").read_text())


def measure(request: Request) -> Measurement:
    """What the cell's workload asks for."""
    cell = request.cell
    torch.set_num_threads(cores())
    match cell.workload:
        case TimeStep():
            return _measure_time(cell, cell.workload)
        case PeakMemory(mode=mode, resident=resident):
            if resident:
                memory.map_every_large_block()
            return _measure_memory(build_trial(cell), mode, resident=resident)
        case KernelTimes():
            return _measure_kernels(cell, cell.workload)
        case Learn():
            assert request.data is not None, "the runner locates the data before it asks for a learning cell"
            return learn(cell, cell.workload, Path(request.data))
        case Ceiling():
            return measure_ceilings(cell.workload, torch.device(cell.device), torch_dtype(cell), seed=cell.seed)
        case _:
            assert_never(cell.workload)


def _measure_time(cell: Cell, workload: TimeStep) -> StepTimes:
    trial = build_trial(cell)
    samples = sample_steps(
        trial.step(workload.mode),
        before=trial.clear_gradients,
        device=trial.device,
        min_samples=workload.min_samples,
        seconds=workload.seconds,
    )
    trial.check()
    device = tuple(sample.device for sample in samples.timed if sample.device is not None)
    return StepTimes(
        wall_seconds=tuple(sample.wall for sample in samples.timed),
        cpu_seconds=tuple(sample.cpu for sample in samples.timed),
        device_seconds=device or None,
        warm_up_seconds=samples.warm_up,
        steady=samples.steady,
        tokens_per_step=trial.n_tokens,
        threads=torch.get_num_threads(),
    )


def _measure_kernels(cell: Cell, workload: KernelTimes) -> KernelSeconds:
    if cell.device == "cpu":
        raise UnsupportedError("kernels are told apart on a GPU only")
    trial = build_trial(cell)
    return kernel_seconds(trial.step(workload.mode), before=trial.clear_gradients, steps=workload.steps)


def _measure_memory(trial: Trial, mode: Mode, *, resident: bool) -> PeakBytes:
    step = trial.step(mode)
    # Once unmeasured: caches fill, and gradients come into being, which the next step adds to in place.
    step()
    weights = {
        "parameter_bytes": sum(tensor.nbytes for tensor in trial.wanted),
        "gradient_bytes": sum(gradient.nbytes for gradient in trial.gradients),
    }
    if trial.device.type == "cuda":
        peak, reserved = memory.peak_cuda_bytes(step)
        held, held_missing = memory.nvml_process_bytes()
        return PeakBytes(
            peak_bytes=peak,
            method="cuda_max_memory_allocated",
            os_peak_bytes=None,
            os_peak_missing="the step's memory is on the GPU",
            reserved_bytes=reserved,
            process_bytes=held,
            process_missing=held_missing,
            **weights,
        )
    os_peak, os_peak_missing = memory.peak_resident_bytes(step) if resident else (None, "not asked for")
    return PeakBytes(
        peak_bytes=memory.peak_tensor_bytes(step),
        method="profiler_allocation_events",
        os_peak_bytes=os_peak,
        os_peak_missing=os_peak_missing,
        reserved_bytes=None,
        process_bytes=None,
        process_missing="no GPU in use",
        **weights,
    )
