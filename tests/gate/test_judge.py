"""The decision of a gate, on machines whose noise and whose changes are known."""

from collections.abc import Sequence
from functools import partial

import pytest

from ablations.gate.campaign import TakeRound, Taking, in_turns, take_rounds
from ablations.gate.cells import own_cells
from ablations.gate.judge import Judgement, judge
from ablations.gate.rounds import CellRounds, Round, Taken
from ablations.harness.cell import Cell
from ablations.harness.measurement import PacedTimes
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
    assert judge([CellRounds(cell=CELLS[0])], CellRounds(cell=CELLS[0])).outcome == "not measured"


def test_what_neither_side_can_run_is_no_pass() -> None:
    broken = CELLS[2]
    judgement = judged(machine(5, noise=QUIET, cost=partial(_broken, broken), base=partial(_broken, broken)))
    assert judgement.outcome == "not measured"
    (found,) = [one for one in judgement.cells if one.answer == "not measured"]
    assert (found.cell.cell, found.reason) == (broken, "error: planted")


def _broken(which: Cell, cell: Cell) -> float | None:
    return None if cell == which else 1.0


@pytest.mark.parametrize(("lost", "outcome"), [((2,), "passed"), ((2, 5), "regressed"), ((0, 2, 4, 6), "regressed")])
def test_a_head_that_fails_now_and_then_is_no_pass_and_one_that_failed_once_says_why(
    lost: tuple[int, ...], outcome: str
) -> None:
    shaky, well = CELLS[3], machine(5, noise=QUIET)

    def take(cells: Sequence[Cell], control: Cell, number: int) -> Taking:
        taken = well(cells, control, number)
        if number not in lost:
            return taken
        fallen = Taken(times=None, reason="killed: planted")
        return Taking({**taken.cells, shaky: taken.cells[shaky].model_copy(update={"head": fallen})}, taken.control)

    judgement = judged(take)
    assert judgement.outcome == outcome
    (found,) = [one for one in judgement.cells if one.cell.cell == shaky]
    assert found.reason == "killed: planted"
    assert found.answer == ("same" if outcome == "passed" else "fails")


def test_a_cell_that_stays_in_doubt_is_no_pass() -> None:
    unsure = CELLS[4]
    quiet = machine(2, noise=0.002)

    def take(cells: Sequence[Cell], control: Cell, number: int) -> Taking:
        taken = quiet(cells, control, number)
        swaying = Round(base=_paced(1.0), head=_paced((0.9, 1.4)[number % 2]))
        return Taking({**taken.cells, unsure: swaying}, taken.control)

    judgement = judged(take)
    assert judgement.control.quiet
    (found,) = [one for one in judgement.cells if one.cell.cell == unsure]
    assert (found.answer, found.suspect) == ("cannot tell", True)
    assert judgement.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("paces", "quiet"),
    [
        ((1.0, 1.01, 0.99, 1.02, 0.98), True),
        ((1.02, 1.021, 1.022, 1.019, 1.02), True),
        ((1.035, 1.036, 1.034, 1.035, 1.037), False),
        ((1.04, 1.05, 0.98, 1.035, 0.99), True),
        ((1.0, 1.1, 0.9, 1.08, 0.93), False),
    ],
    ids=["near", "near and sure", "surely off", "off and unsure", "too unsure"],
)
def test_a_machine_is_quiet_if_the_base_is_near_itself_and_that_is_sure(paces: tuple[float, ...], quiet: bool) -> None:
    control = CellRounds(cell=CELLS[0], rounds=tuple(Round(base=_paced(1.0), head=_paced(pace)) for pace in paces))
    assert judge([], control).control.quiet is quiet


def _paced(pace: float) -> Taken:
    return Taken(times=PacedTimes(step_seconds=(pace,), reference_seconds=(1.0, 1.0)), reason=None)


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
