"""Where a token stands: vectors added to its embedding, or a rotation of its queries and keys."""

import math
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reformer.config import (
    AxialPositions,
    LearnedPositions,
    ReformerConfig,
    RotaryPositions,
    SinusoidalPositions,
)


class LearnedTable(nn.Module):
    """One vector for each position."""

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_len, d_model))

    def forward(self, position: Tensor) -> Tensor:
        """The vectors of the given positions, [..., D]."""
        return F.embedding(position, self.table)


class AxialTable(nn.Module):
    """Position (i, j, ...) gets the i-th vector of the first table beside the j-th of the second, and so on.

    Positions count row-major through `shape`; any number of axes, any length up to the product.
    """

    def __init__(self, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(torch.empty(size, dim) for size, dim in zip(shape, dims, strict=True))
        self._shape = shape

    def forward(self, position: Tensor) -> Tensor:
        """The vectors of the given positions, [..., D]."""
        columns = []
        for axis, table in enumerate(self.tables):
            stride = math.prod(self._shape[axis + 1 :])
            columns.append(F.embedding(position // stride % self._shape[axis], table))
        return torch.cat(columns, dim=-1)


class Sinusoids(nn.Module):
    """Sines and cosines of falling frequency (Vaswani et al. 2017, section 3.5); nothing to train."""

    def __init__(self, d_model: int, base: float) -> None:
        super().__init__()
        self._d_model, self._base = d_model, base

    def forward(self, position: Tensor) -> Tensor:
        """The vectors of the given positions, [..., D] in float32: sine in even channels, cosine in odd ones."""
        angle = _angles(position, -(-self._d_model // 2), self._d_model, self._base)
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., : self._d_model]


class NothingAdded(nn.Module):
    """For positions that enter elsewhere."""

    def forward(self, position: Tensor) -> Tensor:
        """A zero for each position, [..., 1]."""
        return torch.zeros(*position.shape, 1, device=position.device)


def rotated(x_BHLK: Tensor, position: Tensor, *, base: float) -> Tensor:
    """Turn each pair of channels 2i, 2i + 1 by the angle `position / base ** (2i / K)` (Su et al. 2021).

    Products of two rotated vectors depend on their distance only; lengths do not change.

    Args:
        x_BHLK: Queries or keys, K even.
        position: Their positions, [L] or [B, 1, L].
        base: Of the frequencies.

    Returns:
        The same shape and dtype.
    """
    width = x_BHLK.shape[-1]
    angle = _angles(position, width // 2, width, base)
    cos, sin = angle.cos().to(x_BHLK.dtype), angle.sin().to(x_BHLK.dtype)
    even, odd = x_BHLK[..., 0::2], x_BHLK[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _angles(position: Tensor, n_frequencies: int, width: int, base: float) -> Tensor:
    channel = torch.arange(n_frequencies, device=position.device, dtype=torch.float32)
    return position[..., None].to(torch.float32) * base ** (-2 * channel / width)


Positions = LearnedTable | AxialTable | Sinusoids | NothingAdded


def build_positions(config: ReformerConfig) -> Positions:
    """What the config asks to be added to the embedding."""
    match config.positions:
        case LearnedPositions():
            return LearnedTable(config.max_len, config.d_model)
        case AxialPositions(shape=shape, dims=dims):
            return AxialTable(shape, dims)
        case SinusoidalPositions(base=base):
            return Sinusoids(config.d_model, base)
        case RotaryPositions():
            return NothingAdded()
        case _:
            assert_never(config.positions)
