"""Run cells one after the other into a results folder, and show how far it is."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ablations.data import enwik8
from ablations.harness.cell import Cell, Learn
from ablations.harness.errors import UserError
from ablations.harness.estimate import estimate
from ablations.harness.record import Environment, Record
from ablations.harness.runner import Runner
from ablations.harness.store import append


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder, making it if need be, so that two runs cannot measure into it, or beside each other, at once.

    Raises:
        UserError: It cannot be written, or another run holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"Cannot write to {folder}: {error.strerror}. Choose another --results.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another run is measuring into {folder}. Wait for it, or choose another --results."
            ) from None
        yield


def sweep(
    cells: Sequence[Cell], environment: Environment, folder: Path, *, timeout_seconds: float, console: Console
) -> None:
    """Measure the cells and append a record for each, as soon as it is there."""
    with _progress(console) as progress, Runner(environment, timeout_seconds=timeout_seconds) as runner:
        data, missing = _locate_data(cells, progress)
        task = progress.add_task("", total=sum(estimate(cell).seconds for cell in cells), of=f"0/{len(cells)}")
        for number, cell in enumerate(cells, start=1):
            progress.update(task, description=cell.description, of=f"{number}/{len(cells)}")
            learns = isinstance(cell.workload, Learn)
            record = _not_run(cell, missing, environment) if learns and missing else runner.run(cell, data)
            append(record, folder)
            progress.advance(task, estimate(cell).seconds)
            if record.status != "ok" or not console.is_terminal:
                progress.console.print(_line(number, len(cells), record), markup=False, highlight=False, soft_wrap=True)


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.fields[of]}"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=300
    )


def _line(number: int, total: int, record: Record) -> str:
    reason = f": {record.reason}" if record.reason else ""
    return f"[{number}/{total}] {record.status} {record.seconds:.1f} s {record.cell.description}{reason}"


def _locate_data(cells: Sequence[Cell], progress: Progress) -> tuple[Path | None, str | None]:
    """Path of the data that learning cells read, or the reason why they cannot run; neither if there are none."""
    if not any(isinstance(cell.workload, Learn) for cell in cells):
        return None, None
    task = progress.add_task("looking for enwik8", total=1.0, of="")
    try:
        return enwik8.locate(lambda doing, done: progress.update(task, description=doing, completed=done)), None
    except enwik8.DataMissingError as missing:
        return None, str(missing)
    finally:
        progress.remove_task(task)


def _not_run(cell: Cell, reason: str | None, environment: Environment) -> Record:
    return Record(
        cell_id=cell.id,
        cell=cell,
        status="not_run",
        reason=reason,
        measurement=None,
        environment=environment,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
    )
