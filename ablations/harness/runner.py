"""One cell, one process, one record, whatever happens."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, NamedTuple, Self, TypeVar

from pydantic import ValidationError

from ablations.harness.cell import Cell
from ablations.harness.device_state import watching
from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError
from ablations.harness.measurement import Measurement
from ablations.harness.record import Environment, Record, Status
from ablations.harness.request import CANNOT_WRITE, Ended, Outcome, Request, Started
from ablations.harness.training import Learn
from ablations.harness.training_files import CHECKPOINT_SECONDS, TrainingFiles

SERVER = "ablations.harness.server"
WORKER_ENVIRONMENT = {
    # A waiting thread spins for some 30 microseconds, then sleeps. One that spins on slows steps down by twenty times
    # where another process takes a core; one that sleeps at once doubles the time of steps that are many small
    # operations, as no user's do.
    "GOMP_SPINCOUNT": "10000",
    "PYTHONHASHSEED": "0",
    # Asking whether there is a GPU must not start CUDA in the server: a fork of it could not use it any more.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
LOG_TAIL = 300
START_SECONDS = 300.0
"""How long the server may take to answer a request: it imports torch first, perhaps from a slow disk."""
END_SECONDS = 60.0
"""How long a process that was killed may take to be gone: a GPU's driver has things to put in order."""
SERVER_END_SECONDS = 5.0
"""How long the server may take to end when told to. It computes nothing; only an import may hold it up."""
ASLEEP_SECONDS = 0.5
"""The two clocks that tell whether a machine slept are read one after the other, perhaps with a pause between them."""

Answer = TypeVar("Answer", Started, Ended)


class ServerDiedError(Exception):
    """The process that forks the cells' processes is gone, or does not answer. The message says which."""


class Runner:
    """Runs cells one after the other, each in a process forked from a warm server. Use as a context.

    Args:
        environment: Of this machine.
        folder: Of this machine's records, where training runs keep what they go on from; `None` keeps nothing.
        checkpoint_seconds: Of training between two checkpoints.
        server: Module that serves; another one than that of ordinary cells does other things with them.
        root: Folder that the server starts in, and so whose packages it imports first.
        variables: Of the server's environment, beside those of every worker.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        folder: Path | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        server: str = SERVER,
        root: Path = PROJECT,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._environment = environment
        self._records, self._checkpoint_seconds = folder, checkpoint_seconds
        self._server_module, self._root = server, root
        self._variables = {**WORKER_ENVIRONMENT, **variables}
        self._server: subprocess.Popen[bytes] | None = None
        self._group: int | None = None
        self._folder = _temporary_folder()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._end(self._server)
        self._folder.cleanup()

    def start(self) -> None:
        """Let the server start now, so that it imports what it needs while something else goes on.

        One that cannot be started is found out by the first cell.
        """
        with contextlib.suppress(ServerDiedError):
            self._warm_server()

    def run(self, cell: Cell, data: Path | None = None, *, timeout_seconds: float) -> Record:
        """Measure one cell. Always returns a record; only an interrupt from the keyboard passes through."""
        started, clock, asleep = datetime.now(UTC), time.monotonic(), seconds_asleep()
        with watching(cell.device) as watch:
            ending = self._attempt(cell, data, timeout_seconds)
            device_state, device_state_missing = watch.result()
        ending = _unless_asleep(ending, seconds_asleep() - asleep)
        return Record(
            cell_id=cell.id,
            cell=cell,
            status=ending.status,
            reason=ending.reason,
            measurement=ending.measurement,
            environment=self._environment,
            device_state=device_state,
            device_state_missing=device_state_missing,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
            worker_seconds=ending.worker_seconds,
        )

    def _attempt(self, cell: Cell, data: Path | None, timeout_seconds: float) -> "_Ending":
        request = Request(
            cell=cell,
            data=str(data) if data else None,
            outcome_path=str(Path(self._folder.name) / f"{cell.id}.json"),
            log_path=str(Path(self._folder.name) / f"{cell.id}.log"),
            training=self._training_files(cell),
        )
        # Of an attempt at the same cell before: it must not be taken for this one's.
        Path(request.outcome_path).unlink(missing_ok=True)
        try:
            exit_code, timed_out = self._serve(request, timeout_seconds)
        except ServerDiedError as error:
            return _Ending("killed", f"the process that starts the cells {error}")
        if timed_out and exit_code:
            return _Ending("timeout", f"not done within {timeout_seconds:.4g} s")
        return _outcome(request, exit_code)

    def _training_files(self, cell: Cell) -> TrainingFiles | None:
        if self._records is None or not isinstance(cell.workload, Learn):
            return None
        return TrainingFiles.of(cell.id, self._records, self._environment, every_seconds=self._checkpoint_seconds)

    def _serve(self, request: Request, timeout_seconds: float) -> tuple[int, bool]:
        server = self._warm_server()
        self._ask(server, request)
        self._group = self._answer(server, Started, START_SECONDS).pid
        in_time = _has_answer(server, timeout_seconds)
        if not in_time:
            self._end_group()
        ended = self._answer(server, Ended, END_SECONDS)
        self._group = None
        return ended.exit_code, not in_time

    def _warm_server(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            try:
                self._server = subprocess.Popen(
                    [sys.executable, "-m", self._server_module],
                    cwd=self._root,
                    env=os.environ | self._variables,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # A Ctrl-C at the keyboard is for this process, which then ends the other.
                    start_new_session=True,
                    bufsize=0,
                )
            except OSError as error:
                raise ServerDiedError(f"cannot be started: {error.strerror}") from None
        return self._server

    def _ask(self, server: subprocess.Popen[bytes], request: Request) -> None:
        try:
            _pipe(server.stdin).write(request.model_dump_json().encode() + b"\n")
        except BrokenPipeError:
            raise self._died(server) from None

    def _answer(self, server: subprocess.Popen[bytes], kind: type[Answer], within_seconds: float) -> Answer:
        if not _has_answer(server, within_seconds):
            self._end(server)
            raise ServerDiedError(f"did not answer within {within_seconds:.4g} s")
        line = _pipe(server.stdout).readline()
        if not line.endswith(b"\n"):
            raise self._died(server)
        try:
            return kind.model_validate_json(line)
        except ValidationError:
            self._end(server)
            raise ServerDiedError(f"said {line[:LOG_TAIL]!r} where an answer should be") from None

    def _died(self, server: subprocess.Popen[bytes]) -> ServerDiedError:
        # Its answers have ended, and so does it. Not told to, for its exit code shall be its own.
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(END_SECONDS)
        self._end(server)
        return ServerDiedError(_words_for(server.returncode))

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        """End the server and all that its cell has started."""
        # Told, it ends everything by itself. Where it cannot any more, what has fled the group of its cell lives on.
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(SERVER_END_SECONDS)
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            _pipe(pipe).close()
        self._end_group()
        self._server = self._group = None

    def _end_group(self) -> None:
        """End the cell's process, and whatever it has started in its own process group."""
        if self._group is not None:
            # Gone already, if it ended in just this moment.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)


