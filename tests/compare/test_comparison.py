"""Cell by cell: what counts in a number, and that no cell is passed over."""

from collections import Counter

import numpy as np
import pytest

from ablations.compare.comparison import Comparison, compare_machines, counts
from ablations.compare.judge import Limits
from ablations.compare.labels import Labels
from ablations.harness.cell import Ceiling, Cell
from ablations.harness.measurement import Ceilings
from ablations.harness.record import Record, Status
from ablations.harness.store import MachineResults
from tests.report import records

from .folders import (
    CELLS,
    Change,
    again,
    ending,
    is_one_of,
    machine,
    times_as_large,
    times_as_long,
    where,
    without,
)

SOME = tuple(cell for cell in CELLS if cell.contender == "reformer")
N_GROUPS = 4 * 3 * 3
OPPOSITE = {"worse": "better", "better": "worse", "same": "same", "cannot tell": "cannot tell"}


def compared(after: MachineResults, before: MachineResults | None = None) -> Comparison:
    return compare_machines(before or machine(), after, Limits())


def answers(comparison: Comparison) -> Counter[str]:
    return Counter(row.judgement.answer for row in comparison.rows)


def the_one(comparison: Comparison) -> tuple[str, int, str]:
    (found,) = [
        row.judgement
        for row in comparison.rows
        if (row.label.what, row.label.variant) == ("time, forward", "reformer") and "n_layers=2" in row.label.settings
    ]
    return found.answer, found.n, found.reason


def seed(number: int, change: Change) -> Change:
    return where(lambda cell: is_one_of(cell) and cell.seed == number, change)


def test_another_measurement_of_the_same_code_raises_no_alarm() -> None:
    found = answers(compared(machine(CELLS, again)))
    assert found["worse"] == found["better"] == 0
    assert found["same"] > 0.8 * N_GROUPS
    assert sum(found.values()) == N_GROUPS


def test_one_slower_group_among_many_is_found_and_stands_first() -> None:
    comparison = compared(machine(CELLS, again, where(is_one_of, times_as_long(1.15))))
    assert answers(comparison)["worse"] == 1
    assert comparison.rows[0].judgement.answer == "worse"
    assert the_one(comparison)[0] == "worse"


