"""The results folder: nothing measured is lost, and nothing broken is read as if it were whole."""

import json
from pathlib import Path

import pytest

from ablations.harness import store
from ablations.harness.errors import UserError
from ablations.harness.measurement import LearningCurve, PeakBytes, StepTimes
from ablations.harness.plan import settled
from ablations.harness.record import SCHEMA, Record
from ablations.harness.store import Plan, PlannedExperiment
from ablations.harness.training import Enwik8, Learn
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


@pytest.mark.parametrize("n_lost", [2, 40, 700])
def test_a_torn_last_line_is_passed_over_by_readers_and_set_aside_by_the_next_run(written: Path, n_lost: int) -> None:
    whole = written.read_bytes()
    lines = whole.splitlines(keepends=True)
    written.write_bytes(whole[:-n_lost])
    assert [one.cell.seed for one in store.read_records(written)] == [0, 1]
    assert written.read_bytes() == whole[:-n_lost]
    assert list(store.mend(written.parent)) == [
        "trial.jsonl: a crash had cut the last line short; it is in trial.jsonl.broken now"
    ]
    assert written.read_bytes() == b"".join(lines[:2])
    assert (written.parent / "trial.jsonl.broken").read_bytes() == lines[2][:-n_lost] + b"\n"
    store.append(record(cell(seed=2), here()), written.parent)
    assert written.read_bytes() == whole


def test_a_whole_last_record_without_its_line_end_counts_and_gets_it(written: Path) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[:-1])
    assert [one.cell.seed for one in store.read_records(written)] == [0, 1, 2]
    assert list(store.mend(written.parent)) == []
    assert written.read_bytes() == whole
    assert not (written.parent / "trial.jsonl.broken").exists()


@pytest.mark.parametrize("garbage", [b"\n", b"{half\n", b"{half", b"\x00\x00", b"\xff", b"[" * 10**5, b'"\\ud800"'])
def test_whatever_a_crash_left_at_the_end_is_set_aside(written: Path, garbage: bytes) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole + garbage)
    assert len(store.read_records(written)) == 3
    assert len(list(store.mend(written.parent))) == 1
    assert written.read_bytes() == whole
    assert list(store.mend(written.parent)) == []


def test_whole_files_are_left_alone(written: Path) -> None:
    before = written.read_bytes()
    (written.parent / "empty.jsonl").touch()
    assert list(store.mend(written.parent)) == []
    assert written.read_bytes() == before
    assert store.read_records(written.parent / "empty.jsonl") == ()


def test_a_file_that_cannot_be_mended_is_named(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-40])
    (written.parent / "trial.jsonl.broken").mkdir()
    with pytest.raises(UserError, match=r"Cannot write .*trial\.jsonl: Is a directory"):
        list(store.mend(written.parent))


@pytest.mark.parametrize("end", [b"", b"{torn"])
def test_only_the_last_line_may_be_torn(written: Path, end: bytes) -> None:
    written.write_bytes(written.read_bytes() + b"{half\n" + end)
    if not end:
        assert len(store.read_records(written)) == 3
        return
    for _ in range(2):
        with pytest.raises(UserError, match="line 4 is no JSON"):
            store.read_records(written)
        written.write_bytes(written.read_bytes() + b"}\n")


def test_a_record_of_another_experiment_is_refused(written: Path) -> None:
    written.rename(written.parent / "other.jsonl")
    with pytest.raises(UserError, match=r"other\.jsonl, line 1 is a record of another experiment"):
        store.read_records(written.parent / "other.jsonl")


def test_a_record_whose_cell_was_changed_is_refused(written: Path) -> None:
    written.write_text(written.read_text().replace('"seed":1', '"seed":7'))
    with pytest.raises(UserError, match="line 2 is not a record: cell_id: not that of its cell"):
        store.read_records(written)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_what_is_no_finite_number_is_refused(written: Path, number: str) -> None:
    written.write_text(written.read_text().replace("[0.1,0.2]", f"[0.1,{number}]"))
    with pytest.raises(UserError, match=r"line 1 is (no JSON|not a record: .*finite)"):
        store.read_records(written)


