"""What the driver says of a GPU meanwhile, and what is said where it says nothing."""

import contextlib
import threading

import pytest

from ablations.harness.device_state import MOST_READINGS, first_visible, thinned, watching
from ablations.harness.record import THROTTLE_REASONS, DeviceReading, DeviceState
from tests.harness import nvml
from tests.harness.nvml import Driver

driver = nvml.driver
POWER_CAP, HARDWARE_SLOWDOWN = 0x4, 0x8


def reading(seconds: float, reasons: int) -> DeviceReading:
    return DeviceReading(
        seconds=seconds, sm_clock_mhz=1410, memory_clock_mhz=2619, celsius=57, watts=312.5, reasons=reasons
    )


def test_without_a_gpu_nothing_is_read_and_that_is_said(driver: Driver) -> None:
    with watching("cpu") as watch:
        assert watch.result() == (None, "no GPU in use")
        assert driver.open == 0


def test_the_shortest_cell_has_a_first_and_a_last_reading(driver: Driver) -> None:
    with watching("cuda") as watch:
        state, why_not = watch.result()
    assert why_not is None
    assert state is not None
    assert len(state.readings) >= 2
    first = state.readings[0]
    assert (first.sm_clock_mhz, first.memory_clock_mhz, first.celsius, first.watts) == (1410, 2619, 57, 312.5)
    assert first.seconds < 0.05
    assert state.readings[-1].seconds >= first.seconds


def test_readings_go_on_while_the_cell_runs(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.harness.device_state.INTERVAL_SECONDS", 0.001)
    enough = threading.Event()

    def power(_handle: str) -> int:
        power.times += 1  # type: ignore[attr-defined]
        if power.times == 12:  # type: ignore[attr-defined]
            enough.set()
        return 250_000

    power.times = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(driver, "nvmlDeviceGetPowerUsage", power)
    with watching("cuda") as watch:
        assert enough.wait(60)
        state, _ = watch.result()
    assert state is not None
    assert len(state.readings) >= 12
    seconds = [one.seconds for one in state.readings]
    assert seconds == sorted(seconds)


def test_the_driver_is_let_go_and_the_thread_is_gone_however_the_cell_ends(driver: Driver) -> None:
    before = threading.active_count()
    with contextlib.suppress(KeyboardInterrupt), watching("cuda"):
        assert (driver.open, threading.active_count()) == (1, before + 1)
        raise KeyboardInterrupt
    assert driver.open == 0
    assert threading.active_count() == before


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetPowerUsage"])
def test_a_driver_that_refuses_is_quoted(call: str, driver: Driver) -> None:
    driver.refuses.add(call)
    with watching("cuda") as watch:
        assert watch.result() == (None, "NVML: Not Supported")
    assert driver.open == 0


@pytest.mark.parametrize(("reasons", "throttled"), [(0, False), (POWER_CAP, False), (POWER_CAP | 0x20, True)])
def test_heat_throttles_and_the_power_limit_does_not(reasons: int, throttled: bool, driver: Driver) -> None:
    driver.reasons = [0, reasons, 0]
    with watching("cuda") as watch:
        state, _ = watch.result()
    assert state is not None
    assert state.throttled == throttled
    assert THROTTLE_REASONS & POWER_CAP == 0


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [
        (None, "GPU-aaaa-1111"),
        ("0", "GPU-aaaa-1111"),
        ("1", "GPU-bbbb-2222"),
        ("1,0", "GPU-bbbb-2222"),
        ("GPU-bbbb-2222", "GPU-bbbb-2222"),
        ("GPU-bb,GPU-aa", "GPU-bbbb-2222"),
    ],
)
def test_the_gpu_is_the_one_that_cuda_calls_the_first(
    visible: str | None, uuid: str, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert first_visible(driver) == uuid


@pytest.mark.parametrize("visible", ["", "-1", "GPU-cc"])
def test_a_gpu_that_is_hidden_is_none_with_its_reason(
    visible: str, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with watching("cuda") as watch:
        assert watch.result() == (None, "NVML: Not Found")


@pytest.mark.parametrize("count", [201, 202])
def test_thinning_keeps_every_reason_and_the_last_reading(count: int) -> None:
    readings = [reading(n / 10, HARDWARE_SLOWDOWN if n == 50 else POWER_CAP if n == 121 else 0) for n in range(count)]
    kept = thinned(readings)
    assert len(kept) == -(-count // 2)
    assert kept[-1] == readings[-1]
    assert sum(one.reasons == HARDWARE_SLOWDOWN for one in kept) == 1
    assert sum(one.reasons == POWER_CAP for one in kept) == 1
    assert DeviceState(readings=tuple(kept)).throttled


def test_a_long_cell_leaves_no_more_than_so_many_readings(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.harness.device_state.INTERVAL_SECONDS", 0.0001)
    many = threading.Event()

    def power(_handle: str) -> int:
        power.times += 1  # type: ignore[attr-defined]
        if power.times == 3 * MOST_READINGS:  # type: ignore[attr-defined]
            many.set()
        return 250_000

    power.times = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(driver, "nvmlDeviceGetPowerUsage", power)
    driver.reasons = [0, 0, HARDWARE_SLOWDOWN, 0]
    with watching("cuda") as watch:
        assert many.wait(120)
        state, _ = watch.result()
    assert state is not None
    assert MOST_READINGS / 2 <= len(state.readings) <= MOST_READINGS + 1
    assert state.throttled
