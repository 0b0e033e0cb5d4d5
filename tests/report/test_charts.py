"""Charts hold what the records hold: every value, its bounds, and which cells are behind it."""

import json
from statistics import median

import pytest

from ablations.harness.cell import Cell
from ablations.harness.measurement import Energy, StepTimes
from ablations.harness.record import Record
from ablations.report.charts import Chart, learning_chart, scaling_chart
from ablations.report.charts.chart import Axis, Point, View, exact, id_words, trace
from ablations.report.units import BITS_PER_BYTE, BYTES, SECONDS
from ablations.report.views import ExperimentResults, experiment_results

from . import records


def results(cells: tuple[Cell, ...], fate: records.Fate = records.ok) -> ExperimentResults:
    return experiment_results(records.planned("q", cells), records.records(cells, fate))


def chart(cells: tuple[Cell, ...], fate: records.Fate = records.ok) -> Chart:
    found = scaling_chart(results(cells, fate).kinds, "chart")
    assert found
    return found


def view(found: Chart, quantity: str, mode: str = "forward + backward") -> View:
    return next(one for one in found.views if (one.quantity, one.mode) == (quantity, mode))


def test_every_point_is_the_median_of_its_records_and_names_their_cells() -> None:
    cells = records.grid("q", length=(512, 1024, 2048))
    shown = view(chart(cells), "memory")
    by_id = {one.cell.id: one for one in records.records(cells)}
    for line in shown.traces:
        assert [point.x for point in line.points] == [512, 1024, 2048]
        for point in line.points:
            behind = [by_id[word] for word in point.words[-1].removeprefix("cells ").split()]
            peaks = [
                one.measurement.peak_bytes for one in behind if one.measurement and one.measurement.kind == "memory"
            ]
            assert len(peaks) == 2
            assert point.y * 2**20 == pytest.approx(median(peaks))
            assert f"exactly {round(median(peaks)):,}" in point.words[1]


def test_a_quantity_is_offered_only_where_there_are_numbers_of_it() -> None:
    cells = records.grid("q", length=(512, 1024))
    assert {one.quantity for one in chart(cells).views} == {"time", "memory", "tokens per second"}
    times = tuple(one for one in cells if one.workload.kind == "time")
    assert {one.quantity for one in chart(times).views} == {"time", "tokens per second"}
    assert scaling_chart(results(cells, lambda _: None).kinds, "chart") is None


def test_energy_is_joules_of_a_step_over_the_processes_that_counted_it() -> None:
    cells = records.grid("q", variants=("dense",), length=(512, 1024), device="cuda")
    counted = [_counted(one) for one in records.records(cells)]
    found = scaling_chart(experiment_results(records.planned("q", cells), counted).kinds, "chart")
    assert found
    (trace,) = view(found, "energy").traces
    assert [point.y for point in trace.points] == pytest.approx([median((5.12, 10.24)), median((10.24, 20.48))])


def _counted(one: Record) -> Record:
    if not isinstance(one.measurement, StepTimes):
        return one
    used = Energy(joules=one.cell.length / 100 * (1 + one.cell.seed) * 4, steps=4, seconds=1.0)
    return one.model_copy(update={"measurement": one.measurement.model_copy(update={"energy": used})})


def test_what_has_no_result_is_told_and_not_drawn() -> None:
    cells = records.grid("q", variants=("dense", "reformer"), length=(512, 1024))
    found = chart(
        cells, lambda cell: ("oom", "") if cell.length == 1024 and cell.config.variant == "dense" else ("ok", "")
    )
    shown = view(found, "time")
    assert {trace.name: len(trace.points) for trace in shown.traces} == {"dense": 1, "reformer": 2}
    assert shown.remarks == ("dense: no result at 1024 (out of memory).",)


def test_a_variant_without_the_setting_is_drawn_across() -> None:
    shown = view(chart(records.grid("q", variants=("dense", "lsh_only"), n_hashes=(1, 2, 4))), "time")
    (across,) = [trace for trace in shown.traces if trace.look == "across"]
    assert across.name == "dense (no n_hashes)"
    assert [point.x for point in across.points] == [1, 4]
    assert across.points[0].y == across.points[1].y


def in_chunks(cells: tuple[Cell, ...], *lengths: int | None, d_ff: int = 112) -> tuple[Cell, ...]:
    return tuple(
        one.model_copy(update={"config": one.config.model_copy(update={"ff_chunk_len": length, "d_ff": d_ff})})
        for one in cells
        for length in lengths
    )


