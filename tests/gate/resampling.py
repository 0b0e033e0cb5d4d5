"""More gates from recorded ones: rounds drawn anew, with replacement, from all that real gates took of each cell."""

import random
from collections.abc import Sequence
from pathlib import Path

from ablations.gate.campaign import Taking, take_rounds
from ablations.gate.judge import Judgement, judge
from ablations.gate.rounds import CellRounds, Gate, Round
from ablations.harness.cell import Cell


def recorded(folder: Path, kind: str) -> tuple[Gate, ...]:
    """Gates of one kind, `same` or `slower`, in the order of their numbers."""
    return tuple(Gate.model_validate_json(path.read_bytes()) for path in sorted(folder.glob(f"{kind}-*.json")))


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
