"""A training run on disk: its curve as it comes about, and what it takes to go on after an interruption."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from ablations.harness.measurement import Evaluation, TrainingPoint
from ablations.harness.training_files import TrainingFiles
from ablations.harness.workloads.learning.batches import Model


@dataclass
class Progress:
    """How far a run has come."""

    points: list[TrainingPoint] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    resumed_after: list[int] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The last one taken."""
        return self.points[-1].step if self.points else 0

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self.points[-1].seconds if self.points else 0.0


class Diary:
    """Writes a run down, if there is a folder for it.

    Args:
        files: Where; `None` writes nothing.
    """

    def __init__(self, files: TrainingFiles | None) -> None:
        self._files = files
        self._stream: IO[str] | None = None
        self._saved_at = 0.0

    def resume(self, model: Model, optimiser: torch.optim.Optimizer) -> Progress:
        """Put both into the state of the last checkpoint, if there is one that this code with these packages wrote."""
        saved = self._saved()
        if saved is None:
            return Progress()
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        progress = Progress(
            [TrainingPoint.model_validate(one) for one in saved["points"]],
            [Evaluation.model_validate(one) for one in saved["evaluations"]],
            list(saved["resumed_after"]),
        )
        progress.resumed_after.append(progress.step)
        self._saved_at = progress.seconds
        return progress

    def _saved(self) -> dict[str, Any] | None:
        if self._files is None or self._files.made_by is None or not Path(self._files.checkpoint_path).exists():
            return None
        saved: dict[str, Any] = torch.load(self._files.checkpoint_path, map_location="cpu", weights_only=True)
        return saved if saved["made_by"] == self._files.made_by else None

    @contextmanager
    def open(self, progress: Progress) -> Iterator[None]:
        """Stream the curve meanwhile, from what is there already on."""
        if self._files is None:
            yield
            return
        curve = Path(self._files.curve_path)
        curve.parent.mkdir(parents=True, exist_ok=True)
        with curve.open("w") as self._stream:
            for point in progress.points:
                self.note(point)
            for evaluation in progress.evaluations:
                self.note(evaluation)
            yield

    def note(self, one: TrainingPoint | Evaluation) -> None:
        """Add a line to the curve, for whoever looks on."""
        if self._stream is not None:
            self._stream.write(one.model_dump_json() + "\n")
            self._stream.flush()

    def save_now_and_then(self, progress: Progress, model: Model, optimiser: torch.optim.Optimizer) -> None:
        """Write a checkpoint if the last one is long enough ago."""
        if self._files is None or self._files.made_by is None:
            return
        if progress.seconds - self._saved_at >= self._files.every_seconds:
            self._save(Path(self._files.checkpoint_path), self._files.made_by, progress, model, optimiser)
            self._saved_at = progress.seconds

    def _save(
        self, checkpoint: Path, made_by: str, progress: Progress, model: Model, optimiser: torch.optim.Optimizer
    ) -> None:
        """Replace the checkpoint: a reader finds the old one or the new, never half."""
        draft = checkpoint.with_suffix(".new")
        content = {
            "made_by": made_by,
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "points": [one.model_dump() for one in progress.points],
            "evaluations": [one.model_dump() for one in progress.evaluations],
            "resumed_after": progress.resumed_after,
        }
        with draft.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(checkpoint)
