"""Trials of the harness: `python -m tests.faults.trials SEED FIRST LAST` prints a JSON line for each.

In each trial a small plan runs, something goes wrong at a drawn point, and a plain second run follows. Runner, server,
store and sweep are the real ones, and so is what the command line does around them; only what the cells do is not.
Imports no torch, so that a trial takes a fraction of a second.
"""

import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from ablations import cli
from ablations.harness import runner, store
from ablations.harness.cell import Cell
from ablations.harness.engine import Announce
from ablations.harness.errors import UserError
from ablations.harness.record import Environment, Record
from ablations.harness.runner import Runner
from ablations.harness.store import Plan, PlannedExperiment
from ablations.harness.worklist import Worklist
from tests.faults.server import FAULT
from tests.harness.cells import cell, here

N_CELLS = 6
REFUSED, CRASHED = 2, 70
MOST_ROOM_BYTES = 6000
"""Of a disk that is full too soon: room for the plan or not, and for some of the records, but never for all."""
LONG_SECONDS, SHORT_SECONDS = 100.0, 0.5


@dataclass(frozen=True)
class Fault:
    """What goes wrong, with which seed's cell or after how many steps, and how far into something."""

    kind: str
    seed: int
    share: float
    notes: Path


@cache
def environment() -> Environment:
    return here()


def plan() -> Plan:
    cells = tuple(cell(seed=seed) for seed in range(N_CELLS))
    return Plan(experiments=(PlannedExperiment(profile="cpu", name="trial", title="t", question="?", cells=cells),))


class LightEngine:
    """This machine with a server that measures nothing."""

    left_out: tuple[str, ...] = ()

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault

    @property
    def environment(self) -> Environment:
        return environment()

    def measure(self, work: Worklist, announce: Announce) -> Iterator[Record]:
        with Runner(environment(), server="tests.faults.server") as one:
            while taken := work.take():
                announce(taken.description, None)
                yield one.run(taken, timeout_seconds=self._seconds(taken))

    def _seconds(self, taken: Cell) -> float:
        """Few for the cell that is to hang, and for no other: the machine may be busy."""
        fault = self._fault
        hangs = fault is not None and fault.kind in HANG and fault.seed == taken.seed
        return SHORT_SECONDS if hangs else LONG_SECONDS


def start(results: Path, fault: Fault | None = None) -> int:
    """Start a run in a process of its own; its number."""
    # An interrupt that comes before that process can tell what it means waits until it can.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return pid
    code = CRASHED
    try:
        code = _run(results, fault)
    finally:
        # Whatever happened: it must not go on as a copy of this process, which would remove the trial's folder.
        os._exit(code)


def _run(results: Path, fault: Fault | None) -> int:
    """The exit code of a run, in its own process."""
    with (results.parent / "log").open("a") as log:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            if fault:
                _plant(fault)
            console = Console(file=log)
            return int(cli._measure(plan(), results, console, LightEngine(fault), retry_failed=False))
        except (UserError, KeyboardInterrupt) as error:
            log.write(f"Error: {error}\n")
            return REFUSED
        except BaseException:
            traceback.print_exc(file=log)
            return CRASHED
        finally:
            _give_room()


def _give_room() -> None:
    """To the log, after a trial of a full disk."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def end(pid: int) -> int:
    """Its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _plant(fault: Fault) -> None:
    """In the process of the run."""
    told = {"kind": fault.kind, "seed": fault.seed, "notes": str(fault.notes)}
    os.environ[FAULT] = json.dumps(told)
    match fault.kind:
        case "runner is killed before it syncs" | "runner is killed after it synced" | "power fails in mid write":
            _at_sync(fault)
        case "machine sleeps":
            _sleep_meanwhile(fault)
        case "disk is full":
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(MOST_ROOM_BYTES * fault.share), most))


def _at_sync(fault: Fault) -> None:
    """Kill this process at a drawn one of its calls that wait for the disk: two of the plan, then those of records."""
    sync, left = os.fsync, [1 + int(fault.share * (N_CELLS + 3))]

    def counted(handle: int) -> None:
        left[0] -= 1
        if left[0] == 0 and fault.kind == "power fails in mid write":
            with contextlib.suppress(OSError):
                os.ftruncate(handle, max(0, os.fstat(handle).st_size - 1 - fault.seed * 100))
        if left[0] == 0 and fault.kind == "runner is killed after it synced":
            sync(handle)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(handle)

    # In this process, a copy that ends here.
    store.os.fsync = counted  # type: ignore[attr-defined]


