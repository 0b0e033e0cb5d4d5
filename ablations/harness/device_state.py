"""What the driver says of a GPU while a cell runs on it, read by the process that waits for the cell.

Reads, and sets nothing: clocks are left as the machine has them.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ablations.harness.cell import Device
from ablations.harness.record import DeviceReading, DeviceState

INTERVAL_SECONDS = 0.1
MOST_READINGS = 200
"""More than these are thinned out by half, so that an hour of learning leaves no megabytes in its record."""


class Watch(Protocol):
    """Readings of the device, from when it is made until `result` is asked for."""

    def result(self) -> tuple[DeviceState | None, str | None]:
        """What was read, or `None` and the reason."""


class Nothing:
    """No readings, for a reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def result(self) -> tuple[None, str]:
        """The reason."""
        return None, self._reason


class Readings:
    """Readings by a thread of this process, the first at once and the last when `result` is asked for.

    Args:
        nvml: The module, initialised.
        handle: Of the device.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:  # noqa: ANN401  (a module without types)
        self._nvml, self._handle = nvml, handle
        self._began = time.monotonic()
        self._readings: list[DeviceReading] = []
        self._refusal: str | None = None
        self._stop = threading.Event()
        self._read()
        self._thread = threading.Thread(target=self._go_on, name="device state", daemon=True)
        self._thread.start()

    def result(self) -> tuple[DeviceState | None, str | None]:
        """What was read, or `None` and the reason."""
        self.end()
        self._read()
        if self._refusal is not None:
            return None, self._refusal
        return DeviceState(readings=tuple(self._readings)), None

    def end(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()

    def _go_on(self) -> None:
        interval = INTERVAL_SECONDS
        while self._refusal is None and not self._stop.wait(interval):
            self._read()
            if len(self._readings) > MOST_READINGS:
                self._readings = thinned(self._readings)
                interval *= 2

    def _read(self) -> None:
        try:
            self._readings.append(_reading(self._nvml, self._handle, time.monotonic() - self._began))
        except self._nvml.NVMLError as error:
            # What the driver does not tell now it will not tell in a tenth of a second either.
            self._refusal = self._refusal or f"NVML: {error}"


@contextmanager
def watching(device: Device) -> Iterator[Watch]:
    """Read the state of the device ten times a second, all the while."""
    if device == "cpu":
        yield Nothing("no GPU in use")
        return
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield Nothing(f"NVML: {error}")
        return
    try:
        with _reading_of(pynvml) as watch:
            yield watch
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def _reading_of(nvml: Any) -> Iterator[Watch]:  # noqa: ANN401
    try:
        readings = Readings(nvml, first_visible(nvml))
    except nvml.NVMLError as error:
        yield Nothing(f"NVML: {error}")
        return
    try:
        yield readings
    finally:
        readings.end()


def first_visible(nvml: Any) -> Any:  # noqa: ANN401
    """NVML's handle of the GPU that CUDA calls the first.

    `CUDA_VISIBLE_DEVICES` names it by a number, or by its UUID or the beginning of that; without it, it is number 0.
    NVML counts in the order of the bus, and so does CUDA among GPUs of one kind.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(first))
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    found = [handle for handle in handles if first and nvml.nvmlDeviceGetUUID(handle).startswith(first)]
    return found[0] if found else nvml.nvmlDeviceGetHandleByUUID(first)


def thinned(readings: list[DeviceReading]) -> list[DeviceReading]:
    """Every second reading, with the reasons of the one before it as well: what slowed the device is never lost."""
    kept = readings[1::2]
    before = readings[: 2 * len(kept) : 2]
    last = readings[2 * len(kept) :]
    merged = [
        reading.model_copy(update={"reasons": reading.reasons | earlier.reasons})
        for earlier, reading in zip(before, kept, strict=True)
    ]
    return [*merged, *last]


def _reading(nvml: Any, handle: Any, seconds: float) -> DeviceReading:  # noqa: ANN401
    return DeviceReading(
        seconds=round(seconds, 3),
        sm_clock_mhz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        celsius=nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        watts=nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        reasons=nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
    )
