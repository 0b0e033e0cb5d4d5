"""The results folder: nothing measured is lost, and nothing broken is read as if it were whole."""

import json
from pathlib import Path

import pytest

from ablations.harness import store
from ablations.harness.errors import UserError
from ablations.harness.measurement import PeakBytes, StepTimes
from ablations.harness.record import SCHEMA, Record
from ablations.harness.store import Plan, PlannedExperiment
from reformer.config import LSHAttention
from tests.harness.cells import cell, here, record


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "a-machine"
    folder.mkdir()
    for seed in range(3):
        store.append(record(cell(seed=seed), here()), folder)
    return folder / "trial.jsonl"


def test_records_come_back_as_they_were(written: Path) -> None:
    assert store.read_records(written) == tuple(record(cell(seed=seed), here()) for seed in range(3))


def test_the_newest_record_of_a_cell_counts(written: Path) -> None:
    newer = record(cell(seed=1), here(), status="error", reason="again", measurement=None)
    store.append(newer, written.parent)
    newest = store.newest(store.load(written.parent))
    assert [one.status for one in newest] == ["ok", "error", "ok"]


def test_a_line_cut_short_is_named_with_its_remedy(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"trial\.jsonl, line 3 is not whole.*--repair"):
        store.read_records(written)


def test_repair_sets_the_broken_line_aside_and_keeps_the_rest(written: Path) -> None:
    whole = written.read_bytes()
    lines = whole.splitlines(keepends=True)
    written.write_bytes(whole[:-40])
    assert store.repair(written)
    assert written.read_bytes() == b"".join(lines[:2])
    assert (written.parent / "trial.jsonl.broken").read_bytes() == lines[2][:-40] + b"\n"
    store.append(record(cell(seed=2), here()), written.parent)
    assert written.read_bytes() == whole


def test_a_whole_last_record_without_its_line_end_is_kept(written: Path) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"line 3 is not whole.*--repair"):
        store.read_records(written)
    assert store.repair(written)
    assert written.read_bytes() == whole
    assert not (written.parent / "trial.jsonl.broken").exists()


@pytest.mark.parametrize("garbage", [b"\n", b"{half\n", b"{half", b"\x00\x00"])
def test_repair_mends_whatever_a_crash_left_at_the_end(written: Path, garbage: bytes) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole + garbage)
    with pytest.raises(UserError, match=r"line 4 is not whole.*--repair"):
        store.read_records(written)
    assert store.repair(written)
    assert written.read_bytes() == whole
    assert not store.repair(written)


def test_repair_leaves_a_whole_file_alone(written: Path) -> None:
    before = written.read_bytes()
    assert not store.repair(written)
    assert written.read_bytes() == before
    written.write_bytes(b"")
    assert not store.repair(written)
    assert store.read_records(written) == ()


def test_a_broken_line_in_the_middle_is_named_with_its_own_remedy(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(lines[0] + b"{half\n" + lines[2])
    assert not store.repair(written)
    with pytest.raises(UserError, match=r"line 2 is no JSON. Remove that line"):
        store.read_records(written)


def test_a_newer_schema_is_refused(written: Path) -> None:
    content = json.loads(written.read_text().splitlines()[0]) | {"schema_version": SCHEMA + 1}
    written.write_text(json.dumps(content) + "\n")
    with pytest.raises(UserError, match=rf"line 1 has schema_version {SCHEMA + 1}.*reads up to {SCHEMA}"):
        store.read_records(written)


def test_a_line_that_is_no_record_names_the_field(written: Path) -> None:
    content = json.loads(written.read_text().splitlines()[0])
    content["status"] = "splendid"
    written.write_text(json.dumps(content) + "\n")
    with pytest.raises(UserError, match="line 1 is not a record: status"):
        store.read_records(written)


def test_an_unwritable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "trial.jsonl").mkdir()
    with pytest.raises(UserError, match=r"Cannot write .*trial\.jsonl"):
        store.append(record(cell(), here()), tmp_path)


def test_records_of_schema_1_still_load() -> None:
    path = Path(__file__).parent / "schema_1.jsonl"
    records = store.read_records(path)
    assert [one.measurement.kind if one.measurement else one.status for one in records] == [
        "time",
        "memory",
        "learn",
        "oom",
    ]
    for one in records:
        assert one.cell_id == one.cell.id, "the id of a cell must not change from version to version"


