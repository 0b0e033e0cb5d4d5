"""Time per step of a cell."""

import torch

from ablations.harness.cell import Cell, TimeStep
from ablations.harness.environment import cores
from ablations.harness.measure.time import sample_steps
from ablations.harness.measurement import StepTimes
from ablations.harness.steps import build_trial


def measure_time(cell: Cell, workload: TimeStep) -> StepTimes:
    """Samples of the cell's steps, once they have settled."""
    trial = build_trial(cell)
    samples = sample_steps(
        trial.step(workload.mode),
        before=trial.clear_gradients,
        device=trial.device,
        min_samples=workload.min_samples,
        seconds=workload.seconds,
    )
    trial.check()
    device = tuple(sample.device for sample in samples.timed if sample.device is not None)
    return StepTimes(
        wall_seconds=tuple(sample.wall for sample in samples.timed),
        cpu_seconds=tuple(sample.cpu for sample in samples.timed),
        device_seconds=device or None,
        warm_up_seconds=samples.warm_up,
        steady=samples.steady,
        tokens_per_step=trial.n_tokens,
        threads=torch.get_num_threads(),
        cores=cores(),
        others_seconds=None,
        others_missing="not measured yet",
        host_seconds=None,
        energy=None,
        energy_missing="not measured yet",
    )
