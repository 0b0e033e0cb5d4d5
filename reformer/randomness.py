"""Randomness that can be replayed: everything random in a model follows from one integer given to the call."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor


def derived_seed(seed: int, *path: str | int) -> int:
    """A seed for one purpose within a larger one; the same for the same arguments, in every process."""
    digest = hashlib.blake2b(repr((seed, *path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Replay:
    """What one call of one layer needs to be repeated exactly: its seed, and decisions that must not be taken twice.

    Make one for each call of each layer. Two calls before one backward pass then cannot disturb each other.

    Attributes:
        training: Whether the call was made in training mode. A model that has gone into evaluation mode since must
            still be recomputed as it was.
    """

    def __init__(self, seed: int, *, training: bool) -> None:
        self.training = training
        self._seed = seed
        self._decisions: dict[str, Tensor] = {}

    def generator(self, purpose: str, device: torch.device) -> torch.Generator:
        """A fresh generator: asked twice for the same purpose it yields the same numbers twice."""
        return torch.Generator(device).manual_seed(derived_seed(self._seed, purpose))

    def decide(self, purpose: str, choose: Callable[[], Tensor]) -> Tensor:
        """The result of `choose`, called the first time only.

        A hash is a decision: recomputed from activations that were rebuilt with a rounding error, some vectors near the
        border of two buckets would change sides.
        """
        if purpose not in self._decisions:
            self._decisions[purpose] = choose()
        return self._decisions[purpose]


def dropout(x: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero each entry with probability `rate` and scale the rest up by 1 / (1 - rate)."""
    keep = torch.empty(x.shape, dtype=torch.bool, device=x.device).bernoulli_(1 - rate, generator=generator)
    return x * keep / (1 - rate)
