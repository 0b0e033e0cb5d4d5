"""Pairs of sentences as word pieces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablations.data import multi30k
from ablations.data.multi30k import BEGIN, END, PAD
from ablations.harness.cell import Cell
from ablations.harness.errors import MissingExtraError
from ablations.harness.workloads.learning.batches import Batch
from reformer.randomness import derived_seed

POOL = 16
"""Batches whose sentences are sorted by length before they are dealt out: padding then is a small part of a batch."""

PIECES = tuple[list[int], list[int]]
"""Of a source and its target."""


@dataclass(frozen=True)
class Sentences:
    """Pairs of training and validation, those that are longer than the model's sequences left out."""

    pairs: multi30k.Pairs
    pieces: multi30k.Pieces
    train: tuple[PIECES, ...]
    validation: tuple[PIECES, ...]
    cell: Cell

    @classmethod
    def read(cls, folder: Path, cell: Cell) -> Self:
        """Everything, in a vocabulary of the config's size.

        Raises:
            MissingExtraError: What learns the vocabulary is not installed.
        """
        pairs = multi30k.read_pairs(folder)
        try:
            pieces = multi30k.Pieces.learned(pairs.train, vocab_size=cell.config.vocab_size)
        except ImportError:
            raise MissingExtraError("translation") from None
        train, validation = (_short_enough(part, pieces, cell.length) for part in (pairs.train, pairs.validation))
        return cls(pairs, pieces, train, validation, cell)

    @property
    def description(self) -> str:
        """Of the split, the pieces, and what was left out."""
        left_out = len(self.pairs.train) - len(self.train)
        return (
            f"{self.pairs.description}; {self.cell.config.vocab_size} word pieces for both languages; "
            f"{left_out} pairs of more than {self.cell.length} pieces left out of training"
        )

    @property
    def asks_for_accuracy(self) -> bool:
        """No: BLEU says more."""
        return False

    def training(self, step: int) -> Batch:
        """The batch of this step: every pair comes up once in an epoch, with others of about its length."""
        per_epoch = len(self.train) // self.cell.batch
        epoch, number = divmod(step - 1, per_epoch)
        return self._batch([self.train[one] for one in self._dealt(epoch)[number]])

    def _dealt(self, epoch: int) -> list[NDArray[np.int64]]:
        draw = np.random.default_rng(derived_seed(self.cell.seed, "pairs", epoch))
        order, size = draw.permutation(len(self.train)), self.cell.batch
        lengths = np.array([len(source) + len(target) for source, target in self.train])
        batches = [
            one
            for first in range(0, len(order), POOL * size)
            for one in _in_batches(_by_length(order[first : first + POOL * size], lengths), size)
        ]
        return [batches[one] for one in draw.permutation(len(batches))]

    def held_out(self, windows: int) -> Iterator[Batch]:
        """The first pairs of the validation part."""
        chosen = self.validation[:windows]
        for first in range(0, len(chosen), self.cell.batch):
            yield self._batch(chosen[first : first + self.cell.batch])

    def _batch(self, pairs: Sequence[PIECES]) -> Batch:
        source_BE, source_valid_BE = padded([[*source, END] for source, _ in pairs])
        token_BL, valid_BL = padded([[BEGIN, *target] for _, target in pairs])
        target_BL, _ = padded([[*target, END] for _, target in pairs])
        masks = {"source_valid_BE": source_valid_BE, "valid_BL": valid_BL}
        return Batch((source_BE, token_BL), target_BL, valid_BL, masks)


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of one length, and which of it is no padding."""
    longest = max(map(len, rows))
    token_BL = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    length_B = torch.tensor([len(row) for row in rows])
    return token_BL, torch.arange(longest) < length_B[:, None]


def _short_enough(pairs: Sequence[tuple[str, str]], pieces: multi30k.Pieces, length: int) -> tuple[PIECES, ...]:
    encoded = ((pieces.encode(source), pieces.encode(target)) for source, target in pairs)
    # One more for the begin or the end.
    return tuple(pair for pair in encoded if max(map(len, pair)) < length)


def _by_length(chosen: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return chosen[np.argsort(lengths[chosen], kind="stable")]


def _in_batches(chosen: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Whole batches only: what is left over waits for another epoch."""
    return [chosen[first : first + size] for first in range(0, len(chosen) - size + 1, size)]
