"""Step times agree with those of `torch.utils.benchmark`, taken of the same steps in turns with ours."""

import time
from statistics import fmean, median

import pytest
import torch
from torch.utils.benchmark import Timer

from ablations.harness.cell import Cell, TimeStep
from ablations.harness.measure.time import sample_steps
from ablations.harness.steps import build_trial
from ablations.harness.trial import Step
from reformer.config import VARIANTS, ReformerConfig

BLOCKS = 12
STEPS = 8
"""Of each block, by either."""
LENGTHS = {"dense": 512, "reversible_only": 448, "lsh_only": 448, "reformer": 384}
"""At which a step takes 20 to 60 ms on one core."""


def cell(variant: str) -> Cell:
    length, chosen = LENGTHS[variant], VARIANTS[variant]
    config = ReformerConfig(
        vocab_size=256,
        d_model=64,
        n_heads=2,
        d_head=32,
        d_ff=160,
        n_layers=2,
        max_len=length,
        attention=chosen.attention,
        residual=chosen.residual,
    )
    workload = TimeStep(mode="forward_backward")
    return Cell(experiment="trial", config=config, workload=workload, batch=1, length=length, device="cpu", seed=0)


def by_ours(step: Step) -> float:
    """Mean processor time of a step by the project's sampler; seconds."""
    samples = sample_steps(step, before=step.before, device=torch.device("cpu"), min_samples=STEPS, seconds=0.0)
    return fmean(sample.cpu for sample in samples.timed)


def by_pytorch(step: Step) -> float:
    """The same by PyTorch's timer, which clears gradients within: next to nothing, as nothing is computed."""
    names = {"before": step.before, "step": step}
    timer = Timer("before(); step()", globals=names, timer=time.process_time)
    return timer.timeit(STEPS).mean


@pytest.mark.quiet
def test_step_times_agree_with_those_of_torch_utils_benchmark_within_three_per_cent() -> None:
    # One thread, as PyTorch's timer has it: two that wait for each other take processor time for that.
    assert torch.get_num_threads() == 1
    ratios = {variant: ratio(variant) for variant in VARIANTS}
    for variant, found in ratios.items():
        print(f"{variant}: {found:.4f} of torch.utils.benchmark's")
    assert all(abs(found - 1) <= 0.03 for found in ratios.values()), ratios


def ratio(variant: str) -> float:
    """Median over blocks of ours over theirs; the two take turns in which one begins."""
    step = build_trial(cell(variant)).step("forward_backward")
    by_ours(step)
    found = []
    for block in range(BLOCKS):
        if block % 2:
            theirs, ours = by_pytorch(step), by_ours(step)
        else:
            ours, theirs = by_ours(step), by_pytorch(step)
        found.append(ours / theirs)
    return median(found)
