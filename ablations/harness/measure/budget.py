"""How much memory a process may still take: what is free, or less, so that it stands for a smaller machine."""

import math
import re
import resource
import sys
from pathlib import Path

import torch

from ablations.harness.errors import UnsupportedError
from ablations.harness.measure.memory import map_every_large_block

MEMORY_SHARE = 0.95
"""Of the memory that is free when a cell starts, what it may take."""
START_WIDTH = 1024
"""Of matrices for whose product all threads start and take their scratch memory: 40 MiB on two cores."""


def free_bytes() -> int:
    """What this process may take of the machine's memory, or of what container or user leave it; for Linux only."""
    return int(min(_kilobytes("MemAvailable", "meminfo"), _free_in_container(), _free_to_user()) * MEMORY_SHARE)


def allow(more_bytes: int) -> None:
    """Let allocations fail once this process holds so much more than now; for Linux only.

    What counts is what the kernel calls data (`RLIMIT_DATA`): every private writable mapping, whether it was touched or
    not. That is tensors, what the C library keeps of freed blocks, scratch memory of operations, and the stacks of
    threads that start later. What is not tensors varies by one or two MiB with the shapes of operations, and for the
    same step by 0.7 MiB from run to run: a step that needs the budget to that may fit once and not again.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (more_bytes + _kilobytes("VmData", "self/status"), most))


def apply_budget(wanted_bytes: int | None, device: torch.device) -> int:
    """Hold this process to a budget from here on, parameters, gradients and optimiser state included.

    On a CPU it counts as `allow` says, once threads have started and matrix products have their scratch memory, and
    blocks that are freed go back to the system at once. On a GPU it is what PyTorch's caching allocator may reserve;
    CUDA's own context comes on top.

    Args:
        wanted_bytes: The budget; `None` for what is free.
        device: Whose memory.

    Returns:
        The bytes that apply.

    Raises:
        UnsupportedError: The machine has less, or its system knows no such limit.
        RuntimeError: The machine has as much, and less is free now.
    """
    return _device_budget(wanted_bytes, device) if device.type == "cuda" else _host_budget(wanted_bytes)


def _host_budget(wanted_bytes: int | None) -> int:
    if sys.platform != "linux":
        raise UnsupportedError(f"memory of a process is limited on Linux only, not on {sys.platform}")
    map_every_large_block()
    square = torch.ones(START_WIDTH, START_WIDTH)
    (square @ square).exp()
    del square
    budget = _checked(wanted_bytes, free=free_bytes(), total=_kilobytes("MemTotal", "meminfo"), what="this machine")
    allow(budget)
    return budget


def _device_budget(wanted_bytes: int | None, device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    budget = _checked(wanted_bytes, free=free, total=total, what="this GPU")
    torch.cuda.set_per_process_memory_fraction(budget / total, device)
    return budget


def _checked(wanted_bytes: int | None, *, free: int, total: int, what: str) -> int:
    if wanted_bytes is None:
        return free
    if wanted_bytes > total:
        raise UnsupportedError(f"the budget of {wanted_bytes:,} bytes is more than the {total:,} bytes of {what}")
    if wanted_bytes > free:
        raise RuntimeError(
            f"the budget of {wanted_bytes:,} bytes is more than the {free:,} bytes of {what} that are free now: end "
            "what else runs, and run again with --retry-failed"
        )
    return wanted_bytes


def _kilobytes(name: str, file: str) -> int:
    """Bytes that a file under /proc gives in kilobytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", (Path("/proc") / file).read_text())
    assert found, f"no {name} in /proc/{file}"
    return int(found[1]) * 1024


def _free_to_user() -> float:
    """What a limit that was set for this process, as by `ulimit -Hd`, leaves, or infinity without one."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    return math.inf if most == resource.RLIM_INFINITY else most - _kilobytes("VmData", "self/status")


def _free_in_container() -> float:
    """What the control group that a container sees as its root leaves, or infinity where nothing limits it."""
    root = Path("/sys/fs/cgroup")
    if not (root / "memory.max").exists():
        return math.inf
    most = (root / "memory.max").read_text().strip()
    return math.inf if most == "max" else int(most) - int((root / "memory.current").read_text())
