"""Which kernels of a GPU a step runs, and how long each takes."""

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from ablations.harness.measurement import KernelSeconds, KernelTime

WARM_UP_STEPS = 2
ON_THE_DEVICE = frozenset({"kernel", "gpu_memset", "gpu_memcpy"})


def kernel_seconds(step: Callable[[], None], *, before: Callable[[], None], steps: int) -> KernelSeconds:
    """Everything that runs on the GPU during so many steps; what `before` does is part of none of them."""
    for _ in range(WARM_UP_STEPS):
        before()
        step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            before()
            step()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return KernelSeconds(kernels=_sums(events), steps=steps)


def _sums(events: Iterable[dict[str, Any]]) -> tuple[KernelTime, ...]:
    """Calls and seconds by name, the slowest first; a trace counts in microseconds."""
    microseconds: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") in ON_THE_DEVICE:
            microseconds.setdefault(event["name"], []).append(event["dur"])
    found = [KernelTime(name=name, calls=len(each), seconds=sum(each) / 1e6) for name, each in microseconds.items()]
    return tuple(sorted(found, key=lambda kernel: -kernel.seconds))
