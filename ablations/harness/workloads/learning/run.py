"""A training run from its first step to the last question."""

import math
import time
from pathlib import Path

import torch

from ablations.harness.cell import Cell
from ablations.harness.measure.memory import peak_cuda_bytes, peak_tensor_bytes
from ablations.harness.measurement import Evaluation, LearningCurve, TrainingPoint
from ablations.harness.training import Learn
from ablations.harness.training_files import TrainingFiles
from ablations.harness.workloads.learning.attention import attention_seen
from ablations.harness.workloads.learning.batches import Material, Model
from ablations.harness.workloads.learning.checkpoint import Diary, Progress
from ablations.harness.workloads.learning.evaluation import score, under_conditions
from ablations.harness.workloads.learning.patterns import attention_patterns
from ablations.harness.workloads.learning.recipe import build_optimiser, take_step
from ablations.harness.workloads.learning.tasks import build_learner, build_material
from ablations.harness.workloads.learning.translation import translations
from reformer.randomness import derived_seed


def learn(cell: Cell, workload: Learn, data: Path | None, files: TrainingFiles | None = None) -> LearningCurve:
    """Train the cell's model, evaluate it along the way, and ask it in the end what the workload asks.

    Every variant of one seed starts from the same weights and sees the same batches in the same order. A run that was
    interrupted goes on from its checkpoint, and on a CPU computes the very bits that it would have computed.

    Args:
        cell: What.
        workload: Of the cell.
        data: The task's data set; `None` where it has none.
        files: For checkpoint and curve; without it an interrupted run begins again.

    Raises:
        FloatingPointError: The loss is not finite.
    """
    material, model = build_material(cell, workload.task, data), build_learner(cell, workload.task)
    optimiser = build_optimiser(model, workload.recipe)
    run = _Run(cell, workload, material, model, optimiser)
    diary = Diary(files)
    progress = diary.resume(model, optimiser)
    with diary.open(progress):
        stopped = run.train(progress, diary)
    return LearningCurve(
        points=tuple(progress.points),
        evaluations=tuple(progress.evaluations),
        tokens_per_step=material.training(progress.step).n_tokens,
        split=material.description,
        conditions=under_conditions(model, material, workload, cell),
        attention=attention_seen(model, material, workload, cell),
        patterns=attention_patterns(model, material, workload, cell),
        translations=translations(model, material, workload, cell),
        # The last: it takes one more step.
        peak_bytes=run.peak_bytes(progress.step + 1),
        peak_missing=None,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        resumed_after=tuple(progress.resumed_after),
        stopped=stopped,
    )


class _Run:
    """What takes the steps of a run."""

    def __init__(
        self, cell: Cell, workload: Learn, material: Material, model: Model, optimiser: torch.optim.Optimizer
    ) -> None:
        self._cell, self._workload, self._material = cell, workload, material
        self._model, self._optimiser = model, optimiser

    def train(self, progress: Progress, diary: Diary) -> str | None:
        """Take all steps that are left; the rule that ended it early, if one did."""
        recipe, every = self._workload.recipe, self._workload.evaluate_every
        for step in range(progress.step + 1, recipe.steps + 1):
            progress.points.append(self._step(step, progress.seconds))
            diary.note(progress.points[-1])
            if step % every == 0 or step == recipe.steps:
                progress.evaluations.append(self._evaluate(step, progress.seconds))
                diary.note(progress.evaluations[-1])
                if self._is_enough(progress.evaluations[-1]):
                    return f"accuracy of at least {recipe.stop_at_accuracy:g} at an evaluation, after step {step}"
            diary.save_now_and_then(progress, self._model, self._optimiser)
        return None

    def _step(self, step: int, seconds: float) -> TrainingPoint:
        started = time.perf_counter()
        bits = self._take(step)
        seconds += time.perf_counter() - started
        if not math.isfinite(bits):
            raise FloatingPointError(f"training diverged: the loss of step {step} is {bits}")
        return TrainingPoint(step=step, seconds=seconds, bits_per_token=bits)

    def _take(self, step: int) -> float:
        batch = self._material.training(step).to(self._cell.device)
        seed = derived_seed(self._cell.seed, step)
        return take_step(self._model, self._optimiser, batch, self._workload.recipe, step=step, seed=seed)

    def _evaluate(self, step: int, seconds: float) -> Evaluation:
        found = score(
            self._model,
            self._material.held_out(self._workload.evaluation_windows),
            self._workload,
            self._cell,
            accuracy=self._material.asks_for_accuracy,
        )
        return Evaluation(step=step, seconds=seconds, **found._asdict())

    def _is_enough(self, evaluation: Evaluation) -> bool:
        wanted = self._workload.recipe.stop_at_accuracy
        return wanted is not None and evaluation.accuracy is not None and evaluation.accuracy >= wanted

    def peak_bytes(self, step: int) -> int:
        """Of one more step: what is there before it, and what rises above."""
        self._optimiser.zero_grad(set_to_none=True)
        state = (value for entry in self._optimiser.state.values() for value in entry.values())
        held = [*self._model.parameters(), *(value for value in state if isinstance(value, torch.Tensor))]

        def take() -> None:
            self._take(step)

        above = peak_cuda_bytes(take).allocated if self._cell.device == "cuda" else peak_tensor_bytes(take)
        return above + sum(tensor.nbytes for tensor in held)
