"""The decision of a gate, on machines whose noise and whose changes are known."""

from collections.abc import Sequence
from functools import partial

import pytest

from ablations.gate.campaign import TakeRound, Taking, in_turns, take_rounds
from ablations.gate.cells import own_cells
from ablations.gate.judge import Judgement, judge
from ablations.gate.rounds import CellRounds, Round, Taken
from ablations.harness.cell import Cell
from tests.gate.planted import CONTENDED, QUIET, Cost, machine

CELLS = own_cells()
TRIALS = 200


def judged(take: TakeRound, cells: Sequence[Cell] = CELLS) -> Judgement:
    return judge(*take_rounds(take, cells, rounds=8))


def outcomes(cost: Cost, noise: float) -> list[str]:
    return [judged(machine(seed, noise=noise, cost=cost)).outcome for seed in range(TRIALS)]


@pytest.mark.parametrize("noise", [QUIET, CONTENDED])
def test_equal_code_raises_no_alarm(noise: float) -> None:
    assert outcomes(lambda cell: 1.0, noise).count("regressed") <= TRIALS // 100


@pytest.mark.parametrize("noise", [QUIET, CONTENDED])
def test_lsh_attention_slower_by_fifteen_per_cent_is_caught(noise: float) -> None:
    found = outcomes(lambda cell: 1.15 if cell.scope == "attention" else 1.0, noise)
    assert found.count("regressed") >= 0.95 * TRIALS


def test_one_cell_alone_is_enough() -> None:
    for slow in CELLS:
        judgement = judged(machine(7, noise=QUIET, cost=partial(_only, slow)))
        assert judgement.outcome == "regressed"
        assert [one.cell.cell for one in judgement.cells if one.answer == "slower"] == [slow]


def _only(slow: Cell, cell: Cell) -> float:
    return 1.2 if cell == slow else 1.0


def test_what_became_faster_passes_and_is_said() -> None:
    judgement = judged(machine(3, noise=QUIET, cost=lambda cell: 0.7))
    assert judgement.outcome == "passed"
    assert {one.answer for one in judgement.cells} == {"faster"}


def test_a_machine_that_cannot_tell_the_base_from_itself_gives_no_verdict() -> None:
    judgement = judged(machine(5, noise=0.4, cost=lambda cell: 1.15))
    assert not judgement.control.quiet
    assert judgement.outcome == "inconclusive"


def test_what_the_head_cannot_run_is_a_regression_however_noisy_the_machine() -> None:
    broken = CELLS[2]
    judgement = judged(machine(5, noise=0.4, cost=lambda cell: None if cell == broken else 1.0))
    assert judgement.outcome == "regressed"
    (found,) = [one for one in judgement.cells if one.answer == "fails"]
    assert (found.cell.cell, found.reason) == (broken, "error: planted")


def test_what_the_base_cannot_run_is_new_and_no_pass_in_silence() -> None:
    added = CELLS[0]
    judgement = judged(machine(5, noise=QUIET, base=lambda cell: None if cell == added else 1.0))
    assert judgement.outcome == "passed"
    assert [one.cell.cell for one in judgement.cells if one.answer == "new"] == [added]


def test_a_base_that_cannot_be_measured_at_all_is_not_comparable() -> None:
    assert judged(machine(5, noise=QUIET, base=lambda cell: None)).outcome == "not comparable"


def test_without_any_round_nothing_is_said() -> None:
    assert judge([CellRounds(cell=CELLS[0])], CellRounds(cell=CELLS[0])).outcome == "not comparable"


def test_only_what_is_in_doubt_is_measured_again() -> None:
    doubtful = CELLS[1]
    taken: list[tuple[Cell, ...]] = []
    take = machine(11, noise=0.002, cost=lambda cell: 1.08 if cell == doubtful else 1.0)

    def counted(cells: Sequence[Cell], control: Cell, number: int) -> Taking:
        taken.append(tuple(cells))
        return take(cells, control, number)

    found, _ = take_rounds(counted, CELLS, rounds=8)
    assert taken == [CELLS] * 8 + [(doubtful,)] * 8
    assert {one.cell: len(one.rounds) for one in found} == {cell: 16 if cell == doubtful else 8 for cell in CELLS}


def test_sides_take_turns_at_being_first() -> None:
    said: list[tuple[str, Cell]] = []

    def measure(which: str, cell: Cell) -> Taken:
        said.append((which, cell))
        return Taken(times=None, reason=which)

    first = in_turns(measure, CELLS[:3], CELLS[0], 0)
    assert [which for which, _ in said] == ["base", "head", "head", "base", "base", "head", "base", "control"]
    assert [cell for _, cell in said] == [cell for cell in (*CELLS[:3], CELLS[0]) for _ in range(2)]
    assert first.control == Round(base=Taken(times=None, reason="base"), head=Taken(times=None, reason="control"))
    said.clear()
    in_turns(measure, CELLS[:3], CELLS[0], 1)
    assert [which for which, _ in said] == ["head", "base", "base", "head", "head", "base", "control", "base"]
