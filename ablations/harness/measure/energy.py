"""What steps cost a GPU in energy, by the counter of its own."""

import math
from collections.abc import Callable
from typing import Any

import torch

from ablations.harness.measure.time import back_to_back, without_collections
from ablations.harness.measurement import Energy

SHORTEST_SECONDS = 2.0
"""The counter moves some ten to fifty times a second: over two seconds that is a few per cent at most."""
BLOCK_SECONDS = 0.25
"""Steps that are queued before the clock is looked at again."""


def measure_energy(
    step: Callable[[], None], *, before: Callable[[], None], device: torch.device, step_seconds: float
) -> tuple[Energy | None, str | None]:
    """The rise of the counter over two seconds or more of steps back to back, or `None` and the reason.

    Args:
        step: What is measured.
        before: Run before each step, and counted with it.
        device: Where the step works.
        step_seconds: How long one takes, roughly.
    """
    if device.type != "cuda":
        return None, "no GPU in use"
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    try:
        return _rise(step, before, device, step_seconds, _counter(pynvml, device))
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()


def _counter(nvml: Any, device: torch.device) -> Callable[[], int]:  # noqa: ANN401  (a module without types)
    """Reads the device's counter, in millijoules."""
    handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))


def _rise(
    step: Callable[[], None],
    before: Callable[[], None],
    device: torch.device,
    step_seconds: float,
    counter: Callable[[], int],
) -> tuple[Energy | None, str | None]:
    block = max(1, math.ceil(BLOCK_SECONDS / step_seconds))
    steps, seconds = 0, 0.0
    with without_collections():
        began = counter()
        while seconds < SHORTEST_SECONDS:
            seconds += back_to_back(step, before=before, device=device, steps=block)
            steps += block
        millijoules = counter() - began
    if millijoules <= 0:
        return None, f"the counter of the device did not move in {seconds:.2g} s"
    return Energy(joules=millijoules / 1000, steps=steps, seconds=seconds), None
