"""Dense attention as pure functions: all scores at once, a chunk of queries at a time, or by a fused kernel."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from reformer.functional.dropping import NO_DROPOUT, Drop
from reformer.functional.scores import masked_scores, visible, weighted_values

FUSED_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def dense_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
    valid_BL: Tensor | None = None,
    drop: Drop = NO_DROPOUT,
) -> Tensor:
    """Every position against every other, all scores in memory at once.

    Args:
        query_BHLK: Queries.
        key_BHLK: Scaled keys.
        value_BHLK: Values.
        causal: Whether a position sees only the past.
        exclude_self: Whether a position sees itself only if it sees nothing else.
        valid_BL: False where a position is padding, which nobody sees; `None` if none is.
        drop: Applied to the attention weights.

    Returns:
        out_BHLK.
    """
    position = torch.arange(query_BHLK.shape[2], device=query_BHLK.device)
    return _rows(query_BHLK, key_BHLK, value_BHLK, position, valid_BL, causal, exclude_self, drop, 0)


def dense_attention_at(
    position_B: Tensor,
    query_BH1K: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
    valid_BL: Tensor | None = None,
) -> Tensor:
    """The one row of `dense_attention` that belongs to `position_B`: out_BH1K."""
    position_B111 = position_B[:, None, None, None]
    return _rows(query_BH1K, key_BHLK, value_BHLK, position_B111, valid_BL, causal, exclude_self, NO_DROPOUT, 0)


def query_chunked_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
    query_chunk_len: int,
    valid_BL: Tensor | None = None,
    drop: Drop = NO_DROPOUT,
) -> Tensor:
    """The same values as `dense_attention`, a chunk of queries at a time, each recomputed in the backward pass.

    The memory-efficient dense attention of the paper's section 2: scores of one chunk at a time, L in place of L^2.

    Returns:
        out_BHLK.
    """
    position = torch.arange(query_BHLK.shape[2], device=query_BHLK.device)
    chunks = zip(query_BHLK.split(query_chunk_len, dim=2), position.split(query_chunk_len), strict=True)
    pieces = [
        checkpoint(
            _rows,
            query_chunk,
            key_BHLK,
            value_BHLK,
            position_chunk,
            valid_BL,
            causal,
            exclude_self,
            drop,
            part,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for part, (query_chunk, position_chunk) in enumerate(chunks)
    ]
    return torch.cat(pieces, dim=2)


def _rows(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    position: Tensor,
    valid_BL: Tensor | None,
    causal: bool,
    exclude_self: bool,
    drop: Drop,
    part: int,
) -> Tensor:
    length = key_BHLK.shape[2]
    query_position = position[..., None] if position.dim() == 1 else position
    key_position = torch.arange(length, device=query_BHLK.device)[None, :]
    key_valid = None if valid_BL is None else valid_BL[:, None, None, :]
    seen = visible(
        query_position, key_position, length=length, causal=causal, exclude_self=exclude_self, key_valid=key_valid
    )
    score_BHLM, _ = masked_scores(query_BHLK, key_BHLK, seen, query_position == key_position)
    return weighted_values(score_BHLM, value_BHLK, drop=drop, part=part)


def cross_attention(
    query_BHLK: Tensor,
    key_BHEK: Tensor,
    value_BHEK: Tensor,
    *,
    valid_BE: Tensor | None = None,
    drop: Drop = NO_DROPOUT,
) -> Tensor:
    """Every position against every position of an encoder's output.

    Args:
        query_BHLK: Queries of the decoder.
        key_BHEK: Scaled keys of the encoder's output.
        value_BHEK: Its values.
        valid_BE: False where the source is padding; an example without any valid source position gets zeros.
        drop: Applied to the attention weights.

    Returns:
        out_BHLK.
    """
    if valid_BE is None:
        valid_BE = torch.ones(key_BHEK.shape[0], key_BHEK.shape[2], dtype=torch.bool, device=key_BHEK.device)
    seen_B11E = valid_BE[:, None, None, :]
    score_BHLE, alone = masked_scores(query_BHLK, key_BHEK, seen_B11E, torch.ones_like(seen_B11E))
    return weighted_values(score_BHLE, value_BHEK, drop=drop).masked_fill(alone, 0.0)


def fused_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    causal: bool,
    exclude_self: bool,
    valid_BL: Tensor | None = None,
) -> Tensor:
    """The same values as `dense_attention` by PyTorch's fused kernel, with no mask in memory.

    A causal position without itself sees exactly the positions before it, which is causal attention of the sequence
    from its second position on against the sequence up to its last but one; the first position returns its own value.

    Returns:
        out_BHLK.

    Raises:
        ValueError: `exclude_self` without `causal`, or a `valid_BL`, neither of which the fused kernel can express
            without an L x L mask.
        RuntimeError: PyTorch has no fused kernel for these tensors.
    """
    if valid_BL is not None:
        raise ValueError("fused_attention takes no valid_BL; use dense_attention or query_chunked_attention")
    if not exclude_self:
        return _fused(query_BHLK, key_BHLK, value_BHLK, causal=causal)
    if not causal:
        raise ValueError("fused_attention with exclude_self=True needs causal=True; use dense_attention")
    if query_BHLK.shape[2] == 1:
        return value_BHLK
    later = _fused(query_BHLK[:, :, 1:], key_BHLK[:, :, :-1], value_BHLK[:, :, :-1], causal=True)
    return torch.cat([value_BHLK[:, :, :1], later], dim=2)


def _fused(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, *, causal: bool) -> Tensor:
    # Without this PyTorch would fall back on its unfused kernel, and hold L x L scores, without a word.
    with sdpa_kernel(FUSED_KERNELS):
        return F.scaled_dot_product_attention(query_BHLK, key_BHLK, value_BHLK, is_causal=causal, scale=1.0)
