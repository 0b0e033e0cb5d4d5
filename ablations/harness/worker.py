"""Cell in, measurement out: what happens inside the process of one cell. The only way from the harness to torch."""

import math
import re
import resource
import sys
import traceback
from pathlib import Path
from typing import assert_never

import torch

from ablations.harness.cell import Cell, Learn, Mode, PeakMemory, TimeStep
from ablations.harness.environment import cores
from ablations.harness.learning import learn
from ablations.harness.measure import memory
from ablations.harness.measure.time import sample_steps
from ablations.harness.record import Measurement, PeakBytes, StepTimes
from ablations.harness.request import Outcome, Request
from ablations.harness.steps import Trial, build_trial

OUT_OF_MEMORY_SAYS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory")
MEMORY_SHARE = 0.95
"""Of the memory that is free when a cell starts, what it may take."""


def attempt(request: Request) -> Outcome:
    """Measure the cell, and turn whatever goes wrong into an outcome."""
    try:
        if request.cell.device == "cpu":
            limit_memory()
        return Outcome(status="ok", reason=None, measurement=measure(request))
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
        case PeakMemory(mode=mode):
            memory.map_every_large_block()
            return _measure_memory(build_trial(cell), mode)
        case Learn():
            assert request.data is not None, "the runner locates the data before it asks for a learning cell"
            return learn(cell, cell.workload, Path(request.data))
        case _:
            assert_never(cell.workload)


def _measure_time(cell: Cell, workload: TimeStep) -> StepTimes:
    trial = build_trial(cell)
    samples = sample_steps(
        trial.step(workload.mode),
        before=trial.clear_gradients,
        device=trial.token_BL.device,
        min_samples=workload.min_samples,
        seconds=workload.seconds,
    )
    loss = trial.loss()
    if not 0 < loss < float("inf"):
        raise RuntimeError(f"the model that was timed gives loss {loss}")
    device = tuple(sample.device for sample in samples.timed if sample.device is not None)
    return StepTimes(
        wall_seconds=tuple(sample.wall for sample in samples.timed),
        cpu_seconds=tuple(sample.cpu for sample in samples.timed),
        device_seconds=device or None,
        warm_up_seconds=samples.warm_up,
        steady=samples.steady,
        tokens_per_step=trial.token_BL.numel(),
        threads=torch.get_num_threads(),
    )


def _measure_memory(trial: Trial, mode: Mode) -> PeakBytes:
    step = trial.step(mode)
    # Once unmeasured: caches fill, and gradients come into being, which the next step adds to in place.
    step()
    parameters = list(trial.model.parameters())
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    weights = {
        "parameter_bytes": sum(parameter.nbytes for parameter in parameters),
        "gradient_bytes": sum(gradient.nbytes for gradient in gradients),
    }
    if trial.token_BL.device.type == "cuda":
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
    resident, resident_missing = memory.peak_resident_bytes(step)
    return PeakBytes(
        peak_bytes=memory.peak_tensor_bytes(step),
        method="profiler_allocation_events",
        os_peak_bytes=resident,
        os_peak_missing=resident_missing,
        reserved_bytes=None,
        process_bytes=None,
        process_missing="no GPU in use",
        **weights,
    )
