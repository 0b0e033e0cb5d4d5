"""More gates from recorded ones: rounds drawn anew, with replacement, from all that real gates took of each cell."""

import random
from collections.abc import Sequence
from pathlib import Path

from ablations.gate.campaign import Taking, take_rounds
from ablations.gate.judge import Judgement, judge
from ablations.gate.rounds import CellRounds, Gate, Round, Taken
from ablations.harness.cell import Cell
from ablations.harness.measurement import PacedTimes

RECORDED = Path(__file__).parent / "recorded"
"""Gates that were really taken, of equal code and of LSH attention that is 15 % slower."""


def recorded(folder: Path, kind: str) -> tuple[Gate, ...]:
    """Gates of one kind, `same` or `slower`, in the order of their numbers."""
    return tuple(Gate.model_validate_json(path.read_bytes()) for path in sorted(folder.glob(f"{kind}-*.json")))


def thinned(gate: Gate) -> Gate:
    """The same gate with the pace of every process in place of its steps, in a tenth of the bytes."""
    return gate.model_copy(
        update={"cells": tuple(map(_paces, gate.cells)), "control": _paces(gate.control)},
    )


def _paces(measured: CellRounds) -> CellRounds:
    rounds = tuple(Round(base=_pace(one.base), head=_pace(one.head)) for one in measured.rounds)
    return measured.model_copy(update={"rounds": rounds})


def _pace(taken: Taken) -> Taken:
    if taken.times is None:
        return taken
    return Taken(
        times=PacedTimes(step_seconds=(round(taken.times.pace, 5),), reference_seconds=(1.0, 1.0)), reason=None
    )


def judged(gate: Gate) -> Judgement:
    """The judgement of a gate as it was taken."""
    return judge(gate.cells, gate.control)


def resampled(gates: Sequence[Gate], seed: int, *, rounds: int = 8) -> Judgement:
    """The judgement of one gate more, from rounds of those that there are."""
    draw = random.Random(seed)
    pool = _pool([one for gate in gates for one in gate.cells])
    (control_pool,) = _pool([gate.control for gate in gates]).values()

    def take(cells: Sequence[Cell], control: Cell, number: int) -> Taking:
        return Taking({cell: draw.choice(pool[cell]) for cell in cells}, draw.choice(control_pool))

    return judge(*take_rounds(take, tuple(pool), rounds=rounds))


def _pool(measured: Sequence[CellRounds]) -> dict[Cell, list[Round]]:
    pool: dict[Cell, list[Round]] = {}
    for one in measured:
        pool.setdefault(one.cell, []).extend(one.rounds)
    return pool
