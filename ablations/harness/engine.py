"""Where cells run: on this machine, one after the other."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ablations.data import enwik8
from ablations.harness.cell import Cell, Learn
from ablations.harness.estimate import estimate
from ablations.harness.record import Environment, Record
from ablations.harness.runner import Runner
from ablations.harness.worklist import Worklist

THROTTLED_RETRIES = 2

Announce = Callable[[str, float | None], None]
"""Told what is being done now, and how much of it is, where that is known."""


class Engine(Protocol):
    """Measures what a worklist hands out. Who iterates gives each record back to the worklist before the next."""

    def measure(self, work: Worklist, announce: Announce) -> Iterator[Record]:
        """A record for each cell, as soon as it is there."""


class LocalEngine:
    """This machine: one cell at a time, each in a fresh process.

    Args:
        environment: Of this machine.
        timeout_seconds: After which a cell is given up; `None` allows each a minute and ten times its estimate.
    """

    def __init__(self, environment: Environment, *, timeout_seconds: float | None) -> None:
        self._environment = environment
        self._timeout_seconds = timeout_seconds

    def measure(self, work: Worklist, announce: Announce) -> Iterator[Record]:
        """A record for each cell, as soon as it is there."""
        with Runner(self._environment) as runner:
            data = _Data(announce)
            while cell := work.take():
                announce(cell.description, None)
                try:
                    yield from self._attempts(runner, cell, data.path_for(cell))
                except enwik8.DataMissingError as missing:
                    yield _not_run(cell, str(missing), self._environment)

    def _attempts(self, runner: Runner, cell: Cell, data: Path | None) -> Iterator[Record]:
        """The cell's record, and further ones as long as the device was throttled: the last one counts."""
        for _ in range(1 + THROTTLED_RETRIES):
            record = runner.run(cell, data, timeout_seconds=allowed(cell, self._timeout_seconds))
            yield record
            if record.device_state is None or not record.device_state.throttled:
                return


def allowed(cell: Cell, timeout_seconds: float | None) -> float:
    """Seconds after which the cell is given up."""
    return timeout_seconds or 60 + 10 * estimate(cell).seconds


class _Data:
    """The data that learning cells read, looked for when the first of them comes up and only then."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
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
        try:
            return enwik8.locate(self._announce)
        except enwik8.DataMissingError as missing:
            return missing


def _not_run(cell: Cell, reason: str, environment: Environment) -> Record:
    return Record(
        cell_id=cell.id,
        cell=cell,
        status="not_run",
        reason=reason,
        measurement=None,
        environment=environment,
        device_state=None,
        device_state_missing="it did not run",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        worker_seconds=None,
    )
