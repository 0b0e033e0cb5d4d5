"""Measure into a results folder, and show how far it is."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ablations.harness.engine import Engine
from ablations.harness.estimate import estimate
from ablations.harness.plausible import Judge
from ablations.harness.record import Record
from ablations.harness.store import append, printable
from ablations.harness.training_files import forget
from ablations.harness.worklist import Worklist


def sweep(work: Worklist, engine: Engine, folder: Path, judge: Judge, console: Console) -> None:
    """Have the engine measure all work, and append a record for each cell as soon as it is there.

    Args:
        work: What to measure.
        engine: Where.
        folder: Of the records.
        judge: Turns what cannot be true into an error.
        console: For progress, or for a line per cell where it is no terminal.
    """
    done, spent = 0, 0.0
    with _progress(console) as progress:
        task = progress.add_task("", total=None, of="")
        data_task = progress.add_task("", total=1.0, of="", visible=False)

        def announce(doing: str, share: float | None) -> None:
            progress.update(task, description=doing, of=f"{done + 1}/{done + 1 + len(work.remaining)}")
            progress.update(data_task, description=doing, completed=share or 0.0, visible=share is not None)

        for found in engine.measure(work, announce):
            record = judge.judged(found)
            append(record, folder)
            if record.status == "ok":
                forget(record.cell_id, folder)
            work.give(record)
            done += 1
            spent += estimate(record.cell).seconds
            left = sum(estimate(cell).seconds for cell in work.remaining)
            progress.update(task, completed=spent, total=spent + left)
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
    reason = f": {printable(record.reason)}" if record.reason else ""
    return f"[{number}/{total}] {record.status} {record.seconds:.1f} s {record.cell.description}{reason}"
