"""How well a model predicts what it was not trained on, as trained or otherwise."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch

from ablations.harness.cell import Cell
from ablations.harness.measurement import ConditionResult
from ablations.harness.training import Condition, Learn, config_under
from ablations.harness.workloads.learning.batches import Batch, Material, Model
from reformer.model import ReformerLM
from reformer.randomness import derived_seed


class Score(NamedTuple):
    """As in `Evaluation`."""

    bits_per_token: float
    n_tokens: int
    accuracy: float | None


@torch.no_grad()
def score(model: Model, batches: Iterable[Batch], workload: Learn, cell: Cell, *, accuracy: bool) -> Score:
    """Of all batches together, hashed alike at every evaluation."""
    model.eval()
    nats, counted, right = 0.0, 0, 0
    for number, batch in enumerate(batches):
        seed, here = derived_seed(cell.seed, "evaluation", number), batch.to(cell.device)
        with torch.autocast(cell.device, torch.bfloat16, enabled=workload.recipe.autocast is not None):
            nats += float(here.loss(model, seed=seed)) * here.n_counted
            right += here.n_right(model, seed=seed) if accuracy else 0
        counted += here.n_counted
    return Score(nats / counted / math.log(2), counted, right / counted if accuracy else None)


def under_conditions(model: Model, material: Material, workload: Learn, cell: Cell) -> tuple[ConditionResult, ...]:
    """The trained model under each condition of its workload."""
    return tuple(_under(condition, model, material, workload, cell) for condition in workload.conditions)


def _under(condition: Condition, model: Model, material: Material, workload: Learn, cell: Cell) -> ConditionResult:
    other = changed(model, condition)
    found = score(
        other,
        material.held_out(workload.evaluation_windows),
        workload,
        cell,
        accuracy=material.asks_for_accuracy,
    )
    return ConditionResult(condition=condition.name, **found._asdict())


@torch.no_grad()
def changed(model: Model, condition: Condition) -> ReformerLM:
    """A language model with the same weights under a condition."""
    assert isinstance(model, ReformerLM), "a cell's conditions are checked when it is made"
    weight = next(model.parameters())
    other = ReformerLM(config_under(condition, model.config), torch.Generator().manual_seed(0))
    other.to(device=weight.device, dtype=weight.dtype)
    other.load_state_dict(model.state_dict())
    for layer in condition.silenced:
        # The half's last map has no bias: without its matrix the half adds nothing.
        other.get_parameter(f"trunk.blocks.{layer}.attention.inner.output.weight").zero_()
    return other
