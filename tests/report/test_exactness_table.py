"""The table of exactness: the largest of several seeds, and only where something was checked."""

from ablations.harness.cell import Exactness
from ablations.report.exactness_table import exactness_table
from ablations.report.groups import attempts_of

from . import records


def test_differences_and_parameters_are_told_for_each_check() -> None:
    workloads = (Exactness(check="inversion"), Exactness(check="parameters"))
    cells = records.grid("exact", variants=("reversible_only", "reformer"), workloads=workloads)
    (table,) = exactness_table(attempts_of(cells, records.records(cells)))
    titles = [column.title for column in table.columns]
    rows = {one.cells[:2]: dict(zip(titles, one.cells, strict=True)) for one in table.rows}
    assert len(rows) == 2 * 2
    assert rows["inversion", "reformer"]["largest difference"] == "3e-06"
    assert rows["inversion", "reformer"]["compared"] == "789"
    assert rows["inversion", "reformer"]["n"] == "2 seeds"
    assert rows["parameters", "reformer"]["largest difference"] == "—"
    assert rows["parameters", "reformer"]["parameters"] == "123456"
    assert [note.split(":")[0] for note in table.notes[:-1]] == ["Inversion", "Parameters"]


def test_without_a_check_there_is_no_table() -> None:
    cells = records.grid("steps", variants=("dense",))
    assert exactness_table(attempts_of(cells, records.records(cells))) == ()
    unrun = records.grid("exact", variants=("reformer",), workloads=(Exactness(check="inversion"),))
    assert exactness_table(attempts_of(unrun, ())) == ()
