"""An entry of the history from a sweep's records."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from ablations.harness import store
from ablations.harness.cell import Cell
from ablations.harness.errors import UserError
from ablations.harness.measurement import PeakBytes, StepTimes
from ablations.harness.record import Record
from ablations.harness.store import MachineResults
from ablations.history.entries import Entry


def entry_of(machine: MachineResults) -> Entry:
    """Median processor seconds and median peak bytes of every cell, whatever its seed, of the last code recorded.

    Raises:
        UserError: No record has either.
    """
    # Of one state of the code: an older record says nothing of what the line is about.
    newest = max((record for record in machine.records if _readings(record)), key=_moment, default=None)
    if newest is None:
        where = store.printable(machine.environment.machine)
        raise UserError(f"{where} has no times and no peaks. Measure first: python run_all.py --profile cpu")
    return Entry(
        commit=newest.environment.commit,
        dirty=bool(newest.environment.dirty),
        date=newest.started,
        torch=newest.environment.packages["torch"],
        series=_series([record for record in machine.records if _code(record) == _code(newest)]),
    )


def _moment(record: Record) -> str:
    return record.started


def _code(record: Record) -> tuple[str | None, bool | None]:
    return record.environment.commit, record.environment.dirty


def _series(records: Sequence[Record]) -> dict[str, float]:
    readings: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for what, value in _readings(record).items():
            readings[": ".join((*_where(record), _name(record.cell), what))].append(value)
    return {name: median(values) for name, values in sorted(readings.items())}


def _where(record: Record) -> tuple[str, ...]:
    """What the number depends on beside the code: hardware, never one machine, for the next may be its like."""
    found, here = record.measurement, record.environment
    if isinstance(found, PeakBytes) and found.method == "profiler_allocation_events":
        return ()
    return (*([here.accelerator] if here.accelerator else []), f"{here.processor} {here.cores} cores")


def _readings(record: Record) -> dict[str, float]:
    """By what they are; nothing of what is no time and no peak."""
    found = record.measurement
    if isinstance(found, StepTimes):
        return {"processor seconds": median(found.cpu_seconds)}
    return {"peak bytes": found.peak_bytes} if isinstance(found, PeakBytes) and found.peak_bytes else {}


def _name(cell: Cell) -> str:
    """Of the cell and its like under other seeds."""
    alike = cell.model_copy(update={"seed": 0})
    return f"{alike.description.removesuffix(' seed=0')} ({alike.id})"
