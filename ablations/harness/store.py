"""The results folder: one JSON line per record, appended and synced, so that a crash loses at most what it interrupts.

results/<machine>/machine.json        the environment of the last run
results/<machine>/plan.json           what was asked for, so that a report can show what is missing
results/<machine>/<experiment>.jsonl  the records

What a crash in the middle of a write can leave, a torn last line, is no record: readers pass over it, and the next run
sets it aside. Everything else that is not as this module writes it is refused, and nothing read here is ever executed.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from ablations.harness.cell import Cell
from ablations.harness.errors import UserError
from ablations.harness.record import SCHEMA, Environment, Record
from ablations.harness.search import Search
from reformer.config import Frozen

Kind = TypeVar("Kind", bound=BaseModel)
MOST_FAULT = 400
"""Characters of what is wrong with a line, which may quote the line."""


class PlannedExperiment(Frozen):
    """What a report needs to know of an experiment: its words, its size, and all cells and searches it asked for.

    `axes` and `memory_budget` are the options of that name, as given: without them the command asks for other cells.
    Plans from before they were noted have none.
    """

    profile: str
    name: str
    title: str
    question: str
    cells: tuple[Cell, ...]
    searches: tuple[Search, ...] = ()
    axes: tuple[str, ...] = ()
    memory_budget: str | None = None


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
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"Cannot write {path}: {error.strerror}. Free the disk or choose another --results.")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_records(path: Path) -> tuple[Record, ...]:
    """All records of one file, oldest first, upgraded to the present schema; without a torn last line.

    Raises:
        UserError: A line is broken, of a newer schema, or of another experiment; names file, line and remedy.
    """
    content = _content(path)
    lines = content.removesuffix(b"\n").split(b"\n")
    if not _is_json(lines[-1]):
        lines.pop()
    return tuple(_parse(line, path, number) for number, line in enumerate(lines, start=1))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Mend or remove it.") from None


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        content = _loads(line)
    except ValueError:
        raise _invalid(path, number, "is no JSON") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise _invalid(path, number, "is not a record: schema_version: there is no such version")
    if version > SCHEMA:
        raise UserError(
            f"{path}, line {number} has a newer schema_version than {SCHEMA}, up to which this version of the suite "
            "reads. Update the suite, or choose another --results folder."
        )
    try:
        record = Record.model_validate(_upgraded(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise _invalid(path, number, f"is not a record: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OverflowError, RecursionError):
        raise _invalid(path, number, "is not a record: a number or a depth beyond all bounds") from None
    if fault := _foreign(record, path):
        raise _invalid(path, number, fault)
    return record


def _foreign(record: Record, path: Path) -> str | None:
    """Why the record cannot be one that this file was written with."""
    if record.cell.experiment != path.name.removesuffix(".jsonl"):
        return "is a record of another experiment"
    return None if record.cell_id == record.cell.id else "is not a record: cell_id: not that of its cell"


def _loads(text: bytes) -> Any:  # noqa: ANN401  (whatever it holds)
    """What JSON says.

    Raises:
        ValueError: It is none; neither is what only Python takes for JSON (NaN, Infinity, half a character), or what
            nests too deep.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("it nests too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _invalid(path: Path, number: int, fault: str) -> UserError:
    return UserError(
        f"{path}, line {number} {printable(fault)[:MOST_FAULT]}. Remove that line, or choose another --results folder."
    )


def printable(text: str) -> str:
    """The same in one line, with escapes in place of what would command a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _upgraded(content: Any) -> Any:  # noqa: ANN401  (whatever the line holds; validation comes after)
    """Content of an older schema in today's form.

    Fields that a config or cell has gained since take their defaults, which are the old behaviour. The exceptions are
    LSH attentions, which were the eager ones, and training, whose recipe was spread over the workload. The cell gets
    the id that follows. What was not measured yet is null, with the reason.
    """
    if not isinstance(content, dict) or content.get("schema_version") == SCHEMA:
        return content
    version, cell = content.get("schema_version"), content.get("cell")
    if isinstance(version, int) and version < 3:
        cell = _with_eager_attention(cell)
    cell = _with_recipe(cell)
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
    "learn": {"peak_bytes": None, "peak_missing": "not measured before schema 5", "n_parameters": None},
}
"""What records and measurements of each kind gained in schemas 4 and 5."""

_TRAINING_NAMES: Mapping[str, str] = {"bits_per_byte": "bits_per_token", "n_bytes": "n_tokens"}
"""What fields of a learning curve are called since schema 5."""


def _with_what_it_gained(measurement: Any, environment: Any) -> Any:  # noqa: ANN401  (whatever the line holds)
    if not isinstance(measurement, dict):
        return measurement
    kind = measurement.get("kind")
    cores = {"cores": environment.get("cores")} if kind == "time" and isinstance(environment, dict) else {}
    renamed = _with_training_names(measurement) if kind == "learn" else measurement
    return _GAINED.get(str(kind), {}) | cores | renamed


def _with_training_names(part: Any) -> Any:  # noqa: ANN401  (any part of a learning curve)
    """The same by the names of today."""
    if isinstance(part, list):
        return [_with_training_names(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {_TRAINING_NAMES.get(name, name): _with_training_names(value) for name, value in part.items()}


_RECIPE = ("steps", "learning_rate", "warmup_steps")


def _with_recipe(part: Any) -> Any:  # noqa: ANN401  (any part of a record or a plan)
    """The same with the recipe of training in one place, as since schema 5; before it there was but one task."""
    if isinstance(part, list):
        return [_with_recipe(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("kind") == "learn" and "recipe" not in part:
        others = {name: value for name, value in part.items() if name not in (*_RECIPE, "dataset")}
        task, recipe = part.get("dataset", "enwik8"), {name: part[name] for name in _RECIPE if name in part}
        return others | {"task": {"kind": task}, "recipe": recipe}
    return {name: _with_recipe(value) for name, value in part.items()}


def _with_eager_attention(part: Any) -> Any:  # noqa: ANN401  (any part of a cell)
    """The same with the backend stated in every LSH attention."""
    if isinstance(part, list):
        return [_with_eager_attention(one) for one in part]
    if not isinstance(part, dict):
        return part
    backend = {"backend": "eager"} if part.get("kind") == "lsh" else {}
    return backend | {name: _with_eager_attention(value) for name, value in part.items()}


def mend(folder: Path) -> Iterator[str]:
    """Set aside what a crash in the middle of a write has left of a record; says so, file by file.

    Only who alone writes to the folder may do so. Earlier lines are not touched.

    Raises:
        UserError: A file cannot be read or written.
    """
    for path in sorted(folder.glob("*.jsonl")):
        try:
            if _mended(path, _content(path)):
                yield f"{path.name}: a crash had cut the last line short; it is in {path.name}.broken now"
        except OSError as error:
            raise _cannot_write(path, error) from None


def _mended(path: Path, content: bytes) -> bool:
    """Whether there was something to set aside. A last record that lacks only its line end gets it."""
    *_, last = content.removesuffix(b"\n").split(b"\n")
    whole = not content or _is_json(last)
    if whole and (not content or content.endswith(b"\n")):
        return False
    if not whole:
        _set_aside(last, path)
    with path.open("r+b") as file:
        if whole:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            file.truncate(content.removesuffix(b"\n").rfind(b"\n") + 1)
        file.flush()
        os.fsync(file.fileno())
    return not whole


def repeated(records: Sequence[Record]) -> int:
    """How many records are there a second time, to the letter, as where a file was put together from two."""
    return len(records) - len({record.model_dump_json() for record in records})


def _is_json(line: bytes) -> bool:
    try:
        _loads(line)
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
        with draft.open("w") as file:
            file.write(value.model_dump_json(indent=1) + "\n")
            file.flush()
            # Else a power cut may leave the new name with no content.
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _read_plan(path: Path) -> Plan:
    """The plan in today's form: one without `scope` in its cells is older than schema 3."""
    return _read_json(path, Plan, _upgraded_plan)


def _upgraded_plan(plan: Any) -> Any:  # noqa: ANN401  (whatever the file holds)
    return _with_recipe(plan if '"scope"' in json.dumps(plan) else _with_eager_attention(plan))


def _read_json(path: Path, kind: type[Kind], upgraded: Callable[[Any], Any] = lambda content: content) -> Kind:
    try:
        return kind.model_validate(upgraded(_loads(path.read_bytes())))
    except (OSError, ValueError, OverflowError, RecursionError):
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
    return tuple(load_machine(folder) for folder in sorted(results.iterdir()) if any(folder.glob("*.jsonl")))


def load_machine(folder: Path) -> MachineResults:
    """One machine's folder.

    Raises:
        UserError: Some file of it cannot be read.
    """
    return MachineResults(
        environment=_read_json(folder / "machine.json", Environment),
        plan=_read_plan(folder / "plan.json"),
        records=newest(load(folder)),
    )
