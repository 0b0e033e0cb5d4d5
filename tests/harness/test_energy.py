"""Energy by the device's counter, on a device that draws a known power by a clock that a test moves."""

from types import SimpleNamespace

import pytest
import torch

from ablations.harness.measure.energy import measure_energy
from ablations.harness.measurement import Energy
from tests.harness import clock as clocks
from tests.harness import nvml
from tests.harness.clock import Clock
from tests.harness.nvml import Driver

clock, driver = clocks.clock, nvml.driver
WATTS = 250


@pytest.fixture(autouse=True)
def second_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="bbbb-2222"))


def measured(
    clock: Clock, driver: Driver, step_seconds: float, *, expected: float | None = None
) -> tuple[Energy | None, str | None]:
    def step() -> None:
        clock.spend(step_seconds)
        driver.millijoules += round(1000 * WATTS * step_seconds)

    return measure_energy(step, before=lambda: None, device=torch.device("cuda"), step_seconds=expected or step_seconds)


@pytest.mark.parametrize(("step_seconds", "steps"), [(0.0625, 32), (0.5, 4), (3.0, 1)])
def test_the_counter_rises_by_power_times_time_over_two_seconds_at_least(
    step_seconds: float, steps: int, clock: Clock, driver: Driver
) -> None:
    driver.millijoules = 10**9
    energy, why_not = measured(clock, driver, step_seconds)
    assert why_not is None
    assert energy == Energy(joules=WATTS * step_seconds * steps, steps=steps, seconds=step_seconds * steps)
    assert driver.asked == ["GPU-bbbb-2222"] * 2
    assert driver.open == 0


def test_steps_that_turn_out_shorter_than_expected_still_fill_two_seconds(clock: Clock, driver: Driver) -> None:
    energy, _ = measured(clock, driver, 0.03125, expected=0.25)
    assert energy is not None
    assert energy.seconds == 2.0
    assert energy.steps == 64


def test_a_counter_that_stands_still_is_no_zero(clock: Clock, driver: Driver) -> None:
    found = measure_energy(lambda: clock.spend(0.5), before=lambda: None, device=torch.device("cuda"), step_seconds=0.5)
    assert found == (None, "the counter of the device did not move in 2 s")


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetTotalEnergyConsumption"])
def test_a_driver_that_refuses_is_quoted(call: str, clock: Clock, driver: Driver) -> None:
    driver.refuses.add(call)
    assert measured(clock, driver, 0.5) == (None, "NVML: Not Supported")
    assert driver.open == 0


def test_without_a_gpu_no_step_is_taken(driver: Driver) -> None:
    def step() -> None:
        raise AssertionError("a step was taken")

    found = measure_energy(step, before=step, device=torch.device("cpu"), step_seconds=0.5)
    assert found == (None, "no GPU in use")
