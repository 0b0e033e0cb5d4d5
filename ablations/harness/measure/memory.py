"""The most bytes alive at once while a step runs."""

import ctypes
import gc
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

M_MMAP_THRESHOLD = -3
MAPPED_FROM_BYTES = 65536


def peak_tensor_bytes(step: Callable[[], None]) -> int:
    """Peak of live CPU tensor bytes during `step`, above what was alive before. Exact: the sum of allocator events.

    Memory that was allocated before the step and freed during it does not count against the peak.
    """
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return _peak(event for event in events if event.get("name") == "[memory]")


def _peak(memory_events: Iterable[dict[str, Any]]) -> int:
    live: dict[int, int] = {}
    alive = peak = 0
    for event in sorted(memory_events, key=lambda event: float(event["ts"])):
        address, size = event["args"]["Addr"], event["args"]["Bytes"]
        if size > 0:
            live[address] = size
            alive += size
            peak = max(peak, alive)
        else:
            alive -= live.pop(address, 0)
    return peak


def map_every_large_block() -> None:
    """Have the C library return each freed block of 64 KiB or more to the system at once.

    By default it keeps many of them, and the process looks larger than it needs to be: by a third for dense attention,
    by twice for LSH attention. Must be called before memory is allocated; costs time, so never in a process that is
    timed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)


def peak_resident_bytes(step: Callable[[], None]) -> tuple[int | None, str | None]:
    """Rise of the process's peak resident memory during `step`, or `None` and the reason why it cannot be known."""
    if not Path("/proc/self/clear_refs").exists():
        return None, "the system does not tell a process its peak resident memory"
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        return None, f"the system refuses to reset the peak: {os.strerror(error.errno or 0)}"
    before = _status_bytes("VmRSS")
    step()
    return _status_bytes("VmHWM") - before, None


def _status_bytes(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"no {field} in /proc/self/status"
    return int(found[1]) * 1024


def peak_cuda_bytes(step: Callable[[], None]) -> tuple[int, int]:
    """Peak of allocated bytes during `step` above what was allocated before, and peak of reserved bytes in all."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_reserved()


def nvml_process_bytes() -> tuple[int | None, str | None]:
    """What the driver says this process holds on the GPU, or `None` and the reason."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    held = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
    if not held or held[0] is None:
        return None, "NVML does not list this process, as inside a container with process numbers of its own"
    return int(held[0]), None
