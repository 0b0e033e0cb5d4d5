"""Kernels of a cell's steps on a GPU."""

from ablations.harness.cell import Cell, KernelTimes
from ablations.harness.errors import UnsupportedError
from ablations.harness.measure.kernels import kernel_seconds
from ablations.harness.measurement import KernelSeconds
from ablations.harness.steps import build_trial


def measure_kernels(cell: Cell, workload: KernelTimes) -> KernelSeconds:
    """Every kernel that ran, with its time."""
    if cell.device == "cpu":
        raise UnsupportedError("kernels are told apart on a GPU only")
    trial = build_trial(cell)
    step = trial.step(workload.mode)
    if step.work_before is not None:
        raise UnsupportedError(step.work_before)
    return kernel_seconds(step, before=step.before, steps=workload.steps)
