"""Where cells run: on this machine, one after the other."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from ablations.data import enwik8, images64, multi30k
from ablations.data.sources import DataMissingError
from ablations.harness.cell import Cell, Device
from ablations.harness.environment import describe, device_here
from ablations.harness.estimate import estimate
from ablations.harness.record import Environment, Record, Status
from ablations.harness.runner import Runner
from ablations.harness.training import Learn
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
    """Where the command was given; `results` is the folder of the machines' folders, the rest as of `LocalEngine`."""

    def __init__(self, *, timeout_seconds: float | None, results: Path | None = None) -> None:
        self._timeout_seconds = timeout_seconds
        self._results = results

    @property
    def device(self) -> Device:
        """`cuda` where a driver finds an NVIDIA GPU, `cpu` elsewhere."""
        return device_here()

    @contextmanager
    def engine(self, device: Device) -> Iterator[Engine]:
        """One cell at a time."""
        here = describe(device)
        folder = self._results and self._results / here.machine
        yield LocalEngine(here, timeout_seconds=self._timeout_seconds, folder=folder)


class LocalEngine:
    """This machine: one cell at a time, each in a fresh process.

    Args:
        environment: Of this machine.
        timeout_seconds: After which a cell is given up; `None` allows each a minute and ten times its estimate.
        folder: As of `Runner`.
    """

    def __init__(self, environment: Environment, *, timeout_seconds: float | None, folder: Path | None = None) -> None:
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._folder = folder

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
        runner = Runner(self._environment, folder=self._folder)
        with Bench(runner, self._environment, timeout_seconds=self._timeout_seconds, announce=announce) as bench:
            while cell := work.take():
                announce(cell.description, None)
                yield from bench.attempts(cell)


class Bench:
    """All that one machine needs to measure cells. Use as a context.

    Args:
        runner: Of its cells; ended with this.
        environment: Of this machine.
        timeout_seconds: As of `LocalEngine`.
        announce: Told how far the search for data is.
    """

    def __init__(
        self, runner: Runner, environment: Environment, *, timeout_seconds: float | None, announce: Announce
    ) -> None:
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._data = _Data(announce)
        self._runner = runner

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
        except DataMissingError as missing:
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


Locate = Callable[[Announce], Path]

SOURCES: Mapping[str, Locate] = MappingProxyType(
    {"enwik8": enwik8.locate, "images64": images64.locate, "multi30k": multi30k.locate}
)
"""Where a task's data comes from, by its kind; the duplication task has none."""


class _Data:
    """The data that learning cells read, each set looked for when the first cell that needs it comes up."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._found: dict[str, Path | DataMissingError] = {}

    def path_for(self, cell: Cell) -> Path | None:
        """Where the cell's data is, or `None` for a cell that reads none.

        Raises:
            DataMissingError: It is nowhere.
        """
        if not isinstance(cell.workload, Learn) or cell.workload.task.kind not in SOURCES:
            return None
        kind = cell.workload.task.kind
        if kind not in self._found:
            self._found[kind] = self._located(SOURCES[kind])
        found = self._found[kind]
        if isinstance(found, DataMissingError):
            raise found
        return found

    def _located(self, locate: Locate) -> Path | DataMissingError:
        try:
            return locate(self._announce)
        except DataMissingError as missing:
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
