"""One cell, one process, one record, whatever happens."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from pydantic import ValidationError

from ablations.harness.cell import Cell
from ablations.harness.device_state import watching
from ablations.harness.environment import PROJECT
from ablations.harness.measurement import Measurement
from ablations.harness.record import Environment, Record, Status
from ablations.harness.request import Ended, Outcome, Request, Started

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


class ServerDiedError(Exception):
    """The process that forks the cells' processes is gone."""


class Runner:
    """Runs cells one after the other, each in a process forked from a warm server. Use as a context."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._server: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="reformer-suite-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            # Its cell, if it has one, ends with it.
            self._server.kill()
            self._close(self._server)
        self._folder.cleanup()

    def run(self, cell: Cell, data: Path | None = None, *, timeout_seconds: float) -> Record:
        """Measure one cell. Always returns a record; only an interrupt from the keyboard passes through."""
        started, clock = datetime.now(UTC), time.monotonic()
        with watching(cell.device) as watch:
            ending = self._attempt(cell, data, timeout_seconds)
            device_state, device_state_missing = watch.result()
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
        )
        try:
            exit_code, timed_out = self._serve(request, timeout_seconds)
        except ServerDiedError:
            return _Ending(
                "killed", "the process that starts the cells was killed, as by the system when memory runs out"
            )
        if timed_out and exit_code:
            return _Ending("timeout", f"not done within {timeout_seconds:.4g} s")
        return _outcome(request, exit_code)

    def _serve(self, request: Request, timeout_seconds: float) -> tuple[int, bool]:
        server = self._warm_server()
        assert server.stdin is not None, "opened as a pipe"
        assert server.stdout is not None, "opened as a pipe"
        try:
            server.stdin.write(request.model_dump_json().encode() + b"\n")
            server.stdin.flush()
        except BrokenPipeError:
            raise self._died(server) from None
        pid = Started.model_validate_json(self._line(server, server.stdout)).pid
        in_time, _, _ = select.select([server.stdout], [], [], timeout_seconds)
        if not in_time:
            # Gone already, if it ended in just this moment.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return Ended.model_validate_json(self._line(server, server.stdout)).exit_code, not in_time

    def _warm_server(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-m", SERVER],
                cwd=PROJECT,
                env=os.environ | WORKER_ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # A Ctrl-C at the keyboard is for this process, which then ends the other.
                start_new_session=True,
                bufsize=0,
            )
        return self._server

    def _line(self, server: subprocess.Popen[bytes], answers: IO[bytes]) -> bytes:
        line = answers.readline()
        if not line.endswith(b"\n"):
            raise self._died(server)
        return line

    def _died(self, server: subprocess.Popen[bytes]) -> ServerDiedError:
        self._close(server)
        self._server = None
        return ServerDiedError()

    @staticmethod
    def _close(server: subprocess.Popen[bytes]) -> None:
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()
        server.wait()


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
        name = signal.Signals(-exit_code).name
        cause = ", as the system does when memory runs out" if -exit_code == signal.SIGKILL else ""
        return _Ending("killed", f"the cell's process was ended by {name}{cause}")
    log = Path(request.log_path)
    tail = log.read_text(errors="replace").strip()[-LOG_TAIL:] if log.exists() else "it left no word"
    return _Ending("error", f"the cell's process ended with exit code {exit_code}: {tail}")


def _read_outcome(path: Path) -> _Ending:
    try:
        outcome = Outcome.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        return _Ending("error", f"the cell's process left no valid outcome: {first['loc']}: {first['msg']}")
    finally:
        path.unlink()
    return _Ending(outcome.status, outcome.reason, outcome.measurement, round(outcome.seconds, 3))
