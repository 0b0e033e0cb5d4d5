"""What was to train within a budget: that it did, with its seconds, or that it ran out of memory."""

from ablations.harness.cell import Capacity
from ablations.report.budget_table import budget_table
from ablations.report.groups import attempts_of

from . import records

CELLS = records.grid(
    "deep", variants=("dense", "reformer"), workloads=(Capacity(budget_bytes=3 * 2**29),), length=(640,), n_layers=(7,)
)


def test_what_fits_and_what_does_not_stand_side_by_side() -> None:
    found = records.records(CELLS, lambda c: ("oom", "limit") if c.config.variant == "dense" else ("ok", ""))
    (table,) = budget_table(attempts_of(CELLS, found))
    assert [column.title for column in table.columns[:3]] == ["length", "n_layers", "variant"]
    assert [column.title for column in table.columns if not column.numeric] == ["variant", "two training steps"]
    dense, reformer = table.rows
    assert dense.cells == ("640", "7", "dense", "1.50 GiB", "out of memory", "—", "2 processes")
    assert not dense.ok
    assert reformer.cells == ("640", "7", "reformer", "1.50 GiB", "fit", "0.500 s", "2 processes")


def test_one_process_that_did_not_fit_is_enough_to_say_so() -> None:
    found = records.records(CELLS, lambda c: ("oom", "limit") if c.seed == 1 else ("ok", ""))
    (table,) = budget_table(attempts_of(CELLS, found))
    assert {row.cells[4] for row in table.rows} == {"out of memory"}


def test_without_a_record_there_is_no_table() -> None:
    assert budget_table(attempts_of(CELLS, ())) == ()
    assert budget_table(attempts_of(records.grid("steps"), ())) == ()
