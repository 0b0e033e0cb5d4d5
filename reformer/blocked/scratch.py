"""Memory that is used again from block to block."""

import math

import torch
from torch import Tensor


class Scratch:
    """Named tensors that are allocated once and used again, for the time of one call.

    A fresh tensor of some megabytes costs a page fault for every 4 KiB when it is first written: the same matrix
    product ran at 16 GFLOP/s into fresh memory and at 140 into memory that had been written before.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: dict[tuple[str, torch.dtype], Tensor] = {}
        self._views: dict[tuple[str, torch.dtype, tuple[int, ...]], Tensor] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor of that shape and type; what was in the last one of that name is overwritten."""
        view = self._views.get((name, dtype, shape))
        if view is None:
            # Kept: a block of one window, where calls are all that costs, needs a fifth less time for it.
            view = self._views[name, dtype, shape] = self._memory(name, math.prod(shape), dtype).view(shape)
        return view

    def _memory(self, name: str, size: int, dtype: torch.dtype) -> Tensor:
        held = self._held.get((name, dtype))
        if held is None or held.numel() < size:
            self._views = {key: view for key, view in self._views.items() if key[:2] != (name, dtype)}
            held = self._held[name, dtype] = torch.empty(size, dtype=dtype, device=self._device)
        return held[:size]

    def copy(self, name: str, source: Tensor, dtype: torch.dtype) -> Tensor:
        """A contiguous copy of that type."""
        return self(name, source.shape, dtype).copy_(source)
