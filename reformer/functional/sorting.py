"""Sorting positions by bucket and cutting the sorted sequence into chunks."""

import torch
from torch import Tensor
from torch.nn import functional as F


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


def to_chunks(position_BHRS: Tensor, *, chunk_len: int) -> Tensor:
    """Cut every round into chunks and put all rounds' chunks in one row.

    The last chunk of a round may be short. Its free places hold position L, which no token has: they are never seen
    and their output is dropped, so that any length gives the same result as if chunks could differ in size.

    Returns:
        position_BHCW, C counting the chunks of all rounds.
    """
    length = position_BHRS.shape[-1]
    missing = -length % chunk_len
    padded = F.pad(position_BHRS, (0, missing), value=length)
    chunks: Tensor = padded.flatten(2, 3).unflatten(2, (-1, chunk_len))
    return chunks


def with_neighbours(chunk_BHCWx: Tensor, *, n_before: int, n_after: int, wrap: bool) -> Tensor:
    """What each chunk can see: the chunks before it, itself, and those after it, side by side.

    With `wrap` the chunks stand in a ring (trax and the paper's authors let the first chunk of a round look back into
    the round before, and the very first into the last). A window wider than the ring sees each chunk once, not twice.
    Without `wrap` the row has ends, and what lies beyond them is filled with -1.

    Args:
        chunk_BHCWx: Any tensor with chunks in dimension 2 and positions in a chunk in dimension 3.
        n_before: Chunks before the own one.
        n_after: Chunks after the own one.
        wrap: Whether the chunks stand in a ring.

    Returns:
        window_BHCMx, M = W times the number of chunks seen.
    """
    n_chunks = chunk_BHCWx.shape[2]
    offsets = range(-n_before, n_after + 1)
    if wrap:
        once = dict.fromkeys(offset % n_chunks for offset in offsets)
        return torch.cat([chunk_BHCWx.roll(-offset, dims=2) for offset in once], dim=3)
    trailing = (0, 0) * (chunk_BHCWx.dim() - 3)
    padded = F.pad(chunk_BHCWx, (*trailing, n_before, n_after), value=-1)
    return torch.cat([padded.narrow(2, n_before + offset, n_chunks) for offset in offsets], dim=3)


def take_rows(x_BHLK: Tensor, position_BHx: Tensor) -> Tensor:
    """Row `position` of each batch and head: x[b, h, position[b, h, ...]].

    Positions outside the sequence give some row of it, which the caller must not use.

    Returns:
        A tensor of the shape of `position_BHx` with K added at the end.
    """
    batch, heads, length, width = x_BHLK.shape
    base = (
        torch.arange(batch * heads, device=x_BHLK.device).view(batch, heads, *(1,) * (position_BHx.dim() - 2)) * length
    )
    rows = (position_BHx.clamp(0, length - 1) + base).flatten()
    # One flat index_select: on CPU five times as fast as indexing with a broadcast tensor.
    return x_BHLK.reshape(-1, width).index_select(0, rows).view(*position_BHx.shape, width)
