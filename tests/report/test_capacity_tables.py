"""The table of longest sequences: what was found, what stopped it, and that nobody can tell where nobody can."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from ablations.harness.cell import Capacity
from ablations.harness.record import Record, Status
from ablations.harness.search import Search, found
from ablations.harness.store import MachineResults, Plan, PlannedExperiment
from ablations.report.capacity import SearchResult, search_results
from ablations.report.capacity_tables import capacity_tables
from ablations.report.charts import capacity_chart
from ablations.report.figures import capacity_figures
from ablations.report.pages import machine_part
from ablations.report.table import Table
from ablations.report.views import experiment_results
from reformer.config import VARIANTS

from . import records

GRANULE, START, MOST = 128, 512, 8192
Becomes = Callable[[int], Status]


def search(variant: str, *, budget_bytes: int | None = 3 * 2**28, n_layers: int = 3, device: str = "cpu") -> Search:
    workload = Capacity(budget_bytes=budget_bytes)
    first = records.cell("max_length", variant, workload, length=START, n_layers=n_layers, device=device)
    attention = VARIANTS[variant].attention
    return Search(cell=first, attention=attention, granule=GRANULE, most=MOST, most_reason="slow beyond 8,192")


def within(limit: int) -> Becomes:
    return lambda length: "ok" if length <= limit else "oom"


def measured(of: Search, becomes: Becomes, *, n_most: int = 99) -> list[Record]:
    """Of the first `n_most` probes of the search."""
    made: dict[str, Record] = {}
    while len(made) < n_most and (probe := found(of, statuses(made)).next):
        made[probe.id] = records.record(probe, (becomes(probe.length), "planted"))
    return list(made.values())


def statuses(made: Mapping[str, Record]) -> dict[str, Status]:
    return {cell_id: one.status for cell_id, one in made.items()}


def results_of(*searches: tuple[Search, Becomes], n_most: int = 99) -> tuple[SearchResult, ...]:
    made = [one for of, becomes in searches for one in measured(of, becomes, n_most=n_most)]
    return search_results([of for of, _ in searches], {one.cell.id: one for one in made})


def only(results: tuple[SearchResult, ...]) -> dict[str, str]:
    (table,) = capacity_tables(results)
    (row,) = table.rows
    return dict(zip([column.title for column in table.columns], row.cells, strict=True))


def column(table: Table, title: str) -> list[str]:
    place = [one.title for one in table.columns].index(title)
    return [row.cells[place] for row in table.rows]


def test_a_row_says_how_long_and_how_sure_and_what_stopped_it() -> None:
    assert only(results_of((search("reformer"), within(3000)))) == {
        "variant": "reformer",
        "memory budget": "768 MiB",
        "longest": "2,944",
        "shortest that failed": "3,072",
        "bracket": "128",
        # 512, 1024, 2048, 4096; 3072, 2560, 2816, 2944.
        "probes": "8",
        "stopped by": "out of memory at 3,072",
    }


def test_what_ends_at_the_longest_to_try_holds_at_least_that() -> None:
    row = only(results_of((search("reformer"), within(10**6))))
    assert (row["longest"], row["shortest that failed"], row["bracket"]) == ("at least 8,192", "—", "—")
    assert row["stopped by"] == "slow beyond 8,192"


@pytest.mark.parametrize(("status", "words"), [("killed", "killed"), ("timeout", "timed out"), ("error", "error")])
def test_what_says_nothing_of_memory_is_no_limit(status: Status, words: str) -> None:
    later = only(results_of((search("dense"), lambda length: "ok" if length < 2048 else status)))
    assert (later["longest"], later["shortest that failed"]) == ("at least 1,024", "—")
    assert later["stopped by"] == f"{words} at 2,048, which says nothing of memory"
    at_once = results_of((search("dense"), lambda _: status))
    assert only(at_once)["longest"] == "cannot tell"
    assert not capacity_tables(at_once)[0].rows[0].ok


def test_where_nothing_fits_the_row_says_below_what() -> None:
    row = only(results_of((search("dense"), within(0))))
    assert (row["longest"], row["shortest that failed"], row["bracket"]) == ("below 128", "128", "128")


def test_a_search_that_was_cut_short_is_not_finished() -> None:
    cut = results_of((search("dense"), within(3000)), n_most=2)
    assert (only(cut)["longest"], only(cut)["stopped by"]) == ("at least 1,024", "not finished: run again")
    assert only(results_of((search("dense"), within(3000)), n_most=0))["longest"] == "missing"
    # Four thousand failed, and shorter lengths are still to be tried.
    bracketing = results_of((search("dense"), within(3000)), n_most=4)
    assert (only(bracketing)["longest"], only(bracketing)["shortest that failed"]) == ("at least 2,048", "4,096")


def test_budgets_stand_in_order_and_variants_in_the_order_of_the_report() -> None:
    asked = [search(v, budget_bytes=b) for v in ("reformer", "dense") for b in (None, 2**34, 2**29)]
    (table,) = capacity_tables(results_of(*((one, within(3000)) for one in asked)))
    assert column(table, "memory budget") == [
        *("512 MiB", "512 MiB", "16.0 GiB", "16.0 GiB"),
        # What a record of a search without a budget says was free.
        *("what was free, 16.0 GiB", "what was free, 16.0 GiB"),
    ]
    assert column(table, "variant") == ["dense", "reformer"] * 3


def test_what_searches_of_one_variant_differ_in_has_a_column() -> None:
    asked = [search("dense", n_layers=n_layers) for n_layers in (5, 2)]
    (table,) = capacity_tables(results_of(*((one, within(3000)) for one in asked)))
    assert column(table, "n_layers") == ["2", "5"]


def test_notes_say_what_counts_on_which_device() -> None:
    (on_cpu,), (on_gpu,) = (
        capacity_tables(results_of((search("dense", device=device), within(3000)))) for device in ("cpu", "cuda")
    )
    assert "threads" in on_cpu.notes[-1]
    assert "caching allocator" in on_gpu.notes[-1]
    assert capacity_tables(()) == ()


def planned(*searches: Search) -> PlannedExperiment:
    return records.planned("max_length", ()).model_copy(update={"searches": searches})


def test_every_probe_is_an_attempt_and_the_next_one_is_missing() -> None:
    of = search("dense")
    cut = experiment_results(planned(of), measured(of, within(3000), n_most=4))
    assert [(one.cell.length, one.status) for one in cut.attempts] == [
        *((512, "ok"), (1024, "ok"), (2048, "ok"), (4096, "oom"), (3072, "missing"))
    ]


def test_a_plan_of_searches_alone_makes_a_section_with_figure_table_and_gaps() -> None:
    of = search("reformer")
    made = tuple(measured(of, within(3000)))
    results = MachineResults(environment=records.environment(), plan=Plan(experiments=(planned(of),)), records=made)
    (part,) = machine_part(results, "m").experiments
    assert part.summary == "6 ok, 2 out of memory"
    assert [table.caption for table in part.tables] == ["Longest sequence that trains within a memory budget"]
    assert len(part.gaps.rows) == 2
    assert [figure.name for figure in part.figures] == ["m-max_length-capacity"]


def places(results: tuple[SearchResult, ...]) -> set[str]:
    (figure,) = capacity_figures(results, "bench")
    names = (element.get("id", "") for element in ET.fromstring(figure.svg).iter())
    return {name.removeprefix("bench-capacity.") for name in names if ".fits-" in name or ".oom-" in name}


def test_the_figure_marks_what_fits_and_what_does_not() -> None:
    results = results_of((search("dense"), within(1100)), (search("reformer"), within(10**6)))
    assert places(results) == {"fits-dense-1024", "oom-dense-1152", "fits-reformer-8192"}
    (figure,) = capacity_figures(results, "bench")
    assert "dense, 768 MiB: 1,024 (out of memory at 1,152)." in figure.svg
    assert "reformer, 768 MiB: at least 8,192" in figure.svg


def test_a_figure_has_a_panel_per_budget_and_none_without_a_length_that_fits() -> None:
    asked = [search("dense", budget_bytes=budget) for budget in (2**29, 2**30)]
    results = results_of((asked[0], within(1100)), (asked[1], lambda _: "error"))
    (figure,) = capacity_figures(results, "bench")
    assert figure.n_panels == 2
    assert capacity_figures(results[1:], "bench") == ()


def test_the_chart_has_a_bar_for_each_longest_length_and_words_where_none_is_known() -> None:
    results = results_of(
        (search("dense"), within(1500)), (search("reformer"), within(99_999)), (search("lsh_only"), lambda _: "oom")
    )
    chart = capacity_chart(results, "chart")
    assert chart
    (view,) = chart.views
    assert view.mode == "within 768 MiB"
    assert {trace.name: (trace.look, [point.y for point in trace.points]) for trace in view.traces} == {
        "dense": ("bars", [1408]),
        "reformer": ("open bars", [MOST]),
    }
    (words,) = [trace.points[0].words for trace in view.traces if "reformer" in trace.name]
    assert f"at least {MOST:,} tokens" in words
    assert view.remarks == (
        f"lsh_only: below {GRANULE}, out of memory at {GRANULE}.",
        f"reformer: at least {MOST:,} (hatched), slow beyond 8,192.",
    )


def finding_free(result: SearchResult, free: int) -> SearchResult:
    """The same search, on a machine that had so many bytes free."""
    measured = [one.measurement and one.measurement.model_copy(update={"budget_bytes": free}) for one in result.records]
    pairs = zip(result.records, measured, strict=True)
    return replace(result, records=tuple(one.model_copy(update={"measurement": found}) for one, found in pairs))


def test_what_was_free_is_one_budget_whatever_each_search_found() -> None:
    asked = [search("dense", budget_bytes=2**29), *(search(name, budget_bytes=None) for name in ("dense", "reformer"))]
    within_a_budget, *others = results_of(*((one, within(1100)) for one in asked))
    free = (within_a_budget, *(finding_free(one, gib * 2**30) for one, gib in zip(others, (3, 5), strict=True)))
    chart = capacity_chart(free, "chart")
    assert chart
    assert [view.mode for view in chart.views] == ["within 512 MiB", "within what was free, 3.00 GiB to 5.00 GiB"]
    assert [len(view.traces) for view in chart.views] == [1, 2]
    (figure,) = capacity_figures(free, "bench")
    assert figure.n_panels == 2
    assert column(capacity_tables(free)[0], "memory budget")[1:] == [
        "what was free, 3.00 GiB",
        "what was free, 5.00 GiB",
    ]


def test_there_is_no_chart_before_a_length_fits() -> None:
    assert capacity_chart(results_of((search("dense"), lambda _: "oom")), "chart") is None
    assert capacity_chart(results_of((search("dense"), within(1500)), n_most=0), "chart") is None