def _temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory(prefix="reformer-suite-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(
            f"Cannot write to a folder for temporary files: {error.strerror}. Free the disk, or set TMPDIR to a folder "
            "that can be written."
        ) from None


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None, "opened as a pipe"
    return end


def _has_answer(server: subprocess.Popen[bytes], within_seconds: float) -> bool:
    ready, _, _ = select.select([_pipe(server.stdout)], [], [], within_seconds)
    return bool(ready)


def _words_for(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "was killed, as by the system when memory runs out"
    return f"was ended by {_name(-exit_code)}" if exit_code < 0 else f"ended with exit code {exit_code}"


def _name(number: int) -> str:
    """Of a signal; real-time signals have no names of their own."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def seconds_asleep() -> float:
    """How long this machine has been suspended since it started; 0 where no clock tells."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class _Ending(NamedTuple):
    """How an attempt ended, as `Record` has it."""

    status: Status
    reason: str | None
    measurement: Measurement | None = None
    worker_seconds: float | None = None


def _outcome(request: Request, exit_code: int) -> _Ending:
    path = Path(request.outcome_path)
    if exit_code == 0 and path.exists():
        return _read_outcome(path)
    if exit_code < 0:
        cause = ", as the system does when memory runs out" if -exit_code == signal.SIGKILL else ""
        return _Ending("killed", f"the cell's process was ended by {_name(-exit_code)}{cause}")
    if exit_code == CANNOT_WRITE:
        return _Ending("error", "the cell's process could not write: the disk is full, or what it printed is too much")
    return _Ending(
        "error", f"the cell's process ended with exit code {exit_code}: {_last_words(Path(request.log_path))}"
    )


def _last_words(log: Path) -> str:
    if not log.exists():
        return "it left no word"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4 * LOG_TAIL))
        return file.read().decode(errors="replace").strip()[-LOG_TAIL:] or "it left no word"


def _unless_asleep(ending: _Ending, seconds: float) -> _Ending:
    """An error in place of whatever an attempt found while the machine was suspended: a clock stood still meanwhile."""
    if seconds < ASLEEP_SECONDS:
        return ending
    return _Ending("error", f"the machine slept for {seconds:.0f} s meanwhile")


def _read_outcome(path: Path) -> _Ending:
    try:
        outcome = Outcome.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        return _Ending("error", f"the cell's process left no valid outcome: {first['loc']}: {first['msg']}")
    finally:
        path.unlink()
    return _Ending(outcome.status, outcome.reason, outcome.measurement, round(outcome.seconds, 3))
