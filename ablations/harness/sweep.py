"""Measure into a results folder, and show how far it is."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ablations.harness.engine import Engine
from ablations.harness.errors import UserError
from ablations.harness.estimate import estimate
from ablations.harness.plausible import Judge
from ablations.harness.record import Record
from ablations.harness.store import append
from ablations.harness.worklist import Worklist


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


def sweep(work: Worklist, engine: Engine, folder: Path, judge: Judge, console: Console) -> None:
    """Have the engine measure all work, and append a record for each cell as soon as it is there.

    Args:
        work: What to measure.
        engine: Where.
        folder: Of the records.
        judge: Turns what cannot be true into an error.
        console: For progress, or for a line per cell where it is no terminal.
    """
    seconds = sum(estimate(cell).seconds for cell in work.remaining)
    done = 0
    with _progress(console) as progress:
        task = progress.add_task("", total=seconds, of="")
        data_task = progress.add_task("", total=1.0, of="", visible=False)

        def announce(doing: str, share: float | None) -> None:
            progress.update(task, description=doing, of=f"{done + 1}/{done + 1 + len(work.remaining)}")
            progress.update(data_task, description=doing, completed=share or 0.0, visible=share is not None)

        for found in engine.measure(work, announce):
            record = judge.judged(found)
            append(record, folder)
            work.give(record)
            done += 1
            progress.advance(task, estimate(record.cell).seconds)
            if record.status != "ok" or not console.is_terminal:
                total = done + len(work.remaining)
                progress.console.print(_line(done, total, record), markup=False, highlight=False, soft_wrap=True)


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