@pytest.mark.parametrize("version", [None, "4", 0, -1, True, 4.0])
def test_a_schema_version_that_is_none_is_refused(written: Path, version: object) -> None:
    content = json.loads(written.read_text().splitlines()[0]) | {"schema_version": version}
    written.write_text(json.dumps(content) + "\n")
    with pytest.raises(UserError, match="line 1 is not a record: schema_version"):
        store.read_records(written)


def test_text_of_a_line_that_would_command_a_terminal_is_escaped(written: Path) -> None:
    content = json.loads(written.read_text().splitlines()[0]) | {"\x1b[2J\n": 1}
    written.write_text(json.dumps(content) + "\n")
    with pytest.raises(UserError) as refused:
        store.read_records(written)
    assert str(refused.value).isprintable()
    assert r"\x1b[2J\n: Extra inputs" in str(refused.value)


def test_a_full_disk_is_named(written: Path) -> None:
    (written.parent / "trial.jsonl").unlink()
    (written.parent / "trial.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"Cannot write .*trial\.jsonl: No space left on device. Free the disk"):
        store.append(record(cell(), here()), written.parent)


def test_a_broken_line_in_the_middle_is_named_with_its_own_remedy(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(lines[0] + b"{half\n" + lines[2])
    assert list(store.mend(written.parent)) == []
    with pytest.raises(UserError, match=r"line 2 is no JSON. Remove that line"):
        store.read_records(written)


def test_a_newer_schema_is_refused(written: Path) -> None:
    content = json.loads(written.read_text().splitlines()[0]) | {"schema_version": SCHEMA + 1}
    written.write_text(json.dumps(content) + "\n")
    with pytest.raises(UserError, match=rf"line 1 has a newer schema_version than {SCHEMA}, up to which"):
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


def stored(version: int, folder: Path) -> tuple[Record, ...]:
    """The records that are kept of that version, of several experiments, in their order."""
    records: list[Record] = []
    for line in (Path(__file__).parent / f"schema_{version}.jsonl").read_text().splitlines(keepends=True):
        path = folder / f"{json.loads(line)['cell']['experiment']}.jsonl"
        path.write_text(line)
        records += store.read_records(path)
    return tuple(records)


def test_records_of_schema_1_still_load(tmp_path: Path) -> None:
    records = stored(1, tmp_path)
    assert [one.measurement.kind if one.measurement else one.status for one in records] == [
        "time",
        "memory",
        "learn",
        "oom",
    ]
    for one in records:
        assert one.cell_id == one.cell.id, "the id of a cell must not change from version to version"


def test_records_of_schema_2_load_as_whole_models_of_ours_whose_hashing_was_eager(tmp_path: Path) -> None:
    dense, reformer, mixed = stored(2, tmp_path)
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


def test_records_of_schema_3_load_with_null_and_its_reason_for_what_was_not_measured_yet(tmp_path: Path) -> None:
    ceiling, timed, unsupported, weighed, learnt = stored(3, tmp_path)
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
    assert isinstance(learnt.measurement, LearningCurve)
    assert isinstance(learnt.cell.workload, Learn)
    assert learnt.cell.workload.task == Enwik8()
    assert learnt.cell.workload.recipe.schedule == "linear_decay"
    assert (learnt.measurement.peak_bytes, learnt.measurement.peak_missing) == (None, "not measured before schema 5")
    # Its batches were drawn otherwise: a run measures it again, and others not.
    assert settled([learnt], learnt.environment, retry_failed=False) == {}
    assert settled([timed], timed.environment, retry_failed=False) == {timed.cell_id: "ok"}


def test_a_plan_of_schema_2_asks_for_what_its_records_measured(tmp_path: Path) -> None:
    old = [json.loads(line) for line in (Path(__file__).parent / "schema_2.jsonl").read_text().splitlines()]
    experiment = {"profile": "cpu", "name": "trial", "title": "t", "question": "?"}
    plan = {"experiments": [{**experiment, "cells": [one["cell"] for one in old]}]}
    folder = tmp_path / "a-machine"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "machine.json").write_text(here().model_dump_json())
    for name in {one["cell"]["experiment"] for one in old}:
        lines = [json.dumps(one) + "\n" for one in old if one["cell"]["experiment"] == name]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (results,) = store.load_results(tmp_path)
    assert {cell.id for cell in results.plan.experiments[0].cells} == {one.cell_id for one in results.records}
    assert len(results.records) == len(old)


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
