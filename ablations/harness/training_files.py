"""Files of training runs that are under way: their curves, to look on, and their checkpoints, to go on."""

import json
from pathlib import Path
from typing import Self

from ablations.harness.cell import OUTSIDE
from ablations.harness.record import Environment
from reformer.config import Frozen

CHECKPOINT_SECONDS = 30.0


class TrainingFiles(Frozen):
    """Where a run keeps what it needs to go on after an interruption.

    Attributes:
        curve_path: Of a JSON line for each step and each evaluation so far.
        checkpoint_path: Of the state that the run goes on from.
        made_by: Commit and packages, as text: what other code or packages began, these do not go on with. `None` if the
            code differs from its commit: then nothing is resumed, since nothing says what began it.
        every_seconds: Of training between two checkpoints: what an interruption costs at most.
    """

    curve_path: str
    checkpoint_path: str
    made_by: str | None
    every_seconds: float = CHECKPOINT_SECONDS

    @classmethod
    def of(
        cls, cell_id: str, folder: Path, environment: Environment, *, every_seconds: float = CHECKPOINT_SECONDS
    ) -> Self:
        """Of one cell in a machine's folder."""
        stem = folder.absolute() / "training" / cell_id
        known = environment.commit is not None and not environment.dirty
        # Those of contenders are no part of any training run.
        packages = {name: one for name, one in environment.packages.items() if not name.startswith(OUTSIDE)}
        made_by = json.dumps([environment.commit, packages], sort_keys=True) if known else None
        return cls(
            curve_path=f"{stem}.curve",
            checkpoint_path=f"{stem}.checkpoint",
            made_by=made_by,
            every_seconds=every_seconds,
        )


def forget(cell_id: str, folder: Path) -> None:
    """Remove the files of a run whose record is written."""
    for path in (folder / "training").glob(f"{cell_id}.*"):
        path.unlink(missing_ok=True)
