"""Long texts of bytes: windows drawn anywhere in the training part, and spread evenly over the validation part."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ablations.data.enwik8 import Split
from ablations.harness.cell import Cell
from ablations.harness.workloads.learning.batches import Batch
from reformer.randomness import derived_seed


@dataclass(frozen=True)
class Text:
    """Windows of a text, `cell.length` bytes each and the one that follows."""

    split: Split
    cell: Cell

    @property
    def description(self) -> str:
        """Of the split."""
        return self.split.description

    @property
    def asks_for_accuracy(self) -> bool:
        """No: bits per byte say more."""
        return False

    def training(self, step: int) -> Batch:
        """Windows drawn for this step."""
        draw = np.random.default_rng(derived_seed(self.cell.seed, "windows", step))
        starts = draw.integers(0, len(self.split.train) - self.cell.length, size=self.cell.batch)
        return self._windows(self.split.train, starts)

    def held_out(self, windows: int) -> Iterator[Batch]:
        """Windows at even distances."""
        text = self.split.validation
        starts = np.linspace(0, len(text) - self.cell.length - 1, windows).astype(np.int64)
        for first in range(0, windows, self.cell.batch):
            yield self._windows(text, starts[first : first + self.cell.batch])

    def _windows(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> Batch:
        rows = np.stack([text[start : start + self.cell.length + 1] for start in starts])
        window_BL = torch.from_numpy(rows.astype(np.int64))
        return Batch((window_BL[:, :-1],), window_BL[:, 1:])
