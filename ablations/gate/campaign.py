"""Rounds of both sides, taken in turns, until the verdict is clear or there have been enough."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from ablations.gate.cells import control_cell, ready
from ablations.gate.judge import judge
from ablations.gate.rounds import CellRounds, Gate, Round, Taken
from ablations.gate.sides import Sides
from ablations.gate.strays import NOT_FROM
from ablations.harness.cell import Cell
from ablations.harness.record import Environment, Record
from ablations.harness.runner import Runner

SERVER = "ablations.gate.server"
CELL_SECONDS = 60.0
"""After which a cell is given up; it takes less than one."""

KEPT_MEMORY: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
}
"""The C library keeps freed memory. Else it gives large tensors back and gets them anew, page by page, in every step: a
third of the time of LSH attention's, and processes of equal code then differ by 6 % in place of 2 %. What allocates
more is for the counters to find."""

Which = Literal["base", "head", "control"]
Measure = Callable[[Which, Cell], Taken]
Tell = Callable[[str], None]


class Taking(NamedTuple):
    """One round: of every cell, and of the control."""

    cells: Mapping[Cell, Round]
    control: Round


TakeRound = Callable[[Sequence[Cell], Cell, int], Taking]
"""Given the cells, the control, and the number of the round, which says who is first."""


def measure_gate(
    sides: Sides, cells: Sequence[Cell], environment: Environment, *, rounds: int, tell: Tell = lambda line: None
) -> Gate:
    """The whole gate on this machine."""
    started, clock = datetime.now(UTC), time.monotonic()
    found, control = take_rounds(by_servers(sides, environment), cells, rounds=rounds, tell=tell)
    return Gate(
        base=sides.base,
        head=sides.head,
        environment=environment,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        cells=found,
        control=control,
    )


def take_rounds(
    take: TakeRound, cells: Sequence[Cell], *, rounds: int, tell: Tell = lambda line: None
) -> tuple[tuple[CellRounds, ...], CellRounds]:
    """All cells in `rounds` rounds, and in as many again those that are in doubt; and the control."""
    found = {cell: CellRounds(cell=cell) for cell in cells}
    control = CellRounds(cell=control_cell())
    wanted: Sequence[Cell] = tuple(cells)
    for batch in ("first", "second"):
        for number in range(rounds if wanted else 0):
            tell(f"{batch} batch, round {number + 1} of {rounds}, {len(wanted)} cells")
            taken = take(wanted, control.cell, number)
            found |= {cell: found[cell].with_round(one) for cell, one in taken.cells.items()}
            control = control.with_round(taken.control)
        wanted = in_doubt(tuple(found.values()), control)
    return tuple(found.values()), control


def in_doubt(found: Sequence[CellRounds], control: CellRounds) -> tuple[Cell, ...]:
    """The cells that more rounds might decide; on a machine that seems noisy, all that have a ratio."""
    judgement = judge(found, control)
    noisy = not judgement.control.quiet
    return tuple(one.cell.cell for one in judgement.cells if one.in_doubt or (noisy and one.ratio))


def by_servers(sides: Sides, environment: Environment) -> TakeRound:
    """Rounds in processes: in each, servers start anew of the base, the head, and the base once more.

    What a start brings along, such as where things lie in memory, is thus part of what differs between rounds.
    """
    roots: Mapping[Which, Path] = {"base": sides.base_root, "head": sides.head_root, "control": sides.base_root}
    of_base = {**KEPT_MEMORY, NOT_FROM: str(sides.project)}
    variables: Mapping[Which, Mapping[str, str]] = {"base": of_base, "head": KEPT_MEMORY, "control": of_base}

    def take(cells: Sequence[Cell], control: Cell, number: int) -> Taking:
        with ExitStack() as stack:
            runners = {
                which: stack.enter_context(Runner(environment, server=SERVER, root=root, variables=variables[which]))
                for which, root in roots.items()
            }
            # All at once, and none is measured before all have imported what they need.
            for runner in runners.values():
                runner.start()
            for runner in runners.values():
                _run(runner, ready(control))
            return in_turns(lambda which, cell: Taken.of(_run(runners[which], cell)), cells, control, number)

    return take


def _run(runner: Runner, cell: Cell) -> Record:
    return runner.run(cell, timeout_seconds=CELL_SECONDS)


def in_turns(measure: Measure, cells: Sequence[Cell], control: Cell, number: int) -> Taking:
    """Each cell on both sides, one right after the other, and the control on the base twice.

    Who is first changes from cell to cell and from round to round: the second of two may have it warmer than the first.
    """
    taken = {cell: _turn(measure, "head", cell, number + index) for index, cell in enumerate(cells)}
    return Taking(taken, _turn(measure, "control", control, number))


def _turn(measure: Measure, other: Which, cell: Cell, number: int) -> Round:
    order: tuple[Which, Which] = ("base", other) if number % 2 == 0 else (other, "base")
    taken = {which: measure(which, cell) for which in order}
    return Round(base=taken["base"], head=taken[other])
