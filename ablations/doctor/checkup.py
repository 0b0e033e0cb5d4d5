"""Run the checks of this machine, everything through the runner, server and processes that a run of the suite uses."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ablations.doctor import cells, judgements
from ablations.doctor.findings import Finding
from ablations.doctor.judgements import Round
from ablations.experiments.ceilings import in_types
from ablations.harness.cell import Cell, Device
from ablations.harness.environment import describe
from ablations.harness.plausible import Judge
from ablations.harness.record import Record
from ablations.harness.runner import Runner

PROBE_SERVER = "ablations.doctor.server"
ROUNDS = 8
"""As many as `verdict` asks for."""
TIMEOUT_SECONDS = 60.0
HANG_SECONDS = 1.0


def examine(device: Device) -> Iterator[Finding]:
    """Every check on this machine, as soon as it is done; about a minute in all."""
    here = describe(device)
    with Runner(here, server=PROBE_SERVER) as probes:
        yield from _probed(probes, device)
    with Runner(here) as runner:
        yield from _measured(runner, device)


def _probed(runner: Runner, device: Device) -> Iterator[Finding]:
    """What is known of steps whose cost is known, and of cells that misbehave."""
    yield judgements.known_memory(_run(runner, cells.probe("known memory", device)))
    refused = _run(runner, cells.probe("out of memory", device))
    slept = _run(runner, cells.probe("known sleep", device))
    yield judgements.out_of_memory(refused, slept)
    yield judgements.known_sleep(slept)
    before = _descendants()
    hung = runner.run(cells.probe("hang", device), timeout_seconds=HANG_SECONDS)
    left = None if before is None else len((_descendants() or before) - before)
    yield judgements.timeout(hung, limit_seconds=HANG_SECONDS, left=left)


def _measured(runner: Runner, device: Device) -> Iterator[Finding]:
    """What is known of ordinary cells: equal ones, one that does more, and the machine's ceilings."""
    ceilings = next(cell for cell in in_types(("float32",)).cells("cpu" if device == "cpu" else "gpu", device))
    first = _run(runner, ceilings)
    judge = Judge([first])
    rounds = [_round(runner, device, turned=number % 2 == 1) for number in range(ROUNDS)]
    equal: list[Round] = [(again, once) for once, again, _ in rounds]
    more: list[Round] = [(slower, again) for _, again, slower in rounds]
    steps = [record for one in rounds for record in one]
    yield judgements.equal_cells(equal)
    yield judgements.planted_slowdown(more)
    second = _run(runner, ceilings)
    judge.judged(second)
    yield judgements.ceilings(first, second, [judge.judged(record) for record in steps if record.status == "ok"])
    yield judgements.contention(steps)
    yield judgements.device_state(steps)
    peak, kernels = _run(runner, cells.memory(device)), _run(runner, cells.kernels(device))
    yield from judgements.can_be_known(steps[0], peak, kernels)


def _round(runner: Runner, device: Device, *, turned: bool) -> tuple[Record, Record, Record]:
    """A cell, the same again, and one that does more; in a round that is turned, taken the other way round."""
    planned: Sequence[Cell] = (*[cells.model(device)] * 2, cells.model(device, n_layers=cells.MORE_LAYERS))
    taken = [_run(runner, cell) for cell in (planned[::-1] if turned else planned)]
    once, again, more = taken[::-1] if turned else taken
    return once, again, more


def _run(runner: Runner, cell: Cell) -> Record:
    return runner.run(cell, timeout_seconds=TIMEOUT_SECONDS)


def _descendants() -> set[int] | None:
    """Processes that this one started, and those that they started; `None` where the system does not tell."""
    if not Path("/proc/self/stat").exists():
        return None
    parents = dict(filter(None, map(_parent, Path("/proc").glob("[0-9]*"))))
    found, more = set[int](), {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in more}:
        found |= more
    return found


def _parent(process: Path) -> tuple[int, int] | None:
    """The process and its parent; `None` if it ended meanwhile."""
    try:
        fields = re.sub(r"^.*\)", "", (process / "stat").read_text(), flags=re.DOTALL).split()
    except OSError:
        return None
    return int(process.name), int(fields[1])
