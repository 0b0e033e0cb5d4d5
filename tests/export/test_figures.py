"""Figures for papers: of a column's width, with everything that was measured in them, and the same every time."""

import math
import re

import pytest

from ablations.export.charts import Bars, Chart, Curves, charts
from ablations.export.paper_figures import MOST_LINES, PaperFigure, paper_figures
from ablations.harness.cell import Cell
from ablations.harness.store import MachineResults, PlannedExperiment
from ablations.report.views import ExperimentResults, experiment_results
from tests.report import records


def results(name: str, machine: MachineResults | None = None) -> ExperimentResults:
    whole = machine or records.demo()
    (planned,) = (one for one in whole.plan.experiments if one.name == name)
    return experiment_results(planned, whole.records)


def of_cells(cells: tuple[Cell, ...], fate: records.Fate = records.ok) -> ExperimentResults:
    planned: PlannedExperiment = records.planned("depth", cells)
    return experiment_results(planned, records.records(cells, fate))


def page_points(figure: PaperFigure) -> tuple[float, float]:
    found = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", figure.pdf)
    assert found
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("name", ["hash_rounds", "learn_enwik8"])
def test_a_figure_is_one_column_wide(name: str) -> None:
    for figure in paper_figures(results(name), name):
        assert page_points(figure)[0] == 3.25 * 72
        assert b'width="234pt"' in figure.svg


def test_many_lines_take_two_columns() -> None:
    cells = records.grid(
        "depth", variants=("lsh_only", "reformer", "dense"), n_hashes=(1, 2, 4, 8), n_layers=(1, 2, 3, 4, 5)
    )
    drawn = of_cells(cells)
    assert all(len(chart.lines) > MOST_LINES for chart in charts(drawn) if isinstance(chart, Chart))
    assert {page_points(figure)[0] for figure in paper_figures(drawn, "many")} == {6.75 * 72}


def test_there_is_a_figure_for_each_mode_of_each_kind() -> None:
    names = [figure.name for figure in paper_figures(results("sequence_length"), "x")]
    assert names == ["x-time-forward", "x-time-forward_backward", "x-memory-forward_backward"]
    assert [figure.name for figure in paper_figures(results("learn_enwik8"), "x")] == ["x-learning"]


def test_lines_hold_the_estimates_of_their_groups() -> None:
    drawn = results("sequence_length")
    for chart in charts(drawn):
        assert isinstance(chart, Chart)
        for line in chart.lines:
            assert [place for place, _ in line.groups] == [group.cell.length for _, group in line.groups]
            assert all(group.variant == line.variant for _, group in line.groups)
    shown = {
        id(group)
        for chart in charts(drawn)
        if isinstance(chart, Chart)
        for line in chart.lines
        for _, group in line.groups
    }
    assert shown == {id(group) for kind in drawn.kinds for group in kind.groups}


def test_what_has_no_result_has_no_figure() -> None:
    cells = records.grid("depth", n_layers=(1, 2))
    assert paper_figures(of_cells(cells, lambda one: ("oom", "full")), "x") == ()


def test_a_failure_is_marked_and_named() -> None:
    cells = records.grid(
        "depth", variants=("dense", "reformer"), workloads=records.STEP_WORKLOADS[:1], n_layers=(1, 2, 4)
    )

    def deep_dense_fails(one: Cell) -> records.Outcome:
        return ("oom", "full") if one.config.variant == "dense" and one.config.n_layers == 4 else ("ok", "")

    whole, broken = (paper_figures(of_cells(cells, fate), "x")[0] for fate in (records.ok, deep_dense_fails))
    assert page_points(broken)[1] > page_points(whole)[1]
    assert b"out of memory" in broken.svg
    assert b"out of memory" not in whole.svg


def test_variants_stand_in_rows_where_no_number_varies() -> None:
    cells = records.grid("depth", variants=records.CORNERS)
    drawn = of_cells(cells, lambda one: ("oom", "full") if one.config.variant == "dense" else ("ok", ""))
    figures = paper_figures(drawn, "x")
    assert len(figures) == 3
    assert all("per variant" in figure.caption for figure in figures)
    assert all(b"<!-- dense -->" in figure.svg for figure in figures)


def test_attention_alone_is_told_from_whole_models() -> None:
    cells = tuple(
        one.model_copy(update={"scope": "attention", "implementation": "ours"})
        for one in records.grid("depth", variants=("lsh_only",), n_hashes=(1, 2), length=(512, 1024))
    )
    chart = charts(of_cells(cells))[0]
    assert isinstance(chart, Chart)
    assert chart.name == "time-forward-attention"


def test_drawing_again_gives_the_same_bytes() -> None:
    drawn = results("learn_enwik8")
    assert paper_figures(drawn, "x") == paper_figures(drawn, "x")


def test_figures_hold_no_date_and_letters_that_can_be_searched() -> None:
    for figure in paper_figures(results("depth"), "depth"):
        assert b"CreationDate" not in figure.pdf
        assert b"<dc:date>" not in figure.svg
        assert b"/FontFile2" in figure.pdf
        assert b"/Subtype /Type3" not in figure.pdf


def test_curves_are_one_per_seed_and_bars_one_per_search() -> None:
    (curves,) = charts(results("learn_enwik8"))
    assert isinstance(curves, Curves)
    assert sum(len(group.curves) for line in curves.lines for _, group in line.groups) == 2 * 4 - 1
    assert curves.vertical == "held-out bits per byte"
    assert not any(isinstance(chart, Bars) for chart in charts(results("depth")))
    assert math.isclose(page_points(paper_figures(results("learn_enwik8"), "x")[0])[0], 234)
