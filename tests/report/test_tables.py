"""Tables: nothing dropped, every number with n and interval, every gap with its reason."""

from collections.abc import Mapping, Sequence

from ablations.harness.cell import PeakMemory, TimeStep, Workload
from ablations.harness.measurement import PeakBytes, StepTimes
from ablations.harness.record import Record
from ablations.report.table import Row, Table
from ablations.report.tables import gaps_table, result_tables
from ablations.report.views import ExperimentResults, experiment_results

from . import records

TIME, MEMORY = TimeStep(mode="forward_backward"), PeakMemory(mode="forward_backward")


def results_of(
    fate: records.Fate = records.ok, *, workloads: Sequence[Workload], device: str = "cpu"
) -> ExperimentResults:
    variants = ("dense", "lsh_only")
    cells = records.grid("lengths", variants=variants, length=(512, 1024, 2048), workloads=workloads, device=device)
    return experiment_results(records.planned("lengths", cells), records.records(cells, fate))


def with_measurements(results: ExperimentResults, change: Mapping[str, object]) -> ExperimentResults:
    changed = [_changed(a.record, change) for a in results.attempts if a.record]
    return experiment_results(results.planned, changed)


def _changed(record: Record, change: Mapping[str, object]) -> Record:
    assert record.measurement is not None
    return record.model_copy(update={"measurement": record.measurement.model_copy(update=change)})


def table(results: ExperimentResults, kind: str, number: int = 0) -> Table:
    found = results.kind(kind)
    assert found is not None
    return result_tables(found, None)[number]


def row(of: Table, *leading: str) -> dict[str, str]:
    titles = [column.title for column in of.columns]
    found = [one for one in of.rows if set(leading) <= set(one.cells)]
    assert len(found) == 1, leading
    return dict(zip(titles, found[0].cells, strict=True))


def test_every_group_has_a_row_and_every_row_a_cell_per_column() -> None:
    for kind in ("time", "memory"):
        of = table(results_of(workloads=(TIME, MEMORY)), kind)
        assert len(of.rows) == 2 * 3
        assert all(len(one.cells) == len(of.columns) for one in of.rows)


def test_only_settings_that_are_numbers_stand_in_columns_of_numbers() -> None:
    single = records.grid("types", variants=("dense", "lsh_only"), workloads=(TIME,), length=(512, 1024))
    cells = (*single, *(one.model_copy(update={"dtype": "bfloat16"}) for one in single))
    of = table(experiment_results(records.planned("types", cells), records.records(cells)), "time")
    numeric = {column.title: column.numeric for column in of.columns}
    assert [numeric[name] for name in ("length", "n_buckets", "dtype", "variant")] == [True, True, False, False]


def test_a_number_comes_with_samples_processes_and_interval() -> None:
    found = row(table(results_of(workloads=(TIME,)), "time"), "1024", "dense")
    assert found["n (processes)"] == "18 (2)"
    assert " to " in found["95 % interval"]
    assert found["time per step"].endswith(" ms")


def test_out_of_memory_is_a_cell_of_the_table() -> None:
    results = results_of(
        lambda cell: ("oom", "limit reached") if cell.length == 2048 else ("ok", ""), workloads=(TIME, MEMORY)
    )
    for kind, title in (("time", "time per step"), ("memory", "peak")):
        assert row(table(results, kind), "2048", "dense")[title] == "out of memory"
        assert row(table(results, kind), "1024", "dense")[title] != "out of memory"


def test_a_group_with_one_process_left_is_marked_and_the_lost_seed_named() -> None:
    results = results_of(
        lambda cell: ("killed", "by the system") if cell.seed == 1 and cell.length == 512 else ("ok", ""),
        workloads=(TIME,),
    )
    of = table(results, "time")
    assert row(of, "512", "dense")["time per step"].endswith("‡")
    assert row(of, "512", "dense")["n (processes)"] == "9 (1)"
    assert any(note.startswith("‡") and "dense at length 512, seed 1 killed" in note for note in of.notes)


def test_a_step_that_had_not_settled_is_marked_and_explained() -> None:
    settled = results_of(workloads=(TIME,))
    restless = with_measurements(settled, {"steady": False})
    assert "†" in row(table(restless, "time"), "512", "dense")["time per step"]
    assert any(note.startswith("†") for note in table(restless, "time").notes)
    assert not any("†" in text for one in table(settled, "time").rows for text in one.cells)


def test_of_one_process_the_reason_stands_where_the_interval_would() -> None:
    cells = records.grid("alone", variants=("dense",), workloads=(TIME,), seeds=(0,), length=(512, 1024))
    results = experiment_results(records.planned("alone", cells), records.records(cells))
    assert row(table(results, "time"), "512", "dense")["95 % interval"] == "one process"


def test_exact_peaks_say_exact_and_show_the_value_planted() -> None:
    found = row(table(results_of(workloads=(MEMORY,)), "memory"), "512", "dense")
    assert found["interval"] == "exact"
    # Two units of 5 MiB and one per layer, of which there are three.
    assert found["peak"] == "25.0 MiB"
    assert found["n (processes)"] == "2 (2)"


