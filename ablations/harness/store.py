"""The results folder: one JSON line per record, appended and synced, so that a crash loses at most what it interrupts.

results/<machine>/machine.json        the environment of the last run
results/<machine>/plan.json           what was asked for, so that a report can show what is missing
results/<machine>/<experiment>.jsonl  the records
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ablations.harness.cell import Cell
from ablations.harness.errors import UserError
from ablations.harness.record import SCHEMA, Environment, Record
from reformer.config import Frozen


class PlannedExperiment(Frozen):
    """What a report needs to know of an experiment: its words, and every cell that it asked for."""

    name: str
    title: str
    question: str
    cells: tuple[Cell, ...]


class Plan(Frozen):
    """What the runs in one machine's folder asked for."""

    profile: str
    experiments: tuple[PlannedExperiment, ...]


class MachineResults(Frozen):
    """Everything known of one machine: `records` holds the newest record of each cell, oldest experiment first."""

    environment: Environment
    plan: Plan
    records: tuple[Record, ...]


def append(record: Record, folder: Path) -> None:
    """Add one record to its experiment's file and wait until the disk has it.

    Raises:
        UserError: The file cannot be written.
    """
    path = folder / f"{record.cell.experiment}.jsonl"
    line = record.model_dump_json() + "\n"
    try:
        new = not path.exists()
        with path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(folder)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Free the disk or choose another --results.") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_records(path: Path) -> tuple[Record, ...]:
    """All records of one file, oldest first, upgraded to the present schema.

    Raises:
        UserError: A line is broken or of a newer schema; names file, line and remedy.
    """
    lines = path.read_bytes().split(b"\n")
    records = [_parse(line, path, number) for number, line in enumerate(lines[:-1], start=1)]
    if lines[-1]:
        raise _cut_short(path, len(lines))
    return tuple(records)


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        content = json.loads(line)
    except ValueError:
        raise _cut_short(path, number) from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version > SCHEMA:
        raise UserError(
            f"{path}, line {number} has schema_version {version!r}; this version of the suite reads up to {SCHEMA}. "
            "Update the suite, or choose another --results folder."
        )
    try:
        return Record.model_validate(_upgraded(content))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}, line {number} is not a record: {field}: {first['msg']}. Remove the line, or choose another "
            "--results folder."
        ) from None


def _upgraded(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Content of an older schema in today's form. There is only one schema so far."""
    return content


def _cut_short(path: Path, number: int) -> UserError:
    return UserError(
        f"{path}, line {number} is not whole, as after a crash in the middle of a write. The records before it are "
        f"intact. Run again with --repair, which moves a broken last line to {path.name}.broken and goes on."
    )


def repair(path: Path) -> bool:
    """Move a broken last line into a file beside this one; whether there was one. Earlier lines are not touched."""
    content = path.read_bytes()
    whole_lines, last = _split_last_line(content)
    try:
        json.loads(last or b"{}")
    except ValueError:
        pass
    else:
        if content.endswith(b"\n") or not content:
            return False
    with path.with_name(path.name + ".broken").open("ab") as aside:
        aside.write(last + b"\n")
    with path.open("r+b") as file:
        file.truncate(len(whole_lines))
    return True


def _split_last_line(content: bytes) -> tuple[bytes, bytes]:
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    return content[:start], content[start:].rstrip(b"\n")


def record_plan(plan: Plan, environment: Environment, folder: Path) -> None:
    """Note what is asked for and where; experiments that only earlier runs asked for stay in the plan."""
    path = folder / "plan.json"
    earlier = Plan.model_validate_json(path.read_text()).experiments if path.exists() else ()
    replaced = {experiment.name: experiment for experiment in plan.experiments}
    kept = tuple(replaced.pop(experiment.name, experiment) for experiment in earlier)
    _write_json(plan.model_copy(update={"experiments": (*kept, *replaced.values())}), path)
    _write_json(environment, folder / "machine.json")


def _write_json(value: BaseModel, path: Path) -> None:
    """Replace a small JSON file as a whole: a reader sees the old content or the new, never half."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(value.model_dump_json(indent=1) + "\n")
    draft.replace(path)


def load(folder: Path) -> tuple[Record, ...]:
    """All records of one machine's folder, file by file in name order, oldest first."""
    return tuple(record for path in sorted(folder.glob("*.jsonl")) for record in read_records(path))


def newest(records: Sequence[Record]) -> tuple[Record, ...]:
    """The last record of each cell, in the order in which cells first appear."""
    return tuple({record.cell_id: record for record in records}.values())


def load_results(results: Path) -> tuple[MachineResults, ...]:
    """Every machine's folder under `results`, in name order."""
    return tuple(
        MachineResults(
            environment=Environment.model_validate_json((folder / "machine.json").read_text()),
            plan=Plan.model_validate_json((folder / "plan.json").read_text()),
            records=newest(load(folder)),
        )
        for folder in sorted(results.iterdir())
        if (folder / "machine.json").exists() and (folder / "plan.json").exists()
    )
