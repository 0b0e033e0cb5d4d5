"""A server whose cells measure nothing, and misbehave as told: `python -m tests.faults.server`. Imports no torch."""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ablations.harness.cell import Cell
from ablations.harness.measurement import StepTimes
from ablations.harness.request import Outcome, Request
from ablations.harness.server import main

FAULT = "REFORMER_TEST_FAULT"
"""Environment variable: what goes wrong, with which seed's cell, and a folder for notes on it, as JSON."""

FOREVER = 600.0


def warm_up_for(cell: Cell) -> None:
    """In the server."""
    if _fault(cell) == "server is killed before it forks":
        os.kill(os.getpid(), signal.SIGKILL)


def attempt(request: Request) -> Outcome:
    """In the cell's process."""
    misbehave = MISCONDUCT.get(_fault(request.cell))
    changed = misbehave(request) if misbehave else None
    return changed or Outcome(status="ok", reason=None, measurement=times(0.25), seconds=0.25)


def times(seconds: float) -> StepTimes:
    """A measurement."""
    return StepTimes.model_construct(
        wall_seconds=(seconds, 0.5),
        cpu_seconds=(seconds, 0.5),
        device_seconds=None,
        warm_up_seconds=(1.0,),
        steady=True,
        tokens_per_step=16,
        threads=1,
        cores=2,
        others_seconds=0.125,
        others_missing=None,
        host_seconds=None,
        energy=None,
        energy_missing="no GPU in use",
    )


def _fault(cell: Cell) -> str:
    told = json.loads(os.environ.get(FAULT, "{}"))
    return str(told["kind"]) if told.get("seed") == cell.seed else ""


def _notes() -> Path:
    return Path(json.loads(os.environ[FAULT])["notes"])


def _leave_children() -> None:
    """Two processes that live on, one of which has fled into a session of its own."""
    for flees in (False, True):
        if os.fork() == 0:
            if flees:
                os.setsid()
            (_notes() / f"{os.getpid()}.pid").touch()
            time.sleep(FOREVER)
            os._exit(0)
    while len(list(_notes().glob("*.pid"))) < 2:
        time.sleep(0.001)


def _forks(_: Request) -> None:
    _leave_children()


def _hangs(_: Request) -> None:
    time.sleep(FOREVER)


def _hangs_with_children(_: Request) -> None:
    _leave_children()
    time.sleep(FOREVER)


def _is_killed_with_children(_: Request) -> None:
    _leave_children()
    os.kill(os.getpid(), signal.SIGKILL)


def _stops(_: Request) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _is_killed(_: Request) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfaults(_: Request) -> None:
    ctypes.memset(0, 0, 1)


def _kills_the_server(_: Request) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(FOREVER)


def _leaves_without_a_word(_: Request) -> None:
    os._exit(0)


def _exits(_: Request) -> None:
    os._exit(3)


def _prints_megabytes(_: Request) -> None:
    while True:
        print("x" * 2**20)


def _finds_no_room(_: Request) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _returns_nan(_: Request) -> Outcome:
    return Outcome.model_construct(status="ok", reason=None, measurement=times(float("nan")), seconds=0.25)


def _fails(_: Request) -> Outcome:
    return Outcome(status="error", reason="RuntimeError: planted\n\x1b[31m<script>", measurement=None, seconds=0.25)


def _leaves_garbage(request: Request) -> None:
    Path(request.outcome_path).write_bytes(b'{"status": "\xff')
    os._exit(0)


def _reads_its_input(_: Request) -> None:
    assert not sys.stdin.buffer.read()


def _waits_for_a_word(_: Request) -> None:
    (_notes() / "waiting").touch()
    while not (_notes() / "go on").exists():
        time.sleep(0.001)


MISCONDUCT: Mapping[str, Callable[[Request], Outcome | None]] = {
    "cell forks and leaves its children": _forks,
    "cell hangs": _hangs,
    "cell hangs, and so do its children": _hangs_with_children,
    "cell is killed beside its children": _is_killed_with_children,
    "cell is stopped": _stops,
    "cell is killed": _is_killed,
    "cell crashes": _segfaults,
    "server is killed beside its cell": _kills_the_server,
    "cell leaves without a word": _leaves_without_a_word,
    "cell exits": _exits,
    "cell prints megabytes": _prints_megabytes,
    "cell finds the disk full": _finds_no_room,
    "cell returns NaN": _returns_nan,
    "cell fails": _fails,
    "cell leaves garbage": _leaves_garbage,
    "cell reads its input": _reads_its_input,
    "second run beside it": _waits_for_a_word,
}

if __name__ == "__main__":
    main(sys.modules[__name__])
