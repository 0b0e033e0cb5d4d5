"""Dropout whose mask follows from a seed, so that it can be drawn again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Drop = Callable[[Tensor, int], Tensor]
"""Attention weights, and the number of the part of the whole that they are, to weights with some dropped."""


@dataclass(frozen=True)
class Dropout:
    """A `Drop` that zeroes each weight with probability `rate`; the same `seed` and part give the same mask."""

    rate: float
    seed: int

    def __call__(self, weight: Tensor, part: int) -> Tensor:
        """The weights of one part, some dropped and the rest scaled up."""
        return dropout(weight, self.rate, self.generator(part, weight.device)) if self.rate else weight

    def generator(self, part: int, device: torch.device) -> torch.Generator:
        """A fresh source of one part's mask."""
        return torch.Generator(device).manual_seed(self.seed + part)


NO_DROPOUT = Dropout(0.0, 0)


def dropout(x: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero each entry with probability `rate` and scale the rest up by 1 / (1 - rate)."""
    keep = torch.empty(x.shape, dtype=torch.bool, device=x.device).bernoulli_(1 - rate, generator=generator)
    return x * keep / (1 - rate)