def test_the_slower_of_two_slow_groups_stands_first() -> None:
    def slower(cell: Cell) -> bool:
        return cell.workload == records.STEP_WORKLOADS[1] and cell.config.n_layers == 4

    factors = (where(is_one_of, times_as_long(3.0)), where(slower, times_as_long(1.5)))
    sizes = [row.judgement.size for row in compared(machine(CELLS, again, *factors)).rows[:5]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(np.log(3.0), abs=0.03)


def test_a_result_that_is_lost_is_worse_and_one_that_is_gained_is_better() -> None:
    for status in ("oom", "killed", "timeout", "error", "unsupported"):
        before, after = machine(SOME), machine(SOME, again, seed(3, ending(status, "the reason")))
        answer, n, reason = the_one(compared(after, before))
        assert (answer, n, "the reason" in reason) == ("worse", 3, True)
        assert the_one(compared(before, after))[:2] == ("better", 3)


def test_a_lost_group_is_worse_and_stands_before_any_slow_one() -> None:
    after = machine(CELLS, where(is_one_of, ending("oom")), where(is_large, times_as_large(5.0)))
    comparison = compared(after)
    assert the_one(comparison)[:2] == ("worse", 0)
    assert comparison.rows[0].label.variant == "reformer"
    assert comparison.rows[1].judgement.change == "5.00 x"


def is_large(cell: Cell) -> bool:
    return cell.workload.kind == "memory" and cell.config.n_layers == 4 and cell.contender == "dense"


def test_what_was_not_run_for_want_of_data_is_missing_and_not_worse() -> None:
    comparison = compared(machine(CELLS, again, where(is_one_of, ending("not_run"))))
    assert answers(comparison)["worse"] == 0
    (missing,) = comparison.missing
    assert (missing.n_cells, "ok in A, not run in B" in missing.text) == (4, True)


def test_only_seeds_that_both_have_measured_count() -> None:
    """Of seed 3, which A lacks, B is a hundred times as slow: no number may know."""
    before = without(machine(), lambda cell: is_one_of(cell) and cell.seed == 3)
    after = machine(CELLS, seed(3, times_as_long(100.0)))
    assert the_one(compared(after, before))[:2] == ("same", 3)
    (new,) = compared(after, before).new
    assert (new.n_cells, new.words) == (1, "seed 3: missing in A, ok in B")


def test_new_and_missing_cells_are_named_planned_or_not() -> None:
    some = tuple(cell for cell in CELLS if not is_one_of(cell))
    comparison = compared(machine(some), machine())
    (missing,) = comparison.missing
    assert missing.text == (
        "depth: time, forward: reformer, length=1024, n_layers=2 (seeds 0, 1, 2, 3: ok in A, not planned in B)"
    )
    assert not comparison.new
    (new,) = compared(machine(), machine(some)).new
    assert new.text.endswith("(seeds 0, 1, 2, 3: not planned in A, ok in B)")


def test_what_has_a_result_in_neither_is_named_too() -> None:
    side = machine(CELLS, where(is_one_of, ending("oom")))
    comparison = compared(side, side)
    assert [one.n_cells for one in comparison.neither] == [4]
    assert counts([comparison])["without result in both"] == 4


def fates(salt: int) -> Change:
    """One of many ends for each cell, drawn from its id."""

    def change(record: Record) -> Record:
        statuses: tuple[Status, ...] = ("oom", "not_run", "timeout")
        drawn = int(np.random.default_rng([int(record.cell_id, 16), salt]).integers(6))
        return ending(statuses[drawn])(record) if drawn < 3 else record

    return change


def dropped(salt: int) -> MachineResults:
    made = machine(CELLS, again, fates(salt))
    return without(made, lambda cell: np.random.default_rng([int(cell.id, 16), salt, 1]).random() < 0.2)


def test_every_cell_counts_once_whatever_became_of_it() -> None:
    comparison = compared(dropped(2), dropped(1))
    beside = sum(one.n_cells for one in (*comparison.new, *comparison.missing, *comparison.neither))
    judged = sum(row.judgement.n + row.judgement.reason.count("seed ") for row in comparison.rows)
    assert (beside + judged, beside > 20, judged > 20) == (len(CELLS), True, True)


def test_a_and_b_change_places_with_the_answers() -> None:
    there, back = compared(dropped(2), dropped(1)), compared(dropped(1), dropped(2))
    assert there.new
    assert {one.label: one.n_cells for one in there.new} == {one.label: one.n_cells for one in back.missing}
    one = {row.label: row for row in there.rows}
    for row in back.rows:
        both = {"lost", "gained"} <= set(row.judgement.reason.replace(":", "").split())
        assert both or OPPOSITE[row.judgement.answer] == one[row.label].judgement.answer


def test_labels_tell_all_groups_apart() -> None:
    cells = [*CELLS, *records.constant_tokens(), *records.grid("hash_rounds", n_hashes=(1, 2), length=(512, 1024))]
    labels = Labels(cells)
    groups = {cell.model_copy(update={"seed": 0}).id for cell in cells}
    assert len({labels.of(cell) for cell in cells}) == len(groups)


def test_what_the_machine_can_do_is_told_and_not_judged() -> None:
    workload = Ceiling(widths=(10,), copy_bytes=1000)
    first = CELLS[0]
    ceiling = first.model_copy(update={"scope": "machine", "workload": workload})
    fast, slow = records.ceilings(), records.ceilings(flops=1.25e12)
    before = machine([first, ceiling], where(is_ceiling, with_ceilings(fast)))
    after = machine([first, ceiling], where(is_ceiling, with_ceilings(slow)))
    comparison = compared(after, before)
    assert len(comparison.rows) == 1
    assert any("matrix products in float32 at 0.500 x the rate" in remark for remark in comparison.remarks)


def is_ceiling(cell: Cell) -> bool:
    return cell.workload.kind == "ceiling"


def with_ceilings(ceilings: Ceilings) -> Change:
    return lambda record: record.model_copy(update={"measurement": ceilings})


def test_records_that_are_one_and_the_same_are_told() -> None:
    assert compared(machine()).remarks[0].startswith(f"{len(CELLS)} records of A and B are one and the same")
    assert not compared(machine(CELLS, again)).remarks


def test_cautions_of_either_side_are_marked_and_explained() -> None:
    def unsteady(record: Record) -> Record:
        assert record.measurement is not None
        return record.model_copy(update={"measurement": record.measurement.model_copy(update={"steady": False})})

    comparison = compared(machine(CELLS, again, seed(1, unsteady)))
    (row,) = [row for row in comparison.rows if row.marks_after]
    assert (row.marks_before, row.marks_after, row.label.what) == ("", " †", "time, forward")
    assert [text[0] for text in comparison.marks] == ["†"]