def _sleep_meanwhile(fault: Fault) -> None:
    readings = iter([0.0] * (2 * fault.seed + 1) + [7.0] * (2 * N_CELLS))
    runner.seconds_asleep = lambda: next(readings)


def _first_run(results: Path, fault: Fault) -> int:
    pid = start(results, fault)
    if fault.kind == "second run beside it":
        _wait_for(fault.notes / "waiting")
        assert end(start(results)) == REFUSED
        assert f"Another run is measuring into {results}" in (results.parent / "log").read_text().replace("\n", " ")
        assert f"process {pid} on " in (results.parent / "log").read_text()
        (fault.notes / "go on").touch()
    if fault.kind in ("runner is killed", "runner is interrupted"):
        time.sleep(fault.share)
        os.kill(pid, signal.SIGKILL if fault.kind == "runner is killed" else signal.SIGINT)
    return end(pid)


def _wait_for(path: Path) -> None:
    until = time.monotonic() + LONG_SECONDS
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.002)


def _file(results: Path) -> Path:
    return results / environment().machine / "trial.jsonl"


def _cut(results: Path, fault: Fault) -> None:
    content = _file(results).read_bytes()
    _file(results).write_bytes(content[: int(fault.share * (len(content) + 1))])


def _zeros(results: Path, fault: Fault) -> None:
    with _file(results).open("ab") as file:
        file.write(b"\0" * (1 + int(fault.share * 5000)))


def _repeat(results: Path, fault: Fault) -> None:
    lines = _file(results).read_bytes().splitlines(keepends=True)
    lines.insert(int(fault.share * len(lines)), lines[fault.seed])
    _file(results).write_bytes(b"".join(lines))


def _of_an_older_schema(results: Path, fault: Fault) -> None:
    lines = [json.loads(line) for line in _file(results).read_bytes().splitlines()[: 1 + fault.seed]]
    _file(results).write_text("".join(json.dumps(_older(line)) + "\n" for line in lines))


def _older(content: dict[str, Any]) -> dict[str, Any]:
    gained = store._GAINED
    times = {key: value for key, value in content["measurement"].items() if key not in {*gained["time"], "cores"}}
    kept = {key: value for key, value in content.items() if key not in gained["record"]}
    return kept | {"schema_version": 3, "measurement": times}


def _of_another_machine(results: Path, fault: Fault) -> None:
    foreign = environment().model_copy(update={"processor": "Another", "machine": "another"})
    lines = _file(results).read_bytes().splitlines(keepends=True)
    moved = json.loads(lines[fault.seed]) | {"environment": foreign.model_dump(mode="json")}
    lines[fault.seed] = json.dumps(moved).encode() + b"\n"
    _file(results).write_bytes(b"".join(lines))


def _leftovers(results: Path, fault: Fault) -> None:
    folder = results / environment().machine
    for name in ("plan.json.new", "machine.json.new", "trial.jsonl.broken"):
        (folder / name).write_text("{half")
    (folder / ".lock").write_text(json.dumps({"pid": 1, "host": "gone", "started": "then", "command": "x"}))
    _cut(results, fault)


AFTERWARDS: Mapping[str, Callable[[Path, Fault], None]] = {
    "file is cut at any byte": _cut,
    "file ends in zeros": _zeros,
    "record is there twice": _repeat,
    "records are of an older schema": _of_an_older_schema,
    "record is of another machine": _of_another_machine,
    "leftovers of a run that is gone": _leftovers,
}

