"""Data files: every record is there with its own values, and null is never a number."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from pyarrow import parquet

from ablations.export.columns import Column, DataTable, Heading, Value, data_table
from ablations.export.columns_page import columns_page
from ablations.export.csv_text import csv_text
from ablations.export.data_tables import data_tables
from ablations.export.parquet_bytes import parquet_bytes
from ablations.harness.errors import UserError
from ablations.harness.measurement import (
    Ceilings,
    KernelSeconds,
    KernelTime,
    LearningCurve,
    MatrixProducts,
    PeakBytes,
    StepTimes,
)
from ablations.harness.record import Record
from tests.report import records

from . import hostile

DEMO = records.demo()


def read_csv(table: DataTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(table), newline="")))


def read_parquet(table: DataTable) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(parquet_bytes(table))).to_pylist()
    return rows


def tables() -> dict[str, DataTable]:
    return {table.name: table for table in data_tables(DEMO.records)}


def as_value(text: str, heading: Heading) -> Value:
    if text == "":
        return None
    match heading.kind:
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "truth":
            return {"true": True, "false": False}[text]
        case "text":
            return text


def rows_with(kind: type) -> Iterator[tuple[dict[str, str], Record, Any]]:
    for row, record in zip(read_csv(tables()["records"]), DEMO.records, strict=True):
        if isinstance(record.measurement, kind):
            yield row, record, record.measurement


def test_there_is_a_row_for_every_record_whatever_its_status() -> None:
    rows = read_csv(tables()["records"])
    assert [row["cell_id"] for row in rows] == [record.cell_id for record in DEMO.records]
    assert [row["status"] for row in rows] == [record.status for record in DEMO.records]
    assert {"ok", "oom", "not_run"} <= {row["status"] for row in rows}
    assert all((row["reason"] == "") == (row["status"] == "ok") for row in rows)


def test_times_are_those_of_the_records() -> None:
    for row, record, times in rows_with(StepTimes):
        in_order = sorted(times.wall_seconds)
        assert len(in_order) % 2, "the middle of an even number would be no sample"
        assert float(row["wall_median_seconds"]) == in_order[len(in_order) // 2]
        assert float(row["tokens_per_second"]) == times.tokens_per_step / in_order[len(in_order) // 2]
        assert int(row["n_samples"]) == len(in_order)
        assert int(row["length"]) == record.cell.length
        assert int(row["n_layers"]) == record.cell.config.n_layers
        assert (row["device_median_seconds"], row["peak_bytes"], row["energy_per_step_joules"]) == ("", "", "")


def test_peaks_and_ends_of_training_are_those_of_the_records() -> None:
    for row, _, peak in rows_with(PeakBytes):
        assert int(row["peak_bytes"]) == peak.peak_bytes
        assert row["os_peak_bytes"] == ("" if peak.os_peak_bytes is None else str(peak.os_peak_bytes))
        assert int(row["optimiser_bytes"]) == 0
        assert row["ledger_streams_bytes"] == row["wall_median_seconds"] == ""
    for row, _, curve in rows_with(LearningCurve):
        assert float(row["final_bits_per_token"]) == curve.evaluations[-1].bits_per_token
        assert float(row["training_seconds"]) == curve.points[-1].seconds
        assert row["final_accuracy"] == ""


def test_kernels_and_ceilings_are_those_of_the_records() -> None:
    kernels = KernelSeconds(
        kernels=(KernelTime(name="a", calls=6, seconds=0.75), KernelTime(name="b", calls=9, seconds=1.5)), steps=3
    )
    ceilings = Ceilings(
        products=(MatrixProducts(width=10, seconds=(0.5, 0.25)), MatrixProducts(width=20, seconds=(4.0,))),
        copy_bytes=700,
        copy_seconds=(0.4, 0.2),
        threads=4,
    )
    found = [DEMO.records[0].model_copy(update={"measurement": of}) for of in (kernels, ceilings)]
    first, second = read_csv(data_tables(found)[0])
    names = (
        "kernels_per_step_seconds",
        "kernel_calls_per_step",
        "products_flops_per_second",
        "copies_per_second_bytes",
    )
    assert [first[name] for name in names] == ["0.75", "5.0", "", ""]
    assert [second[name] for name in names] == ["", "", "8000.0", "7000.0"]


def test_every_raw_sample_and_every_evaluation_is_there() -> None:
    samples = [float(row["wall_seconds"]) for row in read_csv(tables()["samples"])]
    assert samples == [s for _, _, times in rows_with(StepTimes) for s in times.wall_seconds]
    bits = [float(row["bits_per_token"]) for row in read_csv(tables()["curves"])]
    assert bits == [one.bits_per_token for _, _, curve in rows_with(LearningCurve) for one in curve.evaluations]


def test_rounds_are_null_where_nothing_hashes() -> None:
    rows = read_csv(tables()["records"])
    assert {row["n_hashes"] for row in rows if row["variant"] == "dense"} == {""}
    assert {"1", "2", "4", "8"} <= {row["n_hashes"] for row in rows if row["variant"] == "reformer"}


@pytest.mark.parametrize("name", ["records", "samples", "curves"])
def test_parquet_holds_what_csv_holds_with_its_types(name: str) -> None:
    table = tables()[name]
    rows = read_parquet(table)
    assert rows
    for from_csv, from_parquet in zip(read_csv(table), rows, strict=True):
        expected = {one.name: as_value(from_csv[one.name], one) for one in table.headings}
        assert from_parquet == expected
        assert {key: type(value) for key, value in from_parquet.items()} == {k: type(v) for k, v in expected.items()}


def test_null_empty_false_zero_and_not_a_number_stay_apart() -> None:
    columns: tuple[Column[Any], ...] = (
        Column("text", "text", "", lambda row: row[0]),
        Column("truth", "truth", "", lambda row: row[1]),
        Column("number", "number", "", lambda row: row[2]),
    )
    table = data_table("t", "", columns, [(None, None, None), ("", False, 0.0), ("nan", True, float("nan"))])
    assert csv_text(table) == 'text,truth,number\n,,\n"",false,0.0\nnan,true,nan\n'
    null, zero, odd = read_parquet(table)
    assert list(null.values()) == [None, None, None]
    assert list(zero.values()) == ["", False, 0.0]
    assert odd["number"] != odd["number"]


def test_hostile_texts_come_back_as_they_were() -> None:
    columns: tuple[Column[str], ...] = (
        Column("before", "integer", "", len),
        Column("text", "text", "", lambda text: text),
        Column("after", "integer", "", len),
    )
    table = data_table("t", "", columns, [*hostile.TEXTS, "lone\rreturn"])
    for rows in (read_csv(table), read_parquet(table)):
        assert [row["text"] for row in rows] == [*hostile.TEXTS, "lone\rreturn"]
        assert [int(row["after"]) for row in rows] == [len(row["text"]) for row in rows]


def test_a_number_beyond_the_format_is_refused_by_name() -> None:
    table = DataTable("t", "", (Heading("peak_bytes", "integer", ""),), ((2**70,),))
    with pytest.raises(UserError, match=r"t\.parquet cannot hold column peak_bytes"):
        parquet_bytes(table)


def test_the_page_of_columns_names_each_column_of_each_file_once_in_order() -> None:
    sections = columns_page(tuple(tables().values())).split("\n## ")[1:]
    for section, table in zip(sections, tables().values(), strict=True):
        named = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        assert named == [heading.name for heading in table.headings]
        assert len(set(named)) == len(named)


def test_quantities_name_their_units() -> None:
    for table in tables().values():
        for heading in table.headings:
            if heading.kind == "number" and ("median" in heading.name or "training" in heading.name):
                assert heading.name.endswith("_seconds")
            if "bytes" in heading.name:
                assert heading.name.endswith("_bytes")
