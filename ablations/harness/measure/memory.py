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
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

M_MMAP_THRESHOLD = -3
MAPPED_FROM_BYTES = 65536


class TensorBytes(NamedTuple):
    """Bytes of CPU tensors above what was alive before, the most of them at once and those left at the end."""

    peak: int
    left: int


def peak_tensor_bytes(step: Callable[[], None]) -> int:
    """Peak of live CPU tensor bytes during `step`, above what was alive before. Exact: the sum of allocator events.

    Memory that was allocated before the step and freed during it does not count against the peak.
    """
    return _observed(step).peak


def left_tensor_bytes(make: Callable[[], object]) -> int:
    """Bytes of CPU tensors that are alive, beyond those before, once `make` has returned and while its result is held.

    Of a forward pass these are all that is kept for the backward pass, whoever holds it: autograd, or an object of
    Python's that autograd knows nothing of, as the streams and buckets that reversible layers keep.
    """
    held: list[object] = []
    return _observed(lambda: held.append(make())).left


def _observed(step: Callable[[], object]) -> TensorBytes:
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return _counted(event for event in events if event.get("name") == "[memory]")


def _counted(memory_events: Iterable[dict[str, Any]]) -> TensorBytes:
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
    return TensorBytes(peak, alive)


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


class CudaBytes(NamedTuple):
    """Peaks of one step on a GPU.

    Attributes:
        allocated: Of blocks that the caching allocator gave out, above what was allocated before.
        requested: Of what it was asked for, before it rounds; above what was held before.
        reserved: Of what it held in all.
    """

    allocated: int
    requested: int
    reserved: int


def peak_cuda_bytes(step: Callable[[], None]) -> CudaBytes:
    """The caching allocator's peaks during `step`."""
    _settle_cuda()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    allocated, requested = torch.cuda.memory_allocated(), torch.cuda.memory_stats()["requested_bytes.all.current"]
    step()
    torch.cuda.synchronize()
    return CudaBytes(
        allocated=torch.cuda.max_memory_allocated() - allocated,
        requested=torch.cuda.memory_stats()["requested_bytes.all.peak"] - requested,
        reserved=torch.cuda.max_memory_reserved(),
    )


def left_cuda_bytes(make: Callable[[], object]) -> int:
    """What `left_tensor_bytes` counts, of the GPU's caching allocator, whose blocks are multiples of 512 bytes."""
    _settle_cuda()
    before = torch.cuda.memory_allocated()
    # Named, so that it is there while bytes are counted.
    held = make()
    torch.cuda.synchronize()
    left = torch.cuda.memory_allocated() - before
    del held
    return left


def _settle_cuda() -> None:
    gc.collect()
    torch.cuda.synchronize()


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
