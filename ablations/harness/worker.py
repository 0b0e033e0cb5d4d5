"""Cell in, measurement out: what happens inside the process of one cell. The only way from the harness to torch."""

import contextlib
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import torch

from ablations.harness.cell import Capacity, Ceiling, Cell, Exactness, KernelTimes, PeakMemory, TimeStep
from ablations.harness.environment import cores
from ablations.harness.errors import MissingExtraError, UnsupportedError
from ablations.harness.implementations import huggingface, lucidrains
from ablations.harness.implementations.inputs import torch_dtype
from ablations.harness.measure.budget import allow, free_bytes
from ablations.harness.measure.ceiling import measure_ceilings
from ablations.harness.measurement import Measurement
from ablations.harness.request import Outcome, OutcomeStatus, Request
from ablations.harness.training import Learn
from ablations.harness.workloads.capacity import measure_capacity
from ablations.harness.workloads.exactness import measure_exactness
from ablations.harness.workloads.kernels import measure_kernels
from ablations.harness.workloads.learning.run import learn
from ablations.harness.workloads.memory import measure_memory
from ablations.harness.workloads.time import measure_time

OUT_OF_MEMORY_SAYS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory")
NO_MEMORY_FOR_A_PRIMITIVE = "could not create a primitive"
"""All that oneDNN says where it finds no memory for one; of one that it does not know it says more."""


def warm_up_for(cell: Cell) -> None:
    """Import what the cell's implementation needs, if it is there: seconds, to be spent once and not in every cell."""
    with contextlib.suppress(MissingExtraError):
        if cell.implementation == "huggingface":
            huggingface.load()
        elif cell.implementation == "lucidrains":
            lucidrains.load()


def attempt(request: Request) -> Outcome:
    """Measure the cell, and turn whatever goes wrong into an outcome."""
    return attempt_by(measure, request)


def attempt_by(measuring: Callable[[Request], Measurement], request: Request) -> Outcome:
    """The same of whatever else a request may ask for."""
    started = time.monotonic()
    status, reason, measurement = _attempt(measuring, request)
    return Outcome(status=status, reason=reason, measurement=measurement, seconds=time.monotonic() - started)


def _attempt(
    measuring: Callable[[Request], Measurement], request: Request
) -> tuple[OutcomeStatus, str | None, Measurement | None]:
    try:
        if request.cell.device == "cpu":
            limit_memory()
        return "ok", None, measuring(request)
    except UnsupportedError as error:
        return "unsupported", str(error), None
    except MissingExtraError as error:
        return "not_run", str(error), None
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not _is_out_of_memory(error):
            return _failed(error)
        # The traceback holds the tensors; the message is all that is kept of it.
        return "oom", _first_line(error) or "out of memory", None
    except Exception as error:
        return _failed(error)


def _is_out_of_memory(error: Exception) -> bool:
    said = str(error)
    return said == NO_MEMORY_FOR_A_PRIMITIVE or any(words in said for words in OUT_OF_MEMORY_SAYS)


def _failed(error: Exception) -> tuple[OutcomeStatus, str, None]:
    traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__}: {_first_line(error)} ({Path(last.filename).name}, line {last.lineno})"
    return "error", reason, None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return re.sub(r"^\[enforce fail at [^\]]*\]\s*(err == 0\.\s*)?", "", lines[0]) if lines else ""


def limit_memory() -> None:
    """Let allocations beyond what is free now fail in this process, before the system kills some other one."""
    if sys.platform == "linux":
        allow(free_bytes())


def measure(request: Request) -> Measurement:
    """What the cell's workload asks for."""
    cell = request.cell
    torch.set_num_threads(cores())
    match cell.workload:
        case TimeStep():
            return measure_time(cell, cell.workload)
        case PeakMemory():
            return measure_memory(cell, cell.workload)
        case KernelTimes():
            return measure_kernels(cell, cell.workload)
        case Capacity():
            return measure_capacity(cell, cell.workload)
        case Learn():
            data = Path(request.data) if request.data else None
            return learn(cell, cell.workload, data, request.training)
        case Exactness():
            return measure_exactness(cell, cell.workload)
        case Ceiling():
            return measure_ceilings(cell.workload, torch.device(cell.device), torch_dtype(cell), seed=cell.seed)
        case _:
            assert_never(cell.workload)
