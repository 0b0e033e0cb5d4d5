"""The kinds of self-attention: which functions compute each, given queries, keys and values by head."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, assert_never

from torch import Tensor

from reformer.blocked import hashing as blocked_hashing
from reformer.blocked import lsh as blocked_lsh
from reformer.config import (
    AnyAttention,
    Backend,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    RoundWrap,
)
from reformer.functional import hashing, lsh
from reformer.functional.dense import (
    dense_attention,
    dense_attention_at,
    fused_attention,
    query_chunked_attention,
)
from reformer.functional.local import local_attention, local_attention_at
from reformer.functional.scores import unit_keys
from reformer.functional.windows import Window
from reformer.fused import Inputs, Operator, Options, attend_keeping
from reformer.randomness import Replay


class Past(NamedTuple):
    """What later positions need of a sequence so far: scaled keys, values, and buckets where there are any."""

    key_BHLK: Tensor
    value_BHLK: Tensor
    bucket_BHRL: Tensor | None


class Heads(NamedTuple):
    """A sequence as attention sees it: queries, keys and values by head, and buckets where there are any.

    Keys are as projected; where they are shared with the queries, they are the queries.
    """

    query_BHLK: Tensor
    key_BHLK: Tensor
    value_BHLK: Tensor
    bucket_BHRL: Tensor | None


class Kind(NamedTuple):
    """How one kind of attention is computed.

    Attributes:
        whole: Heads of a sequence, and the call, to out_BHLK.
        at: One position of each example, its query, everything so far including itself, and which of that is valid, to
            out_BH1K: the row of `whole` that belongs to the position.
    """

    whole: Callable[[Heads, Replay], Tensor]
    at: Callable[[Tensor, Tensor, Past, Tensor | None], Tensor]


class LSHFunctions(NamedTuple):
    """What a backend computes, each with the signature of the function of the same name in `reformer.functional`."""

    hash_vectors: Callable[..., Tensor]
    lsh_attention: Callable[..., Tensor]


def lsh_operator(backend: Backend) -> Operator:
    """The operator behind a backend's `lsh_attention`; "eager" has none."""
    assert backend != "eager", "the config refuses what needs one"
    if backend == "blocked":
        return blocked_lsh.OPERATOR
    from reformer.kernels import ops

    return ops.OPERATOR


def lsh_functions(backend: Backend) -> LSHFunctions:
    """The functions of a backend; those of "triton" raise when called where the kernels cannot run."""
    match backend:
        case "eager":
            return LSHFunctions(hashing.hash_vectors, lsh.lsh_attention)
        case "blocked":
            return LSHFunctions(blocked_hashing.hash_vectors, blocked_lsh.lsh_attention)
        case "triton":
            # Imported when it is asked for: Triton is there on GPU machines only.
            from reformer.kernels import ops

            return LSHFunctions(ops.hash_vectors, ops.lsh_attention)
        case _:
            assert_never(backend)


def scaled_keys(attention: AnyAttention, key_BHLK: Tensor) -> Tensor:
    """Keys as the attention functions take them: a score is the plain product of query and key."""
    if not attention.share_qk:
        return key_BHLK * root_width(key_BHLK)
    return unit_keys(key_BHLK) * score_scale(attention, key_BHLK)


def score_scale(attention: AnyAttention, key_BHLK: Tensor) -> float:
    """What the product of a shared query and its unit key is multiplied with."""
    return 1.0 if attention.score_scale == "unit_key" else root_width(key_BHLK)


def root_width(x_BHLK: Tensor) -> float:
    """1 / sqrt(K)."""
    return float(x_BHLK.shape[-1] ** -0.5)


