"""A hundred comparisons of a real cell with itself, and a hundred with 15 % more of the same work.

Ten of each are run for real, each over eight rounds of fresh processes; the other ninety resample what those recorded:
rounds are drawn, and the samples within both sides of each one drawn.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from ablations.harness.cell import Cell, TimeStep
from ablations.harness.measurement import StepTimes
from ablations.harness.runner import Runner
from ablations.report.verdict import Verdict, verdict
from tests.harness.cells import cell, config, here

REAL, COMPARISONS, ROUNDS = 10, 100, 8
LAYERS, SLOWER_LAYERS = 20, 23
"""15 % more layers: the slowdown is work of the same kind, which takes real time. What is not in layers dilutes it."""

Samples = tuple[float, ...]
Round = tuple[Samples, Samples]


def planned(*, n_layers: int, seed: int) -> Cell:
    sizes: dict[str, Any] = {"d_model": 64, "n_heads": 2, "d_head": 32, "d_ff": 128, "n_layers": n_layers}
    workload = TimeStep(mode="forward", min_samples=15, seconds=0.15)
    return cell(length=192, config=config(length=192, **sizes), workload=workload, seed=seed)


def measured(runner: Runner, n_layers: int, seed: int) -> Samples:
    """Processor seconds of each step: what a neighbour takes of the machine is less in them than in the wall clock."""
    record = runner.run(planned(n_layers=n_layers, seed=seed), timeout_seconds=60)
    assert isinstance(record.measurement, StepTimes), record.reason
    return record.measurement.cpu_seconds


def rounds_of(runner: Runner) -> Iterator[tuple[Round, Round]]:
    """The cell twice and the slower one, in turns, every other round reversed: the pairs that are alike and not."""
    for seed in range(ROUNDS):
        order = (0, 1, 2) if seed % 2 == 0 else (2, 1, 0)
        taken = {side: measured(runner, (LAYERS, LAYERS, SLOWER_LAYERS)[side], seed) for side in order}
        yield (taken[1], taken[0]), (taken[2], taken[0])


def resampled(rounds: Sequence[Round], generator: np.random.Generator) -> Verdict:
    drawn = [rounds[index] for index in generator.integers(len(rounds), size=ROUNDS)]
    return verdict([(list(generator.choice(a, len(a))), list(generator.choice(b, len(b)))) for a, b in drawn])


def judged(name: str, comparisons: Sequence[Sequence[Round]], answers: tuple[str, ...]) -> int:
    """How many of a hundred comparisons have one of these answers, printed with their origin."""
    generator = np.random.default_rng(41)
    real = [verdict(rounds) for rounds in comparisons]
    recorded = [one for rounds in comparisons for one in rounds]
    drawn = [resampled(recorded, generator) for _ in range(COMPARISONS - len(real))]
    hits, more = (sum(one.answer in answers for one in verdicts) for verdicts in (real, drawn))
    ratios = ", ".join(f"{one.ratio.value:.3f}" for one in real)
    print(
        f"{name}: {hits} of {len(real)} comparisons run for real (median ratios {ratios}), and {more} of {len(drawn)} "
        f"that resample their {len(recorded)} recorded rounds, are {' or '.join(answers)}"
    )
    return hits + more


@pytest.mark.quiet
@pytest.mark.timeout(1200)
def test_the_same_raises_no_alarm_and_what_is_slower_is_found() -> None:
    with Runner(here()) as runner:
        measured(runner, LAYERS, 0)
        pairs = [list(rounds_of(runner)) for _ in range(REAL)]
    alarms = judged("same cell twice", [[same for same, _ in rounds] for rounds in pairs], ("slower", "faster"))
    found = judged("15 % more layers", [[slower for _, slower in rounds] for rounds in pairs], ("slower",))
    assert alarms <= 1
    assert found >= 95
