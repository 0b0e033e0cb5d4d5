"""Cross-entropy over a large vocabulary without all logits in memory at once."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def chunked_cross_entropy(
    hidden_BLD: Tensor, weight_VD: Tensor, bias_V: Tensor, target_BL: Tensor, *, chunk_len: int
) -> Tensor:
    """Mean cross-entropy of `linear(hidden)` against the targets, in nats.

    Logits exist for `chunk_len` positions of each sequence at a time, in the forward pass and, recomputed, in the
    backward pass.

    Args:
        hidden_BLD: What the output layer reads.
        weight_VD: Of the output layer.
        bias_V: Of the output layer.
        target_BL: The right tokens, int64.
        chunk_len: Positions at a time.

    Returns:
        A scalar, float32 or wider.
    """
    total = torch.zeros((), dtype=torch.promote_types(hidden_BLD.dtype, torch.float32), device=hidden_BLD.device)
    for hidden, target in zip(hidden_BLD.split(chunk_len, dim=1), target_BL.split(chunk_len, dim=1), strict=True):
        total = total + checkpoint(
            _summed, hidden, weight_VD, bias_V, target, use_reentrant=False, preserve_rng_state=False
        )
    return total / target_BL.numel()


def _summed(hidden_BLD: Tensor, weight_VD: Tensor, bias_V: Tensor, target_BL: Tensor) -> Tensor:
    logit_BLV = F.linear(hidden_BLD, weight_VD, bias_V)
    wide = torch.promote_types(logit_BLV.dtype, torch.float32)
    return F.cross_entropy(logit_BLV.flatten(0, 1).to(wide), target_BL.flatten(), reduction="sum")