def kind_of(attention: AnyAttention, *, causal: bool) -> Kind:
    """The functions that compute this kind of attention.

    Partial applications of functions of this module, so that a model can be pickled.
    """
    exact: dict[str, Any] = {"causal": causal, "exclude_self": attention.share_qk}
    dense_at = partial(_at, partial(dense_attention_at, **exact))
    match attention:
        case DenseAttention():
            return Kind(partial(_whole, partial(dense_attention, **exact), attention), dense_at)
        case QueryChunkedAttention(query_chunk_len=query_chunk_len):
            whole = partial(query_chunked_attention, **exact, query_chunk_len=query_chunk_len)
            return Kind(partial(_whole, whole, attention), dense_at)
        case FusedAttention():
            return Kind(partial(_fused_whole, exact, attention), dense_at)
        case LocalAttention():
            exact |= {"window": _local_window(attention), "unseen": attention.unseen}
            at = partial(_at, partial(local_attention_at, **exact))
            return Kind(partial(_whole, partial(local_attention, **exact), attention), at)
        case LSHAttention():
            exact = {"causal": causal, **lsh_options(attention)}
            return Kind(partial(_lsh_whole, exact, attention), partial(_lsh_at, exact))
        case _:
            assert_never(attention)


def _whole(
    function: Callable[..., Tensor],
    attention: DenseAttention | QueryChunkedAttention | LocalAttention,
    heads: Heads,
    replay: Replay,
) -> Tensor:
    key_BHLK = scaled_keys(attention, heads.key_BHLK)
    drop = replay.dropout(attention.dropout, "attention dropout")
    return function(heads.query_BHLK, key_BHLK, heads.value_BHLK, valid_BL=replay.valid_BL, drop=drop)


def _at(
    function: Callable[..., Tensor], position_B: Tensor, query_BH1K: Tensor, past: Past, valid_BL: Tensor | None
) -> Tensor:
    return function(position_B, query_BH1K, past.key_BHLK, past.value_BHLK, valid_BL=valid_BL)


def _fused_whole(exact: dict[str, Any], attention: FusedAttention, heads: Heads, replay: Replay) -> Tensor:
    key_BHLK = scaled_keys(attention, heads.key_BHLK)
    return fused_attention(heads.query_BHLK, key_BHLK, heads.value_BHLK, **exact, valid_BL=replay.valid_BL)


def _lsh_whole(exact: dict[str, Any], attention: LSHAttention, heads: Heads, replay: Replay) -> Tensor:
    scale, drop = score_scale(attention, heads.query_BHLK), replay.dropout(attention.dropout, "attention dropout")
    inputs = Inputs(heads.query_BHLK, heads.value_BHLK, _hashed(heads), replay.valid_BL)
    if attention.save_attention_output and replay.training:
        keep = partial(replay.keep, "attention")
        return attend_keeping(lsh_operator(attention.backend), keep, inputs, Options.of(scale, **exact, drop=drop))
    attend = lsh_functions(attention.backend).lsh_attention
    return attend(*inputs[:3], score_scale=scale, **exact, valid_BL=replay.valid_BL, drop=drop)


def _lsh_at(
    exact: dict[str, Any], position_B: Tensor, query_BH1K: Tensor, past: Past, valid_BL: Tensor | None
) -> Tensor:
    return lsh.lsh_attention_at(
        position_B, query_BH1K, past.key_BHLK, past.value_BHLK, _hashed(past), **exact, valid_BL=valid_BL
    )


def _hashed(heads: Heads | Past) -> Tensor:
    assert heads.bucket_BHRL is not None, "LSH attention always hashes"
    return heads.bucket_BHRL


def lsh_options(attention: LSHAttention) -> dict[str, Any]:
    """What a config says of how LSH attention is computed, as the functions take it beside scale and causality."""
    window = Window(attention.chunk_len, attention.n_chunks_before, attention.n_chunks_after, attention.wrap)
    return {"window": window, **attention.model_dump(include={"same_bucket_only", "deduplicate"})}


def _local_window(attention: LocalAttention) -> Window:
    # A sequence is one round.
    wrap: RoundWrap = "per_round" if attention.wrap == "ring" else "none"
    return Window(attention.chunk_len, attention.n_chunks_before, attention.n_chunks_after, wrap)
