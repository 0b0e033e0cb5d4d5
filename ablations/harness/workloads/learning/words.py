"""The duplication task: random words written twice, of which the second writing counts (paper, Table 2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ablations.data import duplication
from ablations.harness.cell import Cell
from ablations.harness.training import Duplication
from ablations.harness.workloads.learning.batches import Batch
from reformer.randomness import derived_seed


@dataclass(frozen=True)
class Words:
    """Sequences 0w0w of `cell.length` tokens, drawn anew for every step."""

    task: Duplication
    cell: Cell

    @property
    def description(self) -> str:
        """What is drawn."""
        stages = "".join(f", of {length} until step {until}" for until, length in self.task.shorter)
        return (
            f"0w0w of {self.cell.length} tokens{stages}, w of {self.task.n_symbols} symbols, drawn anew for each "
            "step and from another seed for evaluation; the second w counts"
        )

    @property
    def asks_for_accuracy(self) -> bool:
        """Yes, as the paper's table does."""
        return True

    def training(self, step: int) -> Batch:
        """Words drawn for this step."""
        return self._drawn(derived_seed(self.cell.seed, "words", step), self._length(step), self.cell.batch)

    def held_out(self, windows: int) -> Iterator[Batch]:
        """Words that depend on no seed of a cell."""
        for first in range(0, windows, self.cell.batch):
            yield self._drawn(
                derived_seed(0, "held out", first), self.cell.length, min(self.cell.batch, windows - first)
            )

    def _length(self, step: int) -> int:
        return next((length for until, length in self.task.shorter if step <= until), self.cell.length)

    def _drawn(self, seed: int, length: int, count: int) -> Batch:
        rows: NDArray[np.int64] = duplication.words(np.random.default_rng(seed), count, length, self.task.n_symbols)
        word_BL = torch.from_numpy(rows)
        target_BL = word_BL[:, 1:]
        # The target at position i is token i + 1; the second w begins behind the second 0, at length / 2 + 1.
        counted_BL = (torch.arange(1, length) > length // 2).expand_as(target_BL)
        return Batch((word_BL[:, :-1],), target_BL, counted_BL)
