"""Randomness that can be replayed: everything random in a model follows from one integer given to the call."""

import hashlib
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from reformer.checks import check_seed
from reformer.functional.dropping import NO_DROPOUT, Dropout, dropout

T = TypeVar("T")


def derived_seed(seed: int, *path: str | int) -> int:
    """A seed for one purpose within a larger one; the same for the same arguments, in every process.

    Raises:
        ValueError: `seed` is no whole number.
    """
    check_seed("seed", seed)
    digest = hashlib.blake2b(repr((operator.index(seed), *path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Replay:
    """What one call of one layer half needs to be repeated exactly.

    Make one for each call of each half. Two calls before one backward pass then cannot disturb each other.

    Attributes:
        training: Whether the call was made in training mode. A model that has gone into evaluation mode since must
            still be recomputed as it was.
        valid_BL: False where a position is padding; `None` if none is.
        rotation_HRKN: What to hash against; `None` to draw it from the seed.
        keeps_decisions: Whether what was decided is kept for the recomputation. It need not be where that starts from
            the very bits, and so decides alike.
    """

    def __init__(
        self,
        seed: int,
        *path: str | int,
        training: bool,
        valid_BL: Tensor | None = None,
        rotation_HRKN: Tensor | None = None,
        keeps_decisions: bool = True,
    ) -> None:
        self.training = training
        self.valid_BL = valid_BL
        self.rotation_HRKN = rotation_HRKN
        self.keeps_decisions = keeps_decisions
        # Seeds are derived when they are needed: torch.compile cannot trace a digest.
        self._seed, self._path = seed, path
        self._decisions: dict[str, Tensor] = {}
        self._kept: dict[str, Any] = {}

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        """A fresh generator: asked twice for the same purpose it yields the same numbers twice."""
        return torch.Generator(device).manual_seed(derived_seed(self._seed, *self._path, purpose))

    def decide(self, purpose: str, choose: Callable[[], Tensor]) -> Tensor:
        """The result of `choose`, called the first time only if decisions are kept.

        A hash is a decision: recomputed from activations that were rebuilt with a rounding error, some vectors near the
        border of two buckets would change sides.
        """
        if not self.keeps_decisions:
            return choose()
        if purpose not in self._decisions:
            self._decisions[purpose] = choose()
        return self._decisions[purpose]

    def keep(self, purpose: str, make: Callable[[], T]) -> T:
        """The result of `make`, called the first time only, whether decisions are kept or not."""
        if purpose not in self._kept:
            self._kept[purpose] = make()
        kept: T = self._kept[purpose]
        return kept

    def dropped(self, x: Tensor, rate: float, purpose: str) -> Tensor:
        """In training, `x` with dropout whose mask belongs to this purpose; otherwise `x` itself."""
        if not (self.training and rate):
            return x
        return dropout(x, rate, self.generator(purpose, x.device))

    def dropout(self, rate: float, purpose: str) -> Dropout:
        """In training, dropout whose masks belong to this purpose, for functions that draw them part by part."""
        if not (self.training and rate):
            return NO_DROPOUT
        return Dropout(rate, derived_seed(self._seed, *self._path, purpose))
