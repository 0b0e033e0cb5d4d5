"""Whether training steps of a cell fit into a memory budget."""

import torch

from ablations.harness.cell import Capacity, Cell
from ablations.harness.measure.budget import apply_budget
from ablations.harness.measure.time import timed
from ablations.harness.measurement import Trained
from ablations.harness.steps import build_trial


def measure_capacity(cell: Cell, workload: Capacity) -> Trained:
    """Take two steps within the budget: before the second one all gradients and the optimiser's state are there.

    Raises:
        RuntimeError: They do not fit (on a CPU, `MemoryError` too), what they compute is not finite, or less than the
            budget is free.
        UnsupportedError: The machine has less than the budget.
    """
    budget_bytes = apply_budget(workload.budget_bytes, torch.device(cell.device))
    trial = build_trial(cell)
    step = trial.step(workload.mode)
    step()
    second = timed(step, trial.device)
    trial.check()
    return Trained(budget_bytes=budget_bytes, seconds=second.wall)
