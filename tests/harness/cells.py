"""Cells and records for tests of the harness."""

from typing import Any

from ablations.harness.cell import Cell, TimeStep
from ablations.harness.environment import describe
from ablations.harness.measurement import StepTimes
from ablations.harness.record import Environment, Record
from ablations.harness.training import Learn, Recipe
from reformer.config import CONTROLS, VARIANTS, ReformerConfig

SIZES: dict[str, Any] = {"vocab_size": 256, "d_model": 8, "n_heads": 2, "d_head": 4, "d_ff": 12, "n_layers": 1}


def config(variant: str = "dense", *, length: int = 16, **changes: Any) -> ReformerConfig:  # noqa: ANN401
    chosen = {**VARIANTS, **CONTROLS}[variant]
    return ReformerConfig(
        **{
            **SIZES,
            "max_len": length,
            "attention": chosen.attention,
            "residual": chosen.residual,
            **changes,
        }
    )


def cell(variant: str = "dense", *, length: int = 16, seed: int = 0, **changes: Any) -> Cell:  # noqa: ANN401
    values: dict[str, Any] = {
        "experiment": "trial",
        "config": config(variant, length=length),
        "workload": TimeStep(mode="forward", seconds=0.01),
        "batch": 1,
        "length": length,
        "device": "cpu",
        "seed": seed,
    }
    return Cell(**{**values, **changes})


def learning_cell(variant: str, *, steps: int = 4, seed: int = 0) -> Cell:
    recipe = Recipe(steps=steps, learning_rate=1e-2, warmup_steps=2)
    workload = Learn(recipe=recipe, evaluate_every=2, evaluation_windows=3)
    return cell(variant, length=24, workload=workload, batch=2, seed=seed)


def record(of: Cell, environment: Environment, **changes: Any) -> Record:  # noqa: ANN401
    times = StepTimes(
        wall_seconds=(0.1, 0.2),
        cpu_seconds=(0.1, 0.2),
        device_seconds=None,
        warm_up_seconds=(0.3,),
        steady=True,
        tokens_per_step=16,
        threads=1,
        cores=2,
        others_seconds=0.001,
        others_missing=None,
        host_seconds=None,
        energy=None,
        energy_missing="no GPU in use",
    )
    values: dict[str, Any] = {
        "cell_id": of.id,
        "cell": of,
        "status": "ok",
        "reason": None,
        "measurement": times,
        "environment": environment,
        "device_state": None,
        "device_state_missing": "no GPU in use",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 0.5,
        "worker_seconds": 0.4,
    }
    return Record(**{**values, **changes})


def here() -> Environment:
    return describe("cpu")