def test_what_the_system_could_not_tell_is_a_footnote_and_never_zero() -> None:
    missing = {"os_peak_bytes": None, "os_peak_missing": "the kernel keeps no peak here"}
    of = table(with_measurements(results_of(workloads=(MEMORY,)), missing), "memory")
    assert row(of, "512", "dense")["OS view"] == "n/a [1]"
    assert "[1] the kernel keeps no peak here" in of.notes


def test_a_gpu_has_columns_for_reserved_and_process_bytes() -> None:
    of = table(results_of(workloads=(MEMORY,), device="cuda"), "memory")
    found = row(of, "512", "dense")
    assert found["reserved"] == "36.0 MiB"
    assert found["process"].startswith("n/a [")
    assert any("inside a container" in note for note in of.notes)
    assert "reserved" not in row(table(results_of(workloads=(MEMORY,)), "memory"), "512", "dense")


def test_system_readings_that_differ_show_their_range() -> None:
    results = results_of(workloads=(MEMORY,))
    changed = []
    for attempt in results.attempts:
        assert attempt.record is not None
        assert isinstance(attempt.record.measurement, PeakBytes)
        reading = (30 + 4 * attempt.cell.seed) * 2**20
        changed.append(_changed(attempt.record, {"os_peak_bytes": reading, "os_peak_missing": None}))
    of = table(experiment_results(results.planned, changed), "memory")
    assert row(of, "512", "dense")["OS view"] == "32.0 MiB (30.0 to 34.0 MiB)"


def test_the_planted_exponents_are_in_the_table_of_fits() -> None:
    of = table(results_of(workloads=(MEMORY,)), "memory", number=1)
    assert row(of, "dense")["exponent"] == "2.00"
    assert row(of, "dense")["interval"] == "exact"
    assert row(of, "lsh_only")["exponent"] == "1.00"
    assert row(of, "dense")["fitted at length"] == "512, 1024, 2048"


def test_two_lengths_cannot_tell_an_exponent() -> None:
    results = results_of(lambda cell: ("timeout", "an hour") if cell.length == 512 else ("ok", ""), workloads=(MEMORY,))
    found = row(table(results, "memory", number=1), "dense")
    assert found["exponent"] == "cannot tell"
    assert "512 (timed out)" in found["fitted at length"]


def test_over_depth_the_fit_is_a_slope_per_layer() -> None:
    cells = records.grid("deep", variants=("dense", "reversible_only"), workloads=(MEMORY,), n_layers=(1, 2, 5))
    results = experiment_results(records.planned("deep", cells), records.records(cells))
    assert row(table(results, "memory", number=1), "dense")["slope per layer"] == "20.0 MiB"


def test_a_reference_has_no_slope_and_says_why() -> None:
    cells = records.grid("rounds", variants=("dense", "lsh_only"), workloads=(TIME,), n_hashes=(1, 2, 4))
    results = experiment_results(records.planned("rounds", cells), records.records(cells))
    found = row(table(results, "time", number=1), "dense")
    assert found["fitted at n_hashes"] == "dense has no n_hashes"


def test_learning_shows_range_over_seeds_split_and_rate() -> None:
    cells = records.grid("learn", variants=("dense", "reformer"), workloads=(records.LEARN,), length=(640,))
    results = experiment_results(records.planned("learn", cells), records.records(cells))
    of = table(results, "learn")
    found = row(of, "dense")
    assert found["interval"].startswith("range ")
    assert found["n"] == "2 seeds"
    assert found["steps"] == "60"
    rate = 640 / records.planted_seconds(cells[0])
    assert abs(float(found["tokens/s"].replace(",", "")) / rate - 1) < 0.005
    assert any("first 90 MB" in note for note in of.notes)
    assert any("short runs" in note for note in of.notes)


def test_every_cell_that_is_not_ok_is_listed_with_its_reason() -> None:
    outcomes: dict[int, records.Outcome] = {
        512: ("oom", "limit of 3 GiB"),
        1024: None,
        2048: ("error", "ValueError: odd"),
    }
    of = gaps_table(results_of(lambda cell: outcomes[cell.length], workloads=(TIME,)))
    assert len(of.rows) == 2 * 2 * 3
    assert not any(one.ok for one in of.rows)
    by_status: dict[str, list[Row]] = {}
    for one in of.rows:
        by_status.setdefault(one.cells[0], []).append(one)
    assert {status: rows[0].cells[2] for status, rows in by_status.items()} == {
        "out of memory": "limit of 3 GiB",
        "missing": "not run yet",
        "error": "ValueError: odd",
    }
    assert all("length=1024" in one.cells[1] for one in by_status["missing"])


def test_the_fixture_times_on_a_gpu_with_another_clock_than_the_wall() -> None:
    measured = records.measurement(records.cell("x", "dense", TIME, device="cuda"))
    assert isinstance(measured, StepTimes)
    assert measured.device_seconds is not None
    assert measured.device_seconds != measured.wall_seconds
