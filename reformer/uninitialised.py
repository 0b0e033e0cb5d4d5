"""Layers whose parameters the model draws itself, from the generator it was given.

PyTorch's own layers draw theirs from the global stream when they are made.
"""

from torch import nn


class Linear(nn.Linear):
    """`torch.nn.Linear` before its parameters are drawn."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """`torch.nn.Embedding` before its table is drawn."""

    def reset_parameters(self) -> None:
        """Draw nothing."""
