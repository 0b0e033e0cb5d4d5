"""What happens inside the process of a gate's cell: steps and a fixed computation in turns, on one thread.

Stands in the place of `ablations.harness.worker` in the server of a side.
"""

from collections.abc import Mapping

import torch

from ablations.gate.cells import READY
from ablations.gate.strays import refuse_strays
from ablations.harness import worker
from ablations.harness.cell import Cell, Mode, TimeStep
from ablations.harness.measure.time import timed, without_collections
from ablations.harness.measurement import Measurement, PacedTimes
from ablations.harness.request import Outcome, Request
from ablations.harness.steps import build_trial

WARM_UP_STEPS = 3
STRETCHES: Mapping[Mode, int] = {
    "forward": 2,
    "forward_recorded": 2,
    "backward": 4,
    "forward_backward": 4,
    "training_step": 5,
    "decode": 1,
}
"""How often the fixed computation is done between two steps: a third to half as long as a step of the gate's cells."""
CPU = torch.device("cpu")

warm_up_for = worker.warm_up_for


def attempt(request: Request) -> Outcome:
    """Pace the cell; whatever goes wrong is told as it is of any other."""
    return worker.attempt_by(_measure, request)


def _measure(request: Request) -> Measurement:
    cell = request.cell
    if cell.experiment == READY:
        return PacedTimes(step_seconds=(1.0,), reference_seconds=(1.0, 1.0))
    torch.set_num_threads(1)
    assert isinstance(cell.workload, TimeStep), "a gate times steps"
    measured = paced(cell, cell.workload)
    refuse_strays()
    return measured


def paced(cell: Cell, workload: TimeStep) -> PacedTimes:
    """Processor seconds of steps once warm, each between two stretches of the fixed computation.

    Raises:
        RuntimeError: What was timed did not work; see `Step.check_since`.
    """
    step, stretch = build_trial(cell).step(workload.mode), Stretch(STRETCHES[workload.mode])
    earlier = step.checked()
    steps: list[float] = []
    with without_collections():
        for _ in range(WARM_UP_STEPS):
            stretch.seconds()
            step.before()
            step()
        references = [stretch.seconds()]
        while len(steps) < workload.min_samples or sum(steps) + stretch.times * sum(references) < workload.seconds:
            step.before()
            steps.append(timed(step, CPU).cpu)
            references.append(stretch.seconds())
    step.check_since(earlier)
    return PacedTimes(step_seconds=tuple(steps), reference_seconds=tuple(references))


class Stretch:
    """A fixed computation some times over: products, exponentials, a sort, rows by index, as attention is made of.

    Args:
        times: How often it is done; a step is compared with what lies beside it, and the more of that, the better it
            tells how fast the machine is at the moment.
    """

    def __init__(self, times: int) -> None:
        self.times = times
        generator = torch.Generator().manual_seed(0)
        self._matrix = torch.randn(192, 192, generator=generator)
        self._rows = torch.randn(4096, 64, generator=generator)
        self._keys = torch.randint(0, 256, (4096,), generator=generator)

    def seconds(self) -> float:
        """Processor time of one of them, mean over all that are done now."""
        return timed(self._all, CPU).cpu / self.times

    def _all(self) -> None:
        for _ in range(self.times):
            self._once()

    def _once(self) -> None:
        product = self._matrix
        for _ in range(8):
            product = (product @ self._matrix).softmax(dim=-1)
        order = self._keys.sort(stable=True).indices
        (self._rows[order] * self._rows).sum(dim=-1).exp_()