def test_records_of_schema_2_load_as_whole_models_of_ours_whose_hashing_was_eager() -> None:
    dense, reformer, mixed = store.read_records(Path(__file__).parent / "schema_2.jsonl")
    for one in (dense, reformer, mixed):
        assert (one.cell.scope, one.cell.implementation, one.cell.dtype) == ("model", "ours", "float32")
        assert one.schema_version == SCHEMA
        assert one.cell_id == one.cell.id
    assert dense.measurement is not None
    assert mixed.status == "oom"
    (attention,) = reformer.cell.config.attentions
    local, lsh = mixed.cell.config.attentions
    assert isinstance(attention, LSHAttention)
    assert isinstance(lsh, LSHAttention)
    assert (local.kind, attention.backend, lsh.backend, lsh.n_hashes) == ("local", "eager", "eager", 3)


def test_records_of_schema_3_load_with_null_and_its_reason_for_what_was_not_measured_yet() -> None:
    ceiling, timed, unsupported, weighed, learnt = store.read_records(Path(__file__).parent / "schema_3.jsonl")
    for one in (ceiling, timed, unsupported, weighed, learnt):
        assert one.schema_version == SCHEMA
        assert one.cell_id == one.cell.id
        assert (one.device_state, one.device_state_missing) == (None, "not measured before schema 4")
    assert isinstance(timed.measurement, StepTimes)
    assert isinstance(weighed.measurement, PeakBytes)
    assert timed.measurement.cores == timed.environment.cores
    assert timed.measurement.others_missing == weighed.measurement.ledger_missing == "not measured before schema 4"
    assert not timed.measurement.contended
    assert unsupported.measurement is None


def test_a_plan_of_schema_2_asks_for_what_its_records_measured(tmp_path: Path) -> None:
    old = [json.loads(line) for line in (Path(__file__).parent / "schema_2.jsonl").read_text().splitlines()]
    experiment = {"profile": "cpu", "name": "trial", "title": "t", "question": "?"}
    plan = {"experiments": [{**experiment, "cells": [one["cell"] for one in old]}]}
    folder = tmp_path / "a-machine"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "machine.json").write_text(here().model_dump_json())
    (folder / "trial.jsonl").write_text("".join(json.dumps(one) + "\n" for one in old))
    (results,) = store.load_results(tmp_path)
    assert [cell.id for cell in results.plan.experiments[0].cells] == [one.cell_id for one in results.records]


def test_a_plan_keeps_what_only_earlier_runs_asked_for(tmp_path: Path) -> None:
    def plan(*names: str, seed: int) -> Plan:
        experiments = (
            PlannedExperiment(profile="cpu", name=name, title=name, question="?", cells=(cell(seed=seed),))
            for name in names
        )
        return Plan(experiments=tuple(experiments))

    store.record_plan(plan("a", "b", seed=0), here(), tmp_path)
    store.record_plan(plan("b", "c", seed=1), here(), tmp_path)
    kept = Plan.model_validate_json((tmp_path / "plan.json").read_text())
    assert [(one.name, one.cells[0].seed) for one in kept.experiments] == [("a", 0), ("b", 1), ("c", 1)]


@pytest.mark.parametrize("name", ["plan.json", "machine.json"])
@pytest.mark.parametrize("content", [None, "{half", '{"unknown": 1}'])
def test_a_broken_plan_or_machine_file_is_named_with_its_remedy(name: str, content: str | None, written: Path) -> None:
    experiment = PlannedExperiment(profile="cpu", name="trial", title="t", question="?", cells=())
    store.record_plan(Plan(experiments=(experiment,)), here(), written.parent)
    assert len(store.load_results(written.parent.parent)) == 1
    if content is None:
        (written.parent / name).unlink()
    else:
        (written.parent / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name} is missing, broken.*no record is lost"):
        store.load_results(written.parent.parent)


def test_a_record_has_a_measurement_or_a_reason() -> None:
    whole = record(cell(), here()).model_dump()
    for changes in ({"status": "oom"}, {"measurement": None}, {"reason": "none"}):
        with pytest.raises(ValueError, match="goes with a measurement if ok"):
            Record.model_validate({**whole, **changes})
