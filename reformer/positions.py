"""Position vectors, added to the embedding."""

import math
from typing import assert_never

import torch
from torch import Tensor, nn

from reformer.config import AxialPositions, LearnedPositions, ReformerConfig


class LearnedTable(nn.Module):
    """One vector for each position."""

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_len, d_model))

    def forward(self, length: int) -> Tensor:
        """The first `length` position vectors, [L, D]."""
        return self.table[:length]


class AxialTable(nn.Module):
    """Position (i, j, ...) gets the i-th vector of the first table beside the j-th of the second, and so on.

    Positions count row-major through `shape`; any length up to its product is served.
    """

    def __init__(self, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(torch.empty(size, dim) for size, dim in zip(shape, dims, strict=True))
        self._shape = shape

    def forward(self, length: int) -> Tensor:
        """The first `length` position vectors, [L, D]."""
        positions = torch.arange(length, device=self.tables[0].device)
        columns = []
        for axis, table in enumerate(self.tables):
            stride = math.prod(self._shape[axis + 1 :])
            columns.append(table[positions // stride % self._shape[axis]])
        return torch.cat(columns, dim=-1)


def build_positions(config: ReformerConfig) -> LearnedTable | AxialTable:
    """The position table that the config asks for."""
    match config.positions:
        case LearnedPositions():
            return LearnedTable(config.max_len, config.d_model)
        case AxialPositions(shape=shape, dims=dims):
            return AxialTable(shape, dims)
        case _:
            assert_never(config.positions)
