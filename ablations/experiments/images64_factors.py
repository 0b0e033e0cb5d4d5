"""Do shared queries and keys, or reversible layers, cost quality? On pictures, one switch at a time.

Run alone: `python run_all.py --profile paper-cpu --only images64_factors`. Cost on two cores: about three minutes. As
`enwik8_factors`, on photographs of 64 x 64 pixels in raster order with the paper's axial positions (64, 64, 3); a small
machine reads but the first rows of each. What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.experiments.learning import LARGE, SMALL, TINY, Values, steady, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Images64, Learn

AXES = (64, 64, 3)
"""Rows, columns and colours."""

PAIRS: Values = ("dense", "dense_separate_qk", "transformer", "reversible_separate_qk")


def with_picture_positions(model: dict[str, Any], dims: tuple[int, int, int]) -> dict[str, Any]:
    """The model with one table of positions for each axis of a picture."""
    return {**model, "positions": {"kind": "axial", "shape": AXES, "dims": dims}}


TINY_PICTURES = with_picture_positions(TINY, (12, 12, 8))
SMALL_PICTURES = with_picture_positions(SMALL, (36, 36, 24))
LARGE_PICTURES = with_picture_positions(LARGE, (384, 384, 256))
"""The widths of the authors' configuration."""


def learn_pictures(steps: int, learning_rate: float, windows: int, **changes: Any) -> Learn:  # noqa: ANN401
    """Training on pictures; `changes` are further fields of the workload."""
    return Learn(
        task=Images64(),
        recipe=steady(steps, learning_rate, **changes.pop("recipe", {})),
        evaluate_every=max(1, steps // 5),
        evaluation_windows=windows,
        **changes,
    )


def _scale(model: dict[str, Any], workload: Learn, *, batch: int, length: int, n_layers: int, seeds: Values) -> Scale:
    grid = training_grid(PAIRS, workload, seeds=seeds, batch=batch, length=length, n_layers=(n_layers,))
    return Scale(model=model, grids=(grid,))


EXPERIMENT = Experiment(
    name="images64_factors",
    title="Shared queries and keys, and reversible layers, on pictures",
    question="After the same steps on the same pictures, how many bits per dimension does each switch cost?",
    scales={
        "smoke": _scale(TINY_PICTURES, learn_pictures(4, 1e-2, 4), batch=2, length=192, n_layers=2, seeds=(0,)),
        "paper-cpu": _scale(
            SMALL_PICTURES, learn_pictures(150, 3e-3, 64), batch=4, length=384, n_layers=2, seeds=(0, 1, 2)
        ),
        "paper": _scale(
            LARGE_PICTURES,
            learn_pictures(1000, 3e-4, 64, recipe={"autocast": "bfloat16"}),
            batch=2,
            length=3072,
            n_layers=3,
            seeds=(0, 1, 2),
        ),
    },
)
