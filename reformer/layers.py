"""PyTorch's layers as this library needs them.

Parameters are drawn by the model itself, from the generator it was given: PyTorch's own layers draw theirs from the
global stream when they are made.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """`torch.nn.Linear` before its parameters are drawn."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """`torch.nn.Embedding` before its table is drawn."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class StreamNorm(nn.LayerNorm):
    """Layer normalisation of a residual stream, computed in the stream's precision.

    Streams stay in float32 when the parameters are in half precision; what the layers read has the parameters' type.
    """

    def forward(self, x_BLD: Tensor) -> Tensor:
        """The normalised stream."""
        wide = torch.promote_types(x_BLD.dtype, self.weight.dtype)
        weight, bias = self.weight.to(wide), self.bias.to(wide)
        return F.layer_norm(x_BLD.to(wide), self.normalized_shape, weight, bias, self.eps).to(self.weight.dtype)
