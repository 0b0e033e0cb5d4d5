"""Rounds with known answers: what a gate would have measured, had the machine such a noise and the head such a cost."""

from collections.abc import Callable, Sequence

import numpy as np

from ablations.gate.campaign import TakeRound, Taking
from ablations.gate.rounds import Round, Taken
from ablations.harness.cell import Cell
from ablations.harness.measurement import PacedTimes

QUIET, CONTENDED = 0.01, 0.029
"""How far processes of equal code differ on the machines that this was measured on, as a share of their times."""

Cost = Callable[[Cell], float | None]
"""Of a step of the head, over that of the base; `None` where the head cannot take it."""


def machine(seed: int, *, noise: float, cost: Cost = lambda cell: 1.0, base: Cost = lambda cell: 1.0) -> TakeRound:
    """Takes rounds as a machine would whose processes differ by `noise`."""
    random = np.random.default_rng(seed)

    def side(cost: float | None) -> Taken:
        if cost is None:
            return Taken(times=None, reason="error: planted")
        middle = cost * np.exp(random.normal(0.0, noise))
        steps = middle * np.exp(random.normal(0.0, noise / 3, size=7))
        return Taken(times=PacedTimes(step_seconds=tuple(steps), reference_seconds=(1.0,) * 8), reason=None)

    def take(cells: Sequence[Cell], control: Cell, number: int) -> Taking:
        taken = {cell: Round(base=side(base(cell)), head=side(cost(cell))) for cell in cells}
        return Taking(taken, Round(base=side(base(control)), head=side(base(control))))

    return take
