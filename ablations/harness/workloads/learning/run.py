"""Training on real text, and the held-out bits per byte along the way."""

import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablations.data.enwik8 import Split, read_split
from ablations.harness.cell import Cell, Learn
from ablations.harness.implementations.ours import build_model
from ablations.harness.measurement import Evaluation, LearningCurve, TrainingPoint
from reformer.model import ReformerLM
from reformer.randomness import derived_seed

CLIP_NORM = 1.0
LAST_RATE = 0.1
"""Fraction of the learning rate left at the last step."""


def learn(cell: Cell, workload: Learn, data: Path) -> LearningCurve:
    """Train the cell's model and evaluate it on the validation part.

    Every variant of one seed starts from the same weights and sees the same windows in the same order.
    """
    split = read_split(data)
    model = build_model(cell)
    optimiser = torch.optim.Adam(model.parameters(), lr=workload.learning_rate, betas=(0.9, 0.98), eps=1e-9)
    windows = np.random.default_rng(derived_seed(cell.seed, "windows"))
    points: list[TrainingPoint] = []
    evaluations: list[Evaluation] = []
    seconds = 0.0
    for step in range(1, workload.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = workload.learning_rate * _rate(step, workload)
        started = time.perf_counter()
        bits = _train(model, optimiser, _random_windows(split.train, windows, cell), derived_seed(cell.seed, step))
        seconds += time.perf_counter() - started
        if not math.isfinite(bits):
            raise FloatingPointError(f"training diverged: the loss of step {step} is {bits}")
        points.append(TrainingPoint(step=step, seconds=seconds, bits_per_byte=bits))
        if step % workload.evaluate_every == 0 or step == workload.steps:
            evaluations.append(_evaluate(model, split, cell, workload, step, seconds))
    return LearningCurve(
        points=tuple(points),
        evaluations=tuple(evaluations),
        tokens_per_step=cell.batch * cell.length,
        split=split.description,
    )


def _rate(step: int, workload: Learn) -> float:
    """Linear warm-up to 1, then linear decay to `LAST_RATE`."""
    if step <= workload.warmup_steps:
        return step / workload.warmup_steps
    left = (workload.steps - step) / max(1, workload.steps - workload.warmup_steps)
    return LAST_RATE + (1 - LAST_RATE) * left


def _train(model: ReformerLM, optimiser: torch.optim.Optimizer, window_BL: Tensor, seed: int) -> float:
    model.train()
    loss = model.loss(window_BL[:, :-1], window_BL[:, 1:], seed=seed)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimiser.step()
    return float(loss.detach()) / math.log(2)


def _random_windows(text: NDArray[np.uint8], windows: np.random.Generator, cell: Cell) -> Tensor:
    starts = windows.integers(0, len(text) - cell.length, size=cell.batch)
    return _windows(text, starts, cell)


def _windows(text: NDArray[np.uint8], starts: NDArray[np.int64], cell: Cell) -> Tensor:
    rows = np.stack([text[start : start + cell.length + 1] for start in starts])
    return torch.from_numpy(rows.astype(np.int64)).to(cell.device)


@torch.no_grad()
def _evaluate(model: ReformerLM, split: Split, cell: Cell, workload: Learn, step: int, seconds: float) -> Evaluation:
    """Bits per byte on windows spread evenly over the validation part, hashed alike at every evaluation."""
    model.eval()
    starts = np.linspace(0, len(split.validation) - cell.length - 1, workload.evaluation_windows).astype(np.int64)
    nats = 0.0
    for first in range(0, len(starts), cell.batch):
        window_BL = _windows(split.validation, starts[first : first + cell.batch], cell)
        loss = model.loss(window_BL[:, :-1], window_BL[:, 1:], seed=derived_seed(cell.seed, "evaluation", first))
        nats += float(loss) * len(window_BL)
    bits = nats / len(starts) / math.log(2)
    return Evaluation(step=step, seconds=seconds, bits_per_byte=bits, n_bytes=len(starts) * cell.length)
