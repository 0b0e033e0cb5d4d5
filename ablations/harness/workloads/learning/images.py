"""Pictures as sequences of bytes, each predicted from those before it; a zero stands before the first, as in trax."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ablations.data.images64 import ImageSplit
from ablations.harness.cell import Cell
from ablations.harness.workloads.learning.batches import Batch
from reformer.randomness import derived_seed

ROW_BYTES = 64 * 3


@dataclass(frozen=True)
class Pictures:
    """The first `cell.length` bytes of each picture: all of it, or so many rows from the top."""

    split: ImageSplit
    cell: Cell

    @property
    def description(self) -> str:
        """Of the split, and how much of a picture is read."""
        return f"{self.split.description}; of each the first {self.cell.length / ROW_BYTES:g} rows of 64"

    @property
    def asks_for_accuracy(self) -> bool:
        """No: bits per dimension say more."""
        return False

    def training(self, step: int) -> Batch:
        """Pictures drawn for this step."""
        draw = np.random.default_rng(derived_seed(self.cell.seed, "pictures", step))
        return self._pictures(self.split.train, draw.integers(0, len(self.split.train), size=self.cell.batch))

    def held_out(self, windows: int) -> Iterator[Batch]:
        """Pictures at even distances."""
        chosen = np.linspace(0, len(self.split.validation) - 1, windows).astype(np.int64)
        for first in range(0, windows, self.cell.batch):
            yield self._pictures(self.split.validation, chosen[first : first + self.cell.batch])

    def _pictures(self, pictures: NDArray[np.uint8], chosen: NDArray[np.int64]) -> Batch:
        rows = np.stack([pictures[one, : self.cell.length] for one in chosen])
        target_BL = torch.from_numpy(rows.astype(np.int64))
        return Batch((F.pad(target_BL[:, :-1], (1, 0)),), target_BL)
