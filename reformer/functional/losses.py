"""Cross-entropy over a large vocabulary without all logits in memory at once."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from reformer.functional.scores import widened


def chunked_cross_entropy(
    hidden_BLD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor,
    target_BL: Tensor,
    *,
    chunk_len: int,
    counted_BL: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of `linear(hidden)` against the targets, in nats.

    Logits exist for `chunk_len` positions of each sequence at a time, in the forward pass and, recomputed, in the
    backward pass. They are computed in the type of the weights and summed up in float32 at least.

    Args:
        hidden_BLD: What the output layer reads.
        weight_VD: Of the output layer.
        bias_V: Of the output layer.
        target_BL: The right tokens, int64.
        chunk_len: Positions at a time.
        counted_BL: Which targets count; `None` for all. Those that do not may hold anything.

    Returns:
        A scalar, float32 or wider.
    """
    if counted_BL is None:
        counted_BL = torch.ones_like(target_BL, dtype=torch.bool)
    total = widened(hidden_BLD.new_zeros(()))
    chunks = (tensor.split(chunk_len, dim=1) for tensor in (hidden_BLD, target_BL, counted_BL))
    for hidden, target, counted in zip(*chunks, strict=True):
        total = total + checkpoint(
            _summed, hidden, weight_VD, bias_V, target, counted, use_reentrant=False, preserve_rng_state=False
        )
    return total / counted_BL.sum()


def _summed(hidden_BLD: Tensor, weight_VD: Tensor, bias_V: Tensor, target_BL: Tensor, counted_BL: Tensor) -> Tensor:
    logit_BLV = widened(F.linear(hidden_BLD, weight_VD, bias_V))
    loss_x = F.cross_entropy(logit_BLV.flatten(0, 1), target_BL.masked_fill(~counted_BL, 0).flatten(), reduction="none")
    return loss_x.masked_fill(~counted_BL.flatten(), 0).sum()
