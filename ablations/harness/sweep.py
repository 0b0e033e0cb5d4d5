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
    """Hold the folder, making it if need be, so that two runs cannot measure into it at once.

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
    cells: Sequence[Cell], environment: Environment, folder: Path, *, timeout_seconds: float | None, console: Console
) -> None:
    """Measure the cells and append a record for each, as soon as it is there.

    Args:
        cells: In order.
        environment: Of this machine.
        folder: Of its records.
        timeout_seconds: After which a cell is given up; `None` allows each a minute and ten times its estimate.
        console: For progress, or for a line per cell where it is no terminal.
    """
    with _progress(console) as progress, Runner(environment) as runner:
        data = _Data(progress)
        task = progress.add_task("", total=sum(estimate(cell).seconds for cell in cells), of=f"0/{len(cells)}")
        for number, cell in enumerate(cells, start=1):
            progress.update(task, description=cell.description, of=f"{number}/{len(cells)}")
            allowed = timeout_seconds or 60 + 10 * estimate(cell).seconds
            try:
                record = runner.run(cell, data.path_for(cell), timeout_seconds=allowed)
            except enwik8.DataMissingError as missing:
                record = _not_run(cell, str(missing), environment)
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


class _Data:
    """The data that learning cells read, looked for when the first of them comes up and only then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._found: Path | enwik8.DataMissingError | None = None

    def path_for(self, cell: Cell) -> Path | None:
        """Where the cell's data is, or `None` for a cell that reads none."""
        if not isinstance(cell.workload, Learn):
            return None
        self._found = self._found or self._locate()
        if isinstance(self._found, enwik8.DataMissingError):
            raise self._found
        return self._found

    def _locate(self) -> Path | enwik8.DataMissingError:
        task = self._progress.add_task("looking for enwik8", total=1.0, of="")
        try:
            return enwik8.locate(lambda doing, done: self._progress.update(task, description=doing, completed=done))
        except enwik8.DataMissingError as missing:
            return missing
        finally:
            self._progress.remove_task(task)


def _not_run(cell: Cell, reason: str, environment: Environment) -> Record:
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