def test_what_lacks_the_setting_in_a_series_that_has_it_is_drawn_across_beside_its_line() -> None:
    once = records.grid("q", variants=("reformer",), workloads=records.STEP_WORKLOADS[1:2])
    cells = (*in_chunks(once, None, 37, 74, 148), *in_chunks(once, None, 37, 74, 148, d_ff=224))
    shown = view(chart(cells), "time")
    looks = {trace.name: (trace.look, [point.x for point in trace.points], trace.dash) for trace in shown.traces}
    assert looks == {
        "reformer, d_ff=112": ("line", [37, 74, 148], "solid"),
        "reformer, d_ff=112 (no ff_chunk_len)": ("across", [37, 148], "dot"),
        "reformer, d_ff=224": ("line", [37, 74, 148], "dash"),
        "reformer, d_ff=224 (no ff_chunk_len)": ("across", [37, 148], "longdash"),
    }
    ids = {one.id for one in cells if one.config.ff_chunk_len is None and one.config.d_ff == 112}
    for point in shown.traces[1].points:
        assert point.words[0] == "reformer, d_ff=112 (no ff_chunk_len)"
        assert set(point.words[-1].removeprefix("cells ").split()) == ids


def test_the_exact_value_of_a_point_is_in_ones_of_its_unit() -> None:
    found = chart(records.grid("q", variants=("dense",), length=(512, 1024)))
    said = {one.quantity: one.traces[0].points[0].words[1] for one in found.views}
    units = {quantity: words.removesuffix(")").split()[-1] for quantity, words in said.items()}
    assert units == {"time": "s", "memory": "bytes", "tokens per second": "tokens/s"}
    assert exact(0.0123, SECONDS) == "0.0123 s"
    assert exact(12345.0, BYTES) == "12,345 bytes"
    assert exact(2.5, BITS_PER_BYTE) == "2.5"


def test_where_no_number_varies_each_variant_has_a_place_of_its_own() -> None:
    shown = view(chart(records.grid("q", variants=("dense", "reformer"))), "time")
    assert shown.x.log is None
    assert [trace.points[0].x for trace in shown.traces] == ["dense", "reformer"]


def test_learning_is_drawn_run_by_run_against_steps_seconds_and_memory() -> None:
    cells = records.grid("q", variants=("dense", "reformer"), workloads=(records.LEARN,), seeds=(3, 5, 8))
    found = learning_chart(results(cells).kinds[0], "chart")
    assert found
    steps, seconds, memory = found.views
    assert len(steps.traces) == len(seconds.traces) == 2 * 3
    assert [point.x for point in steps.traces[0].points] == [10, 20, 30, 40, 50, 60]
    assert [point.y for point in steps.traces[0].points] == [point.y for point in seconds.traces[0].points]
    assert [len(trace.points) for trace in memory.traces] == [1, 1]


def test_data_are_the_same_each_time_and_valid_json() -> None:
    cells = records.constant_tokens()
    assert chart(cells).data == chart(cells).data
    assert json.loads(chart(cells).data)


def test_data_are_the_same_where_a_processor_sums_in_another_order() -> None:
    def drawn(value: float) -> str:
        points = (Point(x=2**60 + 1, y=value, low=None, high=-value, words=("0.1234567890123",)),)
        views = (View("time", "forward", Axis("x", (), None), Axis("y", (), True), (trace("dense", "dense", points),)),)
        return Chart("one", "One", "One point", views).data

    assert drawn(3.8197260859792586) == drawn(3.819726085979258)
    (point,) = json.loads(drawn(3.8197260859792586))[0]["traces"][0]["points"]
    assert point == {"x": 2**60 + 1, "y": 3.8197261, "low": None, "high": -3.8197261, "words": ["0.1234567890123"]}


def test_comparisons_are_drawn_over_length_one_view_for_each_type_of_number() -> None:
    single = records.constant_tokens(seeds=(0,))
    halves = tuple(one.model_copy(update={"dtype": "bfloat16"}) for one in single)
    found = chart((*single, *halves))
    assert {one.mode.split(", ")[-1] for one in found.views} == {"float32", "bfloat16"}
    assert all("length" in one.x.title for one in found.views)
    assert all(len({trace.name for trace in one.traces}) == len(one.traces) for one in found.views)


def test_of_many_cells_the_first_are_named_and_the_rest_counted() -> None:
    assert id_words(["a"]) == "cell a"
    assert id_words(["a", "b", "c", "d", "e"]) == "cells a b c +2 more"


def test_the_vertical_axis_names_its_unit_once() -> None:
    found = chart(records.grid("q", length=(512, 32768)))
    titles = [view(found, quantity).y.title for quantity in ("time", "memory", "tokens per second")]
    assert titles == ["time per step (s)", "peak memory (GiB)", "tokens per second"]
