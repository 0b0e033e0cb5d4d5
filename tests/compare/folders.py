"""Folders of records with planted differences, as a run would have left them."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from ablations.harness import store
from ablations.harness.cell import Cell
from ablations.harness.measurement import LearningCurve, Measurement, PeakBytes, StepTimes
from ablations.harness.record import Record, Status
from ablations.harness.store import MachineResults
from tests.report import records

SEEDS = (0, 1, 2, 3)
CELLS = records.grid("depth", variants=records.CORNERS, n_layers=(1, 2, 4), seeds=SEEDS)
"""Times and peaks of four variants at three depths."""

Change = Callable[[Record], Record]


def machine(cells: Iterable[Cell] = CELLS, *changes: Change, name: str = "testbench-cpu") -> MachineResults:
    """All cells planned and measured, each record changed in turn."""
    made = _measured(tuple(cells), name)
    return made.model_copy(update={"records": tuple(changed(one, changes) for one in made.records)})


@cache
def _measured(cells: tuple[Cell, ...], name: str) -> MachineResults:
    return records.machine({"depth": cells}, where=records.environment(name))


def changed(record: Record, changes: Iterable[Change]) -> Record:
    for change in changes:
        record = change(record)
    return record


def again(record: Record, *, spread: float = 0.01) -> Record:
    """The same measured another time: by a process that differs a little, under another revision."""
    factor = float(np.exp(np.random.default_rng(int(record.cell_id, 16) // 7).normal(0, spread)))
    later = record.environment.model_copy(update={"commit": "fedcba987654"})
    again = times_as_long(factor)(record) if isinstance(record.measurement, StepTimes) else record
    return again.model_copy(update={"environment": later, "started": "2001-02-04T04:05:06Z"})


def times_as_long(factor: float) -> Change:
    """Steps take so many times as long."""

    def change(record: Record) -> Record:
        times = record.measurement
        assert isinstance(times, StepTimes)
        longer = tuple(factor * second for second in times.wall_seconds)
        return with_measurement(record, times.model_copy(update={"wall_seconds": longer}))

    return change


def times_as_large(factor: float) -> Change:
    """A peak is so many times as large."""

    def change(record: Record) -> Record:
        peak = record.measurement
        assert isinstance(peak, PeakBytes)
        return with_measurement(record, peak.model_copy(update={"peak_bytes": round(factor * peak.peak_bytes)}))

    return change


def with_bits(bits: float) -> Change:
    """Training ends with so many held-out bits."""

    def change(record: Record) -> Record:
        curve = record.measurement
        assert isinstance(curve, LearningCurve)
        *before, last = curve.evaluations
        end = last.model_copy(update={"bits_per_token": bits})
        return with_measurement(record, curve.model_copy(update={"evaluations": (*before, end)}))

    return change


def with_measurement(record: Record, measurement: Measurement) -> Record:
    return record.model_copy(update={"measurement": measurement})


def ending(status: Status, reason: str = "planted") -> Change:
    """The cell has no result."""
    return lambda record: record.model_copy(update={"status": status, "reason": reason, "measurement": None})


def where(wanted: Callable[[Cell], bool], change: Change) -> Change:
    """Change the records of some cells only."""
    return lambda record: change(record) if wanted(record.cell) else record


def is_one_of(cell: Cell) -> bool:
    """One group of `CELLS`: the time of one variant at one depth in one mode."""
    return cell.workload == records.STEP_WORKLOADS[0] and cell.config.n_layers == 2 and cell.contender == "reformer"


def without(machine: MachineResults, dropped: Callable[[Cell], bool]) -> MachineResults:
    """The same without some cells' records; they stay planned."""
    return machine.model_copy(update={"records": tuple(one for one in machine.records if not dropped(one.cell))})


def write(machine: MachineResults, folder: Path) -> Path:
    """The machine's folder, as the store writes it."""
    folder.mkdir(parents=True)
    store.record_plan(machine.plan, machine.environment, folder)
    lines: dict[str, list[str]] = {}
    for record in machine.records:
        lines.setdefault(record.cell.experiment, []).append(record.model_dump_json() + "\n")
    for name, found in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(found))
    return folder
