"""Sorting positions by bucket, and gathering rows by position."""

import torch
from torch import Tensor


def sort_by_bucket(bucket_BHRL: Tensor) -> Tensor:
    """Position in each slot of the sequence sorted by bucket, ties in order of position.

    Returns:
        position_BHRS, int64.
    """
    return torch.sort(bucket_BHRL, dim=-1, stable=True).indices


def invert(position_BHRS: Tensor) -> Tensor:
    """Slot of each position: the inverse permutation, slot_BHRL."""
    slots = torch.arange(position_BHRS.shape[-1], device=position_BHRS.device)
    return torch.empty_like(position_BHRS).scatter_(-1, position_BHRS, slots.expand_as(position_BHRS))


def take_rows(x_BHLK: Tensor, position_BHx: Tensor) -> Tensor:
    """Row `position` of each batch and head: x[b, h, position[b, h, ...]].

    Positions outside the sequence give some row of it, which the caller must not use.

    Returns:
        A tensor of the shape of `position_BHx` with K added at the end.
    """
    batch, heads, length, width = x_BHLK.shape
    inside = position_BHx.clamp(0, length - 1)
    if inside.numel() < batch * heads * length:
        # A few rows of many, as in decoding: below, everything may have to be copied first.
        index = inside.flatten(2)[..., None].expand(-1, -1, -1, width)
        return x_BHLK.gather(2, index).view(*position_BHx.shape, width)
    base = (
        torch.arange(batch * heads, device=x_BHLK.device).view(batch, heads, *(1,) * (position_BHx.dim() - 2)) * length
    )
    rows = (inside + base).flatten()
    # One flat index_select: on CPU five times as fast as indexing with a broadcast tensor.
    return x_BHLK.reshape(-1, width).index_select(0, rows).view(*position_BHx.shape, width)
