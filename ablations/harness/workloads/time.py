"""Time per step of a cell."""

from statistics import median

import torch

from ablations.harness.cell import Cell, TimeStep
from ablations.harness.environment import cores
from ablations.harness.estimate import LEAST_SECONDS_FOR_ENERGY
from ablations.harness.measure.energy import measure_energy
from ablations.harness.measure.time import Samples, by_host, sample_steps
from ablations.harness.measurement import Energy, StepTimes
from ablations.harness.steps import build_trial
from ablations.harness.trial import Step


def measure_time(cell: Cell, workload: TimeStep) -> StepTimes:
    """Samples of the cell's steps, once they have settled.

    Raises:
        RuntimeError: What was timed did not work; see `Step.check_since`.
    """
    trial = build_trial(cell)
    step = trial.step(workload.mode)
    earlier = step.checked()
    samples = sample_steps(
        step, before=step.before, device=trial.device, min_samples=workload.min_samples, seconds=workload.seconds
    )
    on_gpu = trial.device.type == "cuda"
    host_seconds = by_host(step, before=step.before, device=trial.device) if on_gpu else None
    energy, energy_missing = _energy(workload, step, samples, trial.device)
    step.check_since(earlier)
    return StepTimes(
        wall_seconds=tuple(sample.wall for sample in samples.timed),
        cpu_seconds=tuple(sample.cpu for sample in samples.timed),
        device_seconds=tuple(sample.device for sample in samples.timed if sample.device is not None) or None,
        warm_up_seconds=samples.warm_up,
        steady=samples.steady,
        tokens_per_step=step.n_tokens,
        threads=torch.get_num_threads(),
        cores=cores(),
        others_seconds=samples.others_seconds,
        others_missing=samples.others_missing,
        host_seconds=host_seconds,
        energy=energy,
        energy_missing=energy_missing,
    )


def _energy(workload: TimeStep, step: Step, samples: Samples, device: torch.device) -> tuple[Energy | None, str | None]:
    if device.type == "cuda" and workload.seconds < LEAST_SECONDS_FOR_ENERGY:
        return None, f"asked for with seconds of {LEAST_SECONDS_FOR_ENERGY:g} or more only: it takes two more"
    if device.type == "cuda" and step.work_before is not None:
        return None, step.work_before
    step_seconds = median(sample.wall for sample in samples.timed)
    return measure_energy(step, before=step.before, device=device, step_seconds=step_seconds)
