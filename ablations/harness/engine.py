"""Where cells run: on this machine, one after the other."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ablations.data import enwik8
from ablations.harness.cell import Cell, Device, Learn
from ablations.harness.environment import describe, device_here
from ablations.harness.estimate import estimate
from ablations.harness.record import Environment, Record, Status
from ablations.harness.runner import Runner
from ablations.harness.worklist import Worklist

THROTTLED_RETRIES = 2

Announce = Callable[[str, float | None], None]
"""Told what is being done now, and how much of it is, where that is known."""


class Engine(Protocol):
    """Measures what a worklist hands out."""

    @property
    def environment(self) -> Environment:
        """Of the machines that it measures on, which are of one kind; named after the folder of their records."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Machines that take no part since they are of another kind."""

    def measure(self, work: Worklist, announce: Announce) -> Iterator[Record]:
        """A record for each cell, as soon as it is there.

        Who iterates gives each record back to the worklist before asking for the next.
        """


class Place(Protocol):
    """Where an engine can be had."""

    @property
    def device(self) -> Device:
        """The better one that there is."""

    def engine(self, device: Device) -> AbstractContextManager[Engine]:
        """What measures there on that device; at the end all is given back."""


class ThisMachine:
    """Where the command was given; arguments as of `LocalEngine`."""

    def __init__(self, *, timeout_seconds: float | None) -> None:
        self._timeout_seconds = timeout_seconds

    @property
    def device(self) -> Device:
        """`cuda` where a driver finds an NVIDIA GPU, `cpu` elsewhere."""
        return device_here()

    @contextmanager
    def engine(self, device: Device) -> Iterator[Engine]:
        """One cell at a time."""
        yield LocalEngine(describe(device), timeout_seconds=self._timeout_seconds)


class LocalEngine:
    """This machine: one cell at a time, each in a fresh process.

    Args:
        environment: Of this machine.
        timeout_seconds: After which a cell is given up; `None` allows each a minute and ten times its estimate.
    """

    def __init__(self, environment: Environment, *, timeout_seconds: float | None) -> None:
        self._environment = environment
        self._timeout_seconds = timeout_seconds

    @property
    def environment(self) -> Environment:
        """Of this machine."""
        return self._environment

    @property
    def left_out(self) -> tuple[str, ...]:
        """None."""
        return ()

    def measure(self, work: Worklist, announce: Announce) -> Iterator[Record]:
        """A record for each cell, as soon as it is there."""
        with Bench(self._environment, timeout_seconds=self._timeout_seconds, announce=announce) as bench:
            while cell := work.take():
                announce(cell.description, None)
                yield from bench.attempts(cell)


class Bench:
    """All that one machine needs to measure cells. Use as a context.

    Args:
        environment: Of this machine.
        timeout_seconds: As of `LocalEngine`.
        announce: Told how far the search for data is.
    """

    def __init__(self, environment: Environment, *, timeout_seconds: float | None, announce: Announce) -> None:
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._data = _Data(announce)
        self._runner = Runner(environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.__exit__(kind, error, trace)

    def attempts(self, cell: Cell) -> Iterator[Record]:
        """The cell's record, and further ones as long as the device was throttled: the last one counts."""
        try:
            data = self._data.path_for(cell)
        except enwik8.DataMissingError as missing:
            yield without_measurement(cell, "not_run", str(missing), self._environment)
            return
        for _ in range(1 + THROTTLED_RETRIES):
            record = self._runner.run(cell, data, timeout_seconds=_allowed(cell, self._timeout_seconds))
            yield record
            if record.device_state is None or not record.device_state.throttled:
                return


def _allowed(cell: Cell, timeout_seconds: float | None) -> float:
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


def without_measurement(cell: Cell, status: Status, reason: str, environment: Environment) -> Record:
    """The record of a cell that no process of a runner measured."""
    return Record(
        cell_id=cell.id,
        cell=cell,
        status=status,
        reason=reason,
        measurement=None,
        environment=environment,
        device_state=None,
        device_state_missing="nothing was measured",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        worker_seconds=None,
    )
