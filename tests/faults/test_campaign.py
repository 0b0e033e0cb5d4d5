"""Whatever goes wrong, what was measured before is kept, and a plain second run completes the plan."""

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ablations.harness import store
from ablations.harness.cell import TimeStep
from ablations.harness.lock import sole_writer
from ablations.harness.runner import Runner
from tests.faults.trials import KINDS
from tests.harness.cells import cell, config, here, record

PROJECT = Path(__file__).resolve().parents[2]
N_TRIALS = 7 * len(KINDS)
SEED = int(os.environ.get("REFORMER_FAULT_SEED") or secrets.randbelow(10**6))
"""Drawn anew each time; set the variable to what a failed run printed to see the same again."""


def trials(seed: int, n_processes: int = 2) -> list[dict[str, Any]]:
    """What became of all, measured by processes that have no torch."""
    bounds = [N_TRIALS * index // n_processes for index in range(n_processes + 1)]
    command = [sys.executable, "-m", "tests.faults.trials", str(seed)]
    processes = [
        subprocess.Popen([*command, str(first), str(last)], cwd=PROJECT, stdout=subprocess.PIPE)
        for first, last in itertools.pairwise(bounds)
    ]
    lines = [line for process in processes for line in process.communicate()[0].splitlines()]
    assert [process.returncode for process in processes] == [0] * n_processes
    return [json.loads(line) for line in lines]


@pytest.mark.timeout(280)
def test_after_a_fault_at_a_drawn_point_a_plain_second_run_gives_the_records_of_an_undisturbed_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = trials(SEED)
    lost, duplicated = (sum(one[what] for one in found) for what in ("lost", "duplicated"))
    with capsys.disabled():
        print(f"\nseed {SEED}: {len(found)} faults, {lost} lost, {duplicated} duplicated")
        for kind, times in Counter(one["kind"] for one in found).items():
            print(f"  {times} times: {kind}")
    assert len(found) == N_TRIALS >= 200
    assert [one for one in found if one["wrong"] or one["lost"] or one["duplicated"]] == []


LONG = cell(length=1024, workload=TimeStep(mode="forward", seconds=60.0), config=config(length=1024))


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.wait()


@pytest.mark.parametrize("whom", ["cell", "server"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_with_the_server_that_has_torch_the_row_says_who_ended_how_and_the_next_cell_runs(
    whom: str, how: signal.Signals, killer: list[subprocess.Popen[bytes]]
) -> None:
    with Runner(here()) as runner:
        assert runner.run(cell(), timeout_seconds=100).status == "ok"
        assert runner._server is not None
        server = psutil.Process(runner._server.pid)
        killer.append(kill_soon(server, whom=whom, how=how))
        ended = runner.run(LONG, timeout_seconds=100)
        assert ended.status == "killed"
        assert ended.reason
        told_to_end = (whom, how) == ("server", signal.SIGTERM)
        name = "was killed" if whom == "server" and how == signal.SIGKILL else how.name
        assert ("ended with exit code 1" if told_to_end else name) in ended.reason
        assert runner.run(cell(seed=1), timeout_seconds=100).status == "ok"


def kill_soon(server: psutil.Process, *, whom: str, how: signal.Signals) -> "subprocess.Popen[bytes]":
    """From a process of its own, once the cell has begun."""
    code = (
        "import psutil, sys, time\n"
        "pid, whom, how = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])\n"
        "server = psutil.Process(pid)\n"
        "while not server.children(): time.sleep(0.01)\n"
        "(server if whom == 'server' else server.children()[0]).send_signal(how)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(server.pid), whom, str(int(how))])


def test_the_lock_of_a_run_that_was_killed_is_free_while_its_server_lives_on(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from ablations.harness.lock import sole_writer\n"
        "from ablations.harness.runner import Runner\n"
        "from tests.harness.cells import cell, here\n"
        "with sole_writer(Path(sys.argv[1])), Runner(here(), server='tests.faults.server') as runner:\n"
        "    runner.run(cell(), timeout_seconds=100)\n"
        "    print(runner._server.pid, flush=True)\n"
        "    time.sleep(100)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        server = psutil.Process(int(holder.stdout.readline()))
        server.suspend()
        holder.kill()
        holder.wait()
        assert server.is_running()
        try:
            with sole_writer(tmp_path):
                assert f'"pid":{os.getpid()}' in (tmp_path / ".lock").read_text()
        finally:
            server.kill()


def test_records_that_are_there_twice_are_counted(tmp_path: Path) -> None:
    records = [record(cell(seed=seed), here()) for seed in (0, 1, 0, 2, 0)]
    assert store.repeated(records) == 2
