"""What a pull request shows of a gate."""

from ablations.gate.campaign import take_rounds
from ablations.gate.cells import own_cells
from ablations.gate.judge import judge
from ablations.gate.rounds import Gate, Side
from ablations.gate.summary import HEADINGS, summary
from tests.gate.planted import QUIET, Cost, machine
from tests.harness.cells import here

CELLS = own_cells()


def gate(cost: Cost, *, noise: float = QUIET, processor: str = "P") -> Gate:
    cells, control = take_rounds(machine(1, noise=noise, cost=cost), CELLS, rounds=8)
    return Gate(
        base=Side(name="base", revision="b" * 40),
        head=Side(name="head", revision="a" * 40, dirty=True),
        environment=here().model_copy(update={"processor": processor}),
        started="2026-01-01T00:00:00+00:00",
        seconds=150.0,
        cells=cells,
        control=control,
    )


def text(measured: Gate) -> str:
    return summary(measured, judge(measured.cells, measured.control))


def test_it_has_a_row_for_every_cell_and_says_what_was_compared() -> None:
    said = text(gate(lambda cell: 1.0))
    assert said.startswith(f"## {HEADINGS['passed']}")
    assert "Head aaaaaaaaaaaa, modified against base bbbbbbbbbbbb" in said
    assert len([line for line in said.splitlines() if line.startswith("| ⚪")]) == len(CELLS)
    assert "2.5 minutes" in said


def test_a_regression_is_the_heading_and_its_row_has_ratio_and_interval() -> None:
    said = text(gate(lambda cell: 1.3 if cell.mode == "decode" else 1.0))
    assert said.startswith(f"## {HEADINGS['regressed']}")
    (row,) = [line for line in said.splitlines() if line.startswith("| 🔴")]
    assert "reformer decode" in row
    ratio = float(row.split("|")[3])
    low, high = map(float, row.split("|")[4].split(" to "))
    assert low < ratio < high
    assert abs(ratio - 1.3) < 0.03


def test_a_noisy_machine_is_said_to_be_one() -> None:
    assert "too far from 1, or too unsure" in text(gate(lambda cell: 1.0, noise=0.4))


def test_why_a_cell_has_no_ratio_stands_in_its_row() -> None:
    said = text(gate(lambda cell: None if cell.mode == "decode" else 1.0))
    assert "fails: error: planted" in said


def test_what_a_machine_or_an_error_says_is_text_and_no_markup() -> None:
    measured = gate(lambda cell: None if cell.mode == "decode" else 1.0, processor="<script>alert(1)</script>|x")
    broken = [
        one.model_copy(
            update={
                "rounds": tuple(
                    turn.model_copy(
                        update={"head": turn.head.model_copy(update={"reason": "<img src=x>|a", "times": None})}
                    )
                    for turn in one.rounds
                )
            }
        )
        for one in measured.cells
    ]
    said = text(measured.model_copy(update={"cells": tuple(broken)}))
    assert "<script" not in said
    assert "<img" not in said
    rows = [line for line in said.splitlines() if line.startswith("| 🔴")]
    assert [row.count("|") for row in rows] == [7] * len(CELLS)


def test_a_gate_is_read_back_from_its_file_as_it_was() -> None:
    measured = gate(lambda cell: 1.1)
    again = Gate.model_validate_json(measured.model_dump_json())
    assert again == measured
    assert judge(again.cells, again.control).outcome == judge(measured.cells, measured.control).outcome
