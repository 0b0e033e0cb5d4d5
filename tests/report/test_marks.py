"""Which results bear a mark, and what the mark says."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ablations.harness.measurement import StepTimes
from ablations.harness.record import DeviceReading, DeviceState, Record
from ablations.report.groups import Attempt, Group, groups_of
from ablations.report.table import marks_of, notes_on_marks
from tests.harness.cells import cell, record
from tests.report.records import environment

SEEDS = (0, 1, 2)
HARDWARE_SLOWDOWN, POWER_CAP = 0x8, 0x4


def state(reasons: int) -> DeviceState:
    one = DeviceReading(seconds=0.1, sm_clock_mhz=900, memory_clock_mhz=2000, celsius=88, watts=300.0, reasons=reasons)
    return DeviceState(readings=(one.model_copy(update={"reasons": 0}), one))


def group(*, of_last: Mapping[str, object] | None = None, device_state: DeviceState | None = None) -> Group:
    """Three processes, the last of which measured or was watched as told."""
    records = [record(cell(seed=seed), environment()) for seed in SEEDS]
    last = records[-1]
    assert isinstance(last.measurement, StepTimes)
    changed = last.measurement.model_copy(update=dict(of_last or {}))
    records[-1] = last.model_copy(update={"measurement": changed, "device_state": device_state})
    return groups_of([Attempt(one.cell, one) for one in records])[0]


ON_GPU: Mapping[str, object] = {"device_seconds": (0.1, 0.12), "host_seconds": (0.11, 0.11)}


@pytest.mark.parametrize(
    ("one", "mark", "words"),
    [
        (group(of_last={"steady": False}), "†", "had not settled"),
        # Of 0.3 seconds on two processors.
        (group(of_last={"others_seconds": 0.031}), "§", "more than a twentieth"),
        (group(of_last={**ON_GPU, "host_seconds": (0.2, 0.2)}), "¶", "waited for the host"),
        (group(device_state=state(HARDWARE_SLOWDOWN)), "‖", "slowed the device down"),
    ],
)
def test_one_process_of_three_marks_the_group_and_a_note_says_why(one: Group, mark: str, words: str) -> None:
    assert marks_of(one) == f" {mark}"
    (note,) = notes_on_marks([group(), one])
    assert note.startswith(f"{mark} ")
    assert words in note


@pytest.mark.parametrize(
    "one",
    [
        group(),
        group(of_last={"others_seconds": 0.029}),
        group(of_last={"others_seconds": None, "others_missing": "the system has no /proc/stat"}),
        group(of_last=ON_GPU),
        group(device_state=state(POWER_CAP)),
    ],
)
def test_what_is_as_it_should_be_bears_no_mark(one: Group) -> None:
    assert marks_of(one) == ""
    assert notes_on_marks([one]) == ()


def test_several_marks_stand_side_by_side() -> None:
    one = group(of_last={"steady": False, "others_seconds": 0.2}, device_state=state(HARDWARE_SLOWDOWN))
    lost: Record = record(cell(seed=9), environment(), status="killed", reason="by the system", measurement=None)
    one = replace(one, attempts=(*one.attempts, Attempt(lost.cell, lost)))
    assert marks_of(one) == " † § ‖ ‡"
    assert [note[0] for note in notes_on_marks([one])] == ["†", "§", "‖", "‡"]


def test_a_throttled_attempt_that_failed_says_nothing_of_the_results() -> None:
    lost = record(
        cell(seed=9),
        environment(),
        status="killed",
        reason="by the system",
        measurement=None,
        device_state=state(HARDWARE_SLOWDOWN),
    )
    one = groups_of([*group().attempts, Attempt(lost.cell, lost)])[0]
    assert marks_of(one) == " ‡"


def test_tokens_per_second_are_those_that_a_step_took_in() -> None:
    measured = record(cell(), environment())
    assert isinstance(measured.measurement, StepTimes)
    decoding = measured.measurement.model_copy(update={"tokens_per_step": 3})
    found = groups_of([Attempt(measured.cell, measured.model_copy(update={"measurement": decoding}))])[0]
    assert found.estimate is not None
    assert found.tokens_per_second is not None
    assert found.tokens_per_second.value == pytest.approx(3 / found.estimate.value)
