"""A driver of NVIDIA's that says what a test has it say: stands in for the module `pynvml`."""

import sys
from typing import Any

import pytest


class NVMLError(Exception):
    """As the module's own."""


class Driver:
    """Two GPUs; `refuses` names the calls that fail."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    uuids = ("GPU-aaaa-1111", "GPU-bbbb-2222")

    def __init__(self) -> None:
        self.refuses: set[str] = set()
        self.open = 0
        self.reasons = [0]
        """Of each reading; the last one for all that follow."""
        self.millijoules = 0
        self.asked: list[str] = []

    def nvmlInit(self) -> None:  # noqa: N802
        self._ask("nvmlInit")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        self._ask("nvmlDeviceGetHandleByIndex")
        return self.uuids[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.uuids:
            raise NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:  # noqa: N802
        return {1: 1410, 2: 2619}[clock] + (1000 if handle == self.uuids[1] else 0)

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:  # noqa: N802
        return 57

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:  # noqa: N802
        self._ask("nvmlDeviceGetPowerUsage")
        return 312_500

    def nvmlDeviceGetCurrentClocksEventReasons(self, _handle: str) -> int:  # noqa: N802
        return self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        self._ask("nvmlDeviceGetTotalEnergyConsumption")
        self.asked.append(handle)
        return self.millijoules

    def _ask(self, name: str) -> None:
        if name in self.refuses:
            raise NVMLError("Not Supported")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    one: Any = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", one)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return one  # type: ignore[no-any-return]
