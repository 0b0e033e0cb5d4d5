"""Steps measured by what a fixed computation takes beside them."""

import pytest
from pydantic import ValidationError

from ablations.gate.cells import own_cells
from ablations.gate.pacing import STRETCHES, Stretch
from ablations.harness.measurement import PacedTimes


def test_a_machine_that_is_slow_for_a_while_has_the_same_pace() -> None:
    steady = PacedTimes(step_seconds=(6.0, 6.0, 6.0), reference_seconds=(2.0, 2.0, 2.0, 2.0))
    # Three times as slow from the middle of the second step on.
    slower = PacedTimes(step_seconds=(6.0, 12.0, 18.0), reference_seconds=(2.0, 2.0, 6.0, 6.0))
    assert steady.pace == slower.pace == 3.0


def test_a_step_that_takes_longer_has_another() -> None:
    one = PacedTimes(step_seconds=(2.0, 2.2), reference_seconds=(1.0, 1.0, 1.0))
    assert one.pace == pytest.approx(2.1)


def test_every_step_lies_between_two_stretches() -> None:
    with pytest.raises(ValidationError, match="one reference more"):
        PacedTimes(step_seconds=(1.0, 1.0), reference_seconds=(1.0, 1.0))


def test_a_stretch_is_as_many_times_the_fixed_computation_and_tells_the_time_of_one() -> None:
    done: list[None] = []
    stretch = Stretch(7)
    stretch._once = lambda: done.append(None)  # type: ignore[method-assign]
    assert stretch.seconds() < 1.0
    assert len(done) == 7


def test_every_cell_has_a_stretch_for_its_mode() -> None:
    assert {cell.mode for cell in own_cells()} <= STRETCHES.keys()