HANG = frozenset({"cell hangs", "cell hangs, and so do its children", "cell is stopped"})
OUTCOMES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(HANG, ("timeout", "not done within 0.5 s")),
    "cell is killed": ("killed", "SIGKILL"),
    "cell is killed beside its children": ("killed", "SIGKILL"),
    "cell crashes": ("killed", "SIGSEGV"),
    "server is killed beside its cell": ("killed", "the process that starts the cells was killed"),
    "server is killed before it forks": ("killed", "the process that starts the cells was killed"),
    "cell leaves without a word": ("error", "exit code 0: it left no word"),
    "cell exits": ("error", "exit code 3"),
    "cell prints megabytes": ("error", "what it printed is too much"),
    "cell finds the disk full": ("error", "the disk is full"),
    "cell returns NaN": ("error", "no valid outcome"),
    "cell fails": ("error", "planted"),
    "cell leaves garbage": ("error", "no valid outcome"),
    "machine sleeps": ("error", "the machine slept for 7 s"),
}
"""Of faults that are a row: which status, and words of the reason."""
EXIT_CODES: Mapping[str, frozenset[int]] = {
    **dict.fromkeys(OUTCOMES, frozenset({1})),
    "runner is killed before it syncs": frozenset({-signal.SIGKILL}),
    "runner is killed after it synced": frozenset({-signal.SIGKILL}),
    "power fails in mid write": frozenset({-signal.SIGKILL}),
    # By the clock: it may have come to its end before.
    "runner is killed": frozenset({-signal.SIGKILL, 0}),
    "runner is interrupted": frozenset({REFUSED, 0}),
    "disk is full": frozenset({REFUSED}),
}
"""Of the first run; 0 where nothing else is said."""
KINDS = (*EXIT_CODES, "cell forks and leaves its children", "cell reads its input", "second run beside it", *AFTERWARDS)


def trial(number: int, random_state: random.Random) -> dict[str, object]:
    """What became of one: the kind of fault, how many records were lost or are there twice, and what else is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        results, notes = Path(folder) / "results", Path(folder) / "notes"
        notes.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        # The first of each kind comes at the earliest point there is: a disk without room for a byte, say.
        share = random_state.random() if number >= len(KINDS) else 0.0
        fault = Fault(KINDS[number % len(KINDS)], random_state.randrange(N_CELLS), share, notes)
        code = _first_run(results, fault)
        wrong = [] if code in EXIT_CODES.get(fault.kind, {0}) else [f"the first run ended with {code}"]
        wrong += _rows_that_are_wrong(results, fault)
        if fault.kind in AFTERWARDS:
            AFTERWARDS[fault.kind](results, fault)
        kept = _whole_lines(results)
        if (code := end(start(results))) != 0:
            wrong.append(f"the second run ended with {code}")
        wrong += _alive(notes)
        told = {"number": number, "kind": fault.kind, "seed": fault.seed, "share": fault.share}
        counts = _counts(results, kept, planted=fault.kind == "record is there twice")
        log = (results.parent / "log").read_text() if wrong or any(counts.values()) else ""
        tempfile.tempdir = None
        return {**told, **counts, "wrong": wrong, "log": log}


def _whole_lines(results: Path) -> list[bytes]:
    lines = _file(results).read_bytes().split(b"\n") if _file(results).exists() else []
    return [line for line in lines if store._is_json(line)]


def _rows_that_are_wrong(results: Path, fault: Fault) -> list[str]:
    """A fault of a cell is a row of its own, and all others are as ever."""
    if fault.kind not in OUTCOMES:
        return []
    rows = {one.cell.seed: (one.status, one.reason or "") for one in store.read_records(_file(results))}
    status, words = OUTCOMES[fault.kind]
    found = rows.pop(fault.seed)
    wrong = [] if found[0] == status and words in found[1] else [f"the row says {found}"]
    return wrong + [f"seed {seed} says {row}" for seed, row in rows.items() if row != ("ok", "")]


def _alive(notes: Path) -> list[str]:
    """Those children of a cell that live on."""
    pids = [int(path.stem) for path in notes.glob("*.pid")]
    return [f"process {pid} lives on" for pid in pids if Path(f"/proc/{pid}").exists()]


def _counts(results: Path, kept: list[bytes], *, planted: bool) -> dict[str, int]:
    """Lost: planned cells that are not measured now, and records of before that are not there any more."""
    records = store.read_records(_file(results))
    newest = {one.cell_id: one.status for one in store.newest(records)}
    ids = [one.id for one in plan().experiments[0].cells]
    gone = Counter(kept) - Counter(_whole_lines(results))
    measured = Counter(
        one.cell_id for one in records if one.status == "ok" and one.environment.machine == environment().machine
    )
    return {
        "lost": sum(newest.get(one) != "ok" for one in ids) + gone.total(),
        "duplicated": measured.total() - len(measured) - planted + len(set(newest) - set(ids)),
    }


def main(seed: int, first: int, last: int) -> None:
    for number in range(first, last):
        print(json.dumps(trial(number, random.Random(seed * 1_000_003 + number))), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
