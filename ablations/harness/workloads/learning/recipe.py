"""One optimiser step by a recipe."""

import math
from typing import assert_never

import torch
from torch.nn import Parameter

from ablations.harness.training import Recipe
from ablations.harness.workloads.learning.batches import Batch, Model

LAST_RATE = 0.1
"""Fraction of the learning rate left at the last step of a linear decay."""


def rate(step: int, recipe: Recipe) -> float:
    """Share of the learning rate that a step is taken with, counted from 1."""
    if step <= recipe.warmup_steps:
        return step / recipe.warmup_steps
    match recipe.schedule:
        case "constant":
            return 1.0
        case "inverse_root":
            return math.sqrt(recipe.warmup_steps / step)
        case "linear_decay":
            left = (recipe.steps - step) / max(1, recipe.steps - recipe.warmup_steps)
            return LAST_RATE + (1 - LAST_RATE) * left
        case _:
            assert_never(recipe.schedule)


def build_optimiser(model: Model, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of all parameters."""
    parameters: list[Parameter] = list(model.parameters())
    match recipe.optimiser:
        case "adam":
            return torch.optim.Adam(parameters, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-9)
        case "adafactor":
            return torch.optim.Adafactor(parameters, lr=recipe.learning_rate)
        case _:
            assert_never(recipe.optimiser)


def take_step(
    model: Model, optimiser: torch.optim.Optimizer, batch: Batch, recipe: Recipe, *, step: int, seed: int
) -> float:
    """Train on one batch; the loss before the step in bits per token."""
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * rate(step, recipe)
    model.train()
    with torch.autocast(batch.target_BL.device.type, torch.bfloat16, enabled=recipe.autocast is not None):
        loss = batch.loss(model, seed=seed)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    optimiser.step()
    return float(loss.detach()) / math.log(2)
