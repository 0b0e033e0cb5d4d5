"""Local attention as pure functions: fixed chunks of the sequence and their neighbours."""

from typing import Literal

import torch
from torch import Tensor

from reformer.functional.chunked import at_positions, attend_in_chunks
from reformer.functional.dropping import NO_DROPOUT, Drop
from reformer.functional.sorting import take_rows
from reformer.functional.windows import Grid, Window, take_slots

Unseen = Literal["own_value", "window_sum"]
"""What padding gets that sees nothing: its own value, or the sum of its whole window's values.

A row that is not padding returns its own value then, whatever the choice: the window holds the future.
"""


def local_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    window: Window,
    causal: bool,
    exclude_self: bool,
    unseen: Unseen = "own_value",
    valid_BL: Tensor | None = None,
    drop: Drop = NO_DROPOUT,
) -> Tensor:
    """Each position against those of its own chunk of the sequence and the chunks beside it; any length.

    The sequence is one round: with a `window` that wraps, its first and last chunk are neighbours.

    Args:
        query_BHLK: Queries.
        key_BHLK: Scaled keys.
        value_BHLK: Values.
        window: Which chunks a query sees.
        causal: Whether a position sees only the past.
        exclude_self: Whether a position sees itself only if it sees nothing else.
        unseen: What a query gets that is padding and sees nothing.
        valid_BL: False where a position is padding, which nobody sees; `None` if none is.
        drop: Applied to the attention weights.

    Returns:
        out_BHLK.
    """
    grid, position_BHCW = _in_order(key_BHLK, window)
    window_BHCM = take_slots(position_BHCW, grid.seen_slots(key_BHLK.device), fill=-1)
    out_BHCWK, _ = attend_in_chunks(
        take_rows(query_BHLK, position_BHCW),
        key_BHLK,
        value_BHLK,
        position_BHCW,
        window_BHCM,
        causal=causal,
        exclude_self=exclude_self,
        valid_BL=valid_BL,
        drop=drop,
        fallback_BHCWM=_fallback(position_BHCW, window_BHCM, valid_BL, unseen),
    )
    return out_BHCWK.flatten(2, 3)[:, :, : grid.length]


def local_attention_at(
    position_B: Tensor,
    query_BH1K: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    window: Window,
    causal: bool,
    exclude_self: bool,
    unseen: Unseen = "own_value",
    valid_BL: Tensor | None = None,
) -> Tensor:
    """The one row of `local_attention` that belongs to `position_B`: out_BH1K."""
    grid, position_BHCW = _in_order(key_BHLK, window)
    slot_BM = grid.seen_slots(key_BHLK.device)[position_B // grid.chunk_len]
    slot_BH1M = slot_BM[:, None, None].expand(-1, key_BHLK.shape[1], -1, -1)
    window_BH1M = take_slots(position_BHCW, slot_BH1M, fill=-1)
    position_BH11 = position_B[:, None, None, None].expand(-1, key_BHLK.shape[1], -1, -1)
    out_BH11K, _ = attend_in_chunks(
        query_BH1K[:, :, None],
        key_BHLK,
        value_BHLK,
        position_BH11,
        window_BH1M,
        causal=causal,
        exclude_self=exclude_self,
        valid_BL=valid_BL,
        drop=NO_DROPOUT,
        fallback_BHCWM=_fallback(position_BH11, window_BH1M, valid_BL, unseen),
    )
    return out_BH11K.squeeze(2)


def _in_order(key_BHLK: Tensor, window: Window) -> tuple[Grid, Tensor]:
    batch, heads, length, _ = key_BHLK.shape
    grid = Grid(window, n_rounds=1, length=length)
    in_order = torch.arange(length, device=key_BHLK.device).expand(batch, heads, 1, length)
    return grid, grid.to_chunks(in_order, fill=length)


def _fallback(
    query_position_BHCW: Tensor, window_BHCM: Tensor, valid_BL: Tensor | None, unseen: Unseen
) -> Tensor | None:
    if unseen == "own_value" or valid_BL is None:
        return None
    query_position, key_position = query_position_BHCW[..., :, None], window_BHCM[..., None, :]
    inside = (key_position >= 0) & (key_position < valid_BL.shape[1])
    return torch.where(at_positions(valid_BL, query_position_BHCW)[..., None], query_position == key_position, inside)
