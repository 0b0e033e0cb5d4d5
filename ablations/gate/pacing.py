"""What happens inside the process of a gate's cell: steps and a fixed computation in turns, on one thread.

Stands in the place of `ablations.harness.worker` in the server of a side.
"""

import torch

from ablations.gate.cells import READY
from ablations.harness import worker
from ablations.harness.cell import Cell, TimeStep
from ablations.harness.measure.time import timed, without_collections
from ablations.harness.measurement import Measurement, PacedTimes
from ablations.harness.request import Outcome, Request
from ablations.harness.steps import build_trial

WARM_UP_STEPS = 3
CPU = torch.device("cpu")

warm_up_for = worker.warm_up_for


def attempt(request: Request) -> Outcome:
    """Pace the cell; whatever goes wrong is told as it is of any other."""
    return worker.attempt_by(_measure, request)


def _measure(request: Request) -> Measurement:
    cell = request.cell
    if cell.experiment == READY:
        return PacedTimes(step_seconds=(1.0,), reference_seconds=(1.0,))
    torch.set_num_threads(1)
    assert isinstance(cell.workload, TimeStep), "a gate times steps"
    return paced(cell, cell.workload)


def paced(cell: Cell, workload: TimeStep) -> PacedTimes:
    """Processor seconds of steps once warm, each after one of the fixed computation.

    Raises:
        RuntimeError: What was timed did not work; see `Step.check_since`.
    """
    step, fixed = build_trial(cell).step(workload.mode), Reference()
    earlier = step.checked()
    steps: list[float] = []
    references: list[float] = []
    with without_collections():
        for _ in range(WARM_UP_STEPS):
            fixed()
            step.before()
            step()
        while len(steps) < workload.min_samples or sum(steps) + sum(references) < workload.seconds:
            references.append(timed(fixed, CPU).cpu)
            step.before()
            steps.append(timed(step, CPU).cpu)
    step.check_since(earlier)
    return PacedTimes(step_seconds=tuple(steps), reference_seconds=tuple(references))


class Reference:
    """A computation of the kinds that attention is made of: products, exponentials, a sort, and rows by index.

    It is of some milliseconds, so that it sees the same moment of the machine as the step beside it.
    """

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._matrix = torch.randn(192, 192, generator=generator)
        self._rows = torch.randn(4096, 64, generator=generator)
        self._keys = torch.randint(0, 256, (4096,), generator=generator)

    def __call__(self) -> None:
        """Once."""
        product = self._matrix
        for _ in range(8):
            product = (product @ self._matrix).softmax(dim=-1)
        order = self._keys.sort(stable=True).indices
        (self._rows[order] * self._rows).sum(dim=-1).exp_()
