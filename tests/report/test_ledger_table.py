"""Ledgers in tables: predictions beside peaks, and parts that add up."""

from ablations.harness.cell import PeakMemory
from ablations.harness.ledger import peak_of, predicted
from ablations.harness.measurement import Ledger, PeakBytes
from ablations.report.ledger_table import PARTS
from ablations.report.table import NOTHING, Table
from ablations.report.tables import result_tables
from ablations.report.views import ExperimentResults, experiment_results

from . import records

MEMORY = PeakMemory(mode="forward_backward")
LEDGER = Ledger(parameters=10, gradients=20, optimiser=0, streams=5, activations=25, buckets=1, transient=39)


def results_of(*variants: str, ledger: Ledger | None = None, device: str = "cpu") -> ExperimentResults:
    cells = records.grid("parts", variants=variants, length=(512, 1024), workloads=(MEMORY,), device=device)
    changed = []
    for record in records.records(cells):
        assert isinstance(record.measurement, PeakBytes)
        peak = round(1.25 * peak_of(forecast)) if isinstance(forecast := predicted(record.cell), Ledger) else 7
        fields = {"peak_bytes": peak, "ledger": ledger, "ledger_missing": None if ledger else "nobody looked"}
        changed.append(record.model_copy(update={"measurement": record.measurement.model_copy(update=fields)}))
    return experiment_results(records.planned("parts", cells), changed)


def tables(results: ExperimentResults) -> tuple[Table, ...]:
    found = results.kind("memory")
    assert found is not None
    return result_tables(found, None)


def rows(of: Table) -> list[dict[str, str]]:
    return [dict(zip([column.title for column in of.columns], one.cells, strict=True)) for one in of.rows]


def test_a_planted_difference_stands_beside_the_prediction() -> None:
    found = rows(tables(results_of("reformer", "dense"))[0])
    assert len(found) == 4
    # Measured a quarter more than predicted: the prediction is a fifth below.
    assert {row["difference"] for row in found} == {"-20.0 %"}
    assert all(row["predicted"].endswith("iB") for row in found)


def test_what_is_not_predicted_shows_the_reason() -> None:
    for results, because in (
        (results_of("dense_fused"), "variant 'dense_fused' is not predicted"),
        (results_of("reformer", device="cuda"), "what a GPU's allocator and kernels hold is not predicted"),
    ):
        table = tables(results)[0]
        assert {(row["predicted"], row["difference"]) for row in rows(table)} == {("n/a [1]", NOTHING)}
        assert f"[1] {because}" in table.notes


def test_shares_are_of_the_whole_peak_and_nothing_is_left_out() -> None:
    table = tables(results_of("reformer", ledger=LEDGER))[1]
    first = rows(table)[0]
    assert first["in all"] == "100 bytes"
    assert [first[part] for part in PARTS] == ["10.0 %", "20.0 %", "0", "5.00 %", "25.0 %", "1.00 %", "39.0 %"]


def test_without_any_ledger_the_reason_stands_below_the_peaks_and_there_is_no_empty_table() -> None:
    found = tables(results_of("reformer"))
    assert "Not told in parts: nobody looked." in found[0].notes
    assert not any(table.caption.startswith("What the peak is made of") for table in found)
