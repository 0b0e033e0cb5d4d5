"""The kernels as PyTorch operators: differentiable, and opaque to `torch.compile` and `torch.export`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reformer.functional.dropping import NO_DROPOUT, Drop
from reformer.functional.hashing import bucket_dtype
from reformer.functional.windows import Window
from reformer.fused import Options, register
from reformer.kernels import hashing
from reformer.kernels.lsh import attend, attend_backward
from reformer.kernels.requirements import check_no_dropout

NAMESPACE = "reformer_triton"


def _lse_like(query_BHLK: Tensor, _: Tensor) -> Tensor:
    """Uninitialised log-sum-exps over all rounds, lse_BHL."""
    return query_BHLK.new_empty(query_BHLK.shape[:3], dtype=torch.float32)


OPERATOR = register(NAMESPACE, attend, attend_backward, lse_like=_lse_like)


def lsh_attention(
    query_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    *,
    score_scale: float,
    window: Window,
    causal: bool,
    same_bucket_only: bool = False,
    deduplicate: bool = False,
    valid_BL: Tensor | None = None,
    drop: Drop = NO_DROPOUT,
) -> Tensor:
    """What `reformer.functional.lsh.lsh_attention` specifies, on a GPU and without copies in sorted order.

    Products are taken in the type of the tensors, those of float32 as three of TF32; everything else is float32.

    Args:
        query_BHLK: Shared queries, bfloat16, float16 or float32, K within 16..128.
        value_BHLK: Values of the same shape and type.
        bucket_BHRL: Bucket of each position in each round, of any integer type, none negative.
        score_scale: A score is the product of query and unit key times this.
        window: Which chunks a query sees.
        causal: Whether a position sees only the past.
        same_bucket_only: Whether a query sees only keys of its own round and bucket within its window.
        deduplicate: Whether a key met several times counts once.
        valid_BL: False where a position is padding, which nobody sees, whatever its query is: infinite, or no number.
            Its value has the weight zero, so that must be finite. `None` if nothing is padding.
        drop: Must drop nothing.

    Returns:
        out_BHLK, strided as [B, L, H, K] is.

    Raises:
        RuntimeError: This machine cannot run the kernels.
        ValueError: The kernels do not serve such tensors or options, or the tensors do not belong together.
    """
    check_no_dropout(drop)
    options = Options.of(score_scale, window, causal, same_bucket_only, deduplicate, NO_DROPOUT)
    out_BHLK: Tensor = OPERATOR.attend(query_BHLK, value_BHLK, bucket_BHRL, valid_BL, *options)[0]
    return out_BHLK


def hash_vectors(
    vector_BHLK: Tensor, rotation_HRKN: Tensor, *, n_buckets: Sequence[int], valid_BL: Tensor | None = None
) -> Tensor:
    """Bucket of each vector in each round, see `reformer.kernels.hashing.hash_vectors`: bucket_BHRL."""
    bucket_BHRL: Tensor = _hash(vector_BHLK.detach(), rotation_HRKN.detach(), list(n_buckets), valid_BL)
    return bucket_BHRL


@torch.library.custom_op(f"{NAMESPACE}::hash_vectors", mutates_args=())
def _hash(vector: Tensor, rotation: Tensor, n_buckets: list[int], valid: Tensor | None) -> Tensor:
    return hashing.hash_vectors(vector, rotation, n_buckets=n_buckets, valid_BL=valid)


@_hash.register_fake
def _(vector: Tensor, rotation: Tensor, n_buckets: list[int], valid: Tensor | None) -> Tensor:
    batch, heads, length, _ = vector.shape
    return vector.new_empty((batch, heads, rotation.shape[1], length), dtype=bucket_dtype(n_buckets))
