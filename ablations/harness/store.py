"""The results folder: one JSON line per record, appended and synced, so that a crash loses at most what it interrupts.

results/<machine>/machine.json        the environment of the last run
results/<machine>/plan.json           what was asked for, so that a report can show what is missing
results/<machine>/<experiment>.jsonl  the records
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ablations.harness.cell import Cell
from ablations.harness.errors import UserError
from ablations.harness.record import SCHEMA, Environment, Record
from reformer.config import Frozen

Kind = TypeVar("Kind", bound=BaseModel)


class PlannedExperiment(Frozen):
    """What a report needs to know of an experiment: its words, its size, and every cell that it asked for."""

    profile: str
    name: str
    title: str
    question: str
    cells: tuple[Cell, ...]


class Plan(Frozen):
    """What the runs in one machine's folder asked for: of each experiment, what was asked last."""

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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Mend or remove it.") from None
    *lines, rest = content.split(b"\n")
    records = [
        _parse(line, path, number, last=number == len(lines) and not rest) for number, line in enumerate(lines, start=1)
    ]
    if rest:
        raise _cut_short(path, len(lines) + 1)
    return tuple(records)


def _parse(line: bytes, path: Path, number: int, *, last: bool) -> Record:
    try:
        content = json.loads(line)
    except ValueError:
        if last:
            raise _cut_short(path, number) from None
        raise _invalid(path, number, "is no JSON") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise UserError(
            f"{path}, line {number} has schema_version {version}; this version of the suite reads up to {SCHEMA}. "
            "Update the suite, or choose another --results folder."
        )
    try:
        return Record.model_validate(_upgraded(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(path, number, f"is not a record: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _invalid(path: Path, number: int, fault: str) -> UserError:
    return UserError(f"{path}, line {number} {fault}. Remove that line, or choose another --results folder.")


def _upgraded(content: Any) -> Any:  # noqa: ANN401  (whatever the line holds; validation comes after)
    """Content of an older schema in today's form.

    Fields that a config or cell has gained since take their defaults, which are the old behaviour. The one exception
    are LSH attentions, which were the eager ones. The cell gets the id that follows. What was not measured yet is null,
    with the reason.
    """
    if not isinstance(content, dict) or content.get("schema_version") == SCHEMA:
        return content
    version, cell = content.get("schema_version"), content.get("cell")
    if isinstance(version, int) and version < 3:
        cell = _with_eager_attention(cell)
    return (
        _GAINED["record"]
        | content
        | {
            "schema_version": SCHEMA,
            "cell": cell,
            "cell_id": Cell.model_validate(cell).id,
            "measurement": _with_what_it_gained(content.get("measurement"), content.get("environment")),
        }
    )


_BEFORE = "not measured before schema 4"
_GAINED: Mapping[str, dict[str, Any]] = {
    "record": {"device_state": None, "device_state_missing": _BEFORE, "worker_seconds": None},
    "time": {
        "others_seconds": None,
        "others_missing": _BEFORE,
        "host_seconds": None,
        "energy": None,
        "energy_missing": _BEFORE,
    },
    "memory": {
        "optimiser_bytes": 0,
        "saved_bytes": None,
        "saved_missing": _BEFORE,
        "ledger": None,
        "ledger_missing": _BEFORE,
        "requested_bytes": None,
    },
}
"""What records and measurements of each kind gained in schema 4."""


def _with_what_it_gained(measurement: Any, environment: Any) -> Any:  # noqa: ANN401  (whatever the line holds)
    if not isinstance(measurement, dict):
        return measurement
    kind = measurement.get("kind")
    cores = {"cores": environment.get("cores")} if kind == "time" and isinstance(environment, dict) else {}
    return _GAINED.get(str(kind), {}) | cores | measurement


def _with_eager_attention(part: Any) -> Any:  # noqa: ANN401  (any part of a cell)
    """The same with the backend stated in every LSH attention."""
    if isinstance(part, list):
        return [_with_eager_attention(one) for one in part]
    if not isinstance(part, dict):
        return part
    backend = {"backend": "eager"} if part.get("kind") == "lsh" else {}
    return backend | {name: _with_eager_attention(value) for name, value in part.items()}


def _cut_short(path: Path, number: int) -> UserError:
    return UserError(
        f"{path}, line {number} is not whole, as after a crash in the middle of a write. The records before it are "
        f"intact. Run again with --repair, which moves a broken last line to {path.name}.broken and goes on."
    )


def repair(path: Path) -> bool:
    """Mend the end of a file after a crash in the middle of a write; whether there was anything to mend.

    A last record that lacks only its line end gets it. A last line that is no JSON is moved into a file beside this
    one. Earlier lines are not touched.
    """
    content = path.read_bytes()
    *_, last = content.removesuffix(b"\n").split(b"\n")
    if not content or (_is_json(last) and content.endswith(b"\n")):
        return False
    with path.open("r+b") as file:
        if _is_json(last):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            _set_aside(last, path)
            file.truncate(content.removesuffix(b"\n").rfind(b"\n") + 1)
    return True


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _set_aside(line: bytes, path: Path) -> None:
    with path.with_name(path.name + ".broken").open("ab") as aside:
        aside.write(line + b"\n")
        aside.flush()
        os.fsync(aside.fileno())


def record_plan(plan: Plan, environment: Environment, folder: Path) -> None:
    """Note what is asked for and where; experiments that only earlier runs asked for stay in the plan."""
    path = folder / "plan.json"
    earlier = _read_plan(path).experiments if path.exists() else ()
    replaced = {experiment.name: experiment for experiment in plan.experiments}
    kept = tuple(replaced.pop(experiment.name, experiment) for experiment in earlier)
    _write_json(Plan(experiments=(*kept, *replaced.values())), path)
    _write_json(environment, folder / "machine.json")


def _write_json(value: BaseModel, path: Path) -> None:
    """Replace a small JSON file as a whole: a reader sees the old content or the new, never half."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.write_text(value.model_dump_json(indent=1) + "\n")
        draft.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Free the disk or choose another --results.") from None


def _read_plan(path: Path) -> Plan:
    """The plan in today's form: one without `scope` in its cells is older than schema 3."""
    return _read_json(path, Plan, lambda plan: plan if '"scope"' in json.dumps(plan) else _with_eager_attention(plan))


def _read_json(path: Path, kind: type[Kind], upgraded: Callable[[Any], Any] = lambda content: content) -> Kind:
    try:
        return kind.model_validate(upgraded(json.loads(path.read_bytes())))
    except (OSError, ValueError):
        raise UserError(
            f"{path} is missing, broken, or of another version of the suite. Remove it if it is there, and run again "
            "without --render-only: it is written anew, and no record is lost."
        ) from None


def load(folder: Path) -> tuple[Record, ...]:
    """All records of one machine's folder, file by file in name order, oldest first."""
    return tuple(record for path in sorted(folder.glob("*.jsonl")) for record in read_records(path))


def newest(records: Sequence[Record]) -> tuple[Record, ...]:
    """The last record of each cell, in the order in which cells first appear."""
    return tuple({record.cell_id: record for record in records}.values())


def load_results(results: Path) -> tuple[MachineResults, ...]:
    """Every machine's folder under `results` that holds records, in name order.

    Raises:
        UserError: Some file of one of them cannot be read.
    """
    return tuple(
        MachineResults(
            environment=_read_json(folder / "machine.json", Environment),
            plan=_read_plan(folder / "plan.json"),
            records=newest(load(folder)),
        )
        for folder in sorted(results.iterdir())
        if any(folder.glob("*.jsonl"))
    )
