"""Estimates are rough, but they point the right way."""

import pytest

from ablations.harness.cell import PeakMemory, TimeStep
from ablations.harness.estimate import estimate
from ablations.harness.experiment import Experiment
from ablations.suite import EXPERIMENTS
from reformer.config import CONTROLS, VARIANTS
from tests.harness.cells import cell, config, learning_cell

STEP = TimeStep(mode="forward_backward", seconds=0.001)


def seconds(variant: str, length: int, n_layers: int = 2) -> float:
    return estimate(
        cell(variant, length=length, config=config(variant, length=length, n_layers=n_layers), workload=STEP)
    ).seconds


def peak(variant: str, length: int, n_layers: int) -> float:
    large = config(variant, length=length, n_layers=n_layers)
    return estimate(cell(variant, length=length, config=large, workload=PeakMemory(mode="forward_backward"))).peak_bytes


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_every_cell_of_every_profile_has_an_estimate(experiment: Experiment) -> None:
    for profile in experiment.scales:
        for one in experiment.cells(profile, "cuda" if profile in ("gpu", "paper") else "cpu"):
            assert estimate(one).seconds > 0
            assert estimate(one).peak_bytes > 0


def test_dense_attention_is_expected_to_grow_with_the_square_and_lsh_attention_is_not() -> None:
    dense = seconds("dense", 2**18) / seconds("dense", 2**16)
    lsh = seconds("lsh_only", 2**18) / seconds("lsh_only", 2**16)
    assert dense > 12
    assert lsh < 6


@pytest.mark.parametrize("variant", [*VARIANTS, *CONTROLS])
def test_memory_is_expected_to_grow_with_depth_unless_layers_are_reversible(variant: str) -> None:
    growth = peak(variant, 4096, 8) / peak(variant, 4096, 2)
    reversible = {**VARIANTS, **CONTROLS}[variant].residual == "reversible"
    # A reversible layer keeps its buckets, if it has any.
    assert 1 <= growth < 1.2 if reversible else growth > 1


def test_a_longer_training_is_expected_to_take_longer() -> None:
    assert estimate(learning_cell("dense", steps=400)).seconds > 2 * estimate(learning_cell("dense", steps=100)).seconds
