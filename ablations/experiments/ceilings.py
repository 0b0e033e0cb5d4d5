"""What can this machine do at most: how fast does it multiply large matrices, and how fast does it copy?

Part of every run, before everything else of a round: the report sets times against the floors that follow from them,
and a time that would need more than the machine can do becomes an error. Cost: seconds.

Taken anew in each round, and the best of all counts: a machine that something else slows down shows less than it can.
"""

from collections.abc import Mapping
from typing import Any

from ablations.harness.cell import Ceiling
from ablations.harness.experiment import Experiment, Grid, Profile, Scale

NAME = "ceilings"
NOTHING_OF_IT: Mapping[str, Any] = {"vocab_size": 256, "d_model": 64, "n_heads": 1, "d_head": 64, "d_ff": 64}
"""A cell has a model, of which its ceilings are none."""

ONCE = (0,)
ROUNDS = (0, 1, 2)
CPU = (Ceiling(widths=(1024, 2048), copy_bytes=2**28), ROUNDS)
GPU = (Ceiling(widths=(4096, 8192), copy_bytes=2**31, repeats=20), ROUNDS)
SIZES: Mapping[Profile, tuple[Ceiling, tuple[int, ...]]] = {
    "smoke": (Ceiling(widths=(512,), copy_bytes=2**24, repeats=4), ONCE),
    "cpu": CPU,
    "gpu": GPU,
    "paper-cpu": CPU,
    "paper": GPU,
}
"""What is multiplied and copied, and in which rounds."""


def in_types(dtypes: tuple[str, ...]) -> Experiment:
    """The ceilings in each of these types of number."""
    return Experiment(
        name=NAME,
        title="Ceilings",
        question="What can this machine do at most?",
        scales={profile: _scale(workload, seeds, dtypes) for profile, (workload, seeds) in SIZES.items()},
    )


def _scale(workload: Ceiling, seeds: tuple[int, ...], dtypes: tuple[str, ...]) -> Scale:
    one: dict[str, tuple[int | str, ...]] = {"batch": (1,), "n_layers": (1,), "length": (64,), "variant": ("dense",)}
    axes = one | {"seed": seeds, "dtype": dtypes}
    return Scale(model=dict(NOTHING_OF_IT), grids=(Grid(workloads=(workload,), axes=axes, scope="machine"),))
