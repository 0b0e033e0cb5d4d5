"""Kinds of self-attention."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from reformer.config.values import Chunks, Count, Frozen, Rate

LARGEST_PLAIN_BUCKET_COUNT = 128
"""Above this a default bucket count is split into two factors, so that hashing stays cheap beside attention."""

MOST_BUCKETS = 2**31 - 1
"""The ids of so many buckets, and one more for padding, fit in int32."""

ScoreScale = Literal["unit_key", "unit_key_over_root_width"]
"""Score of a shared query and key: query times unit key (the authors' code, HuggingFace), or that over sqrt(K)."""


class SelfAttentionBase(Frozen):
    """What every kind of self-attention has.

    Attributes:
        share_qk: One projection for queries and keys: keys are queries scaled to unit length, and a position does not
            see itself unless it sees nothing else (paper, section 2).
        score_scale: See `ScoreScale`; without shared projections a score is always query times key over sqrt(K).
    """

    share_qk: bool = True
    score_scale: ScoreScale = "unit_key"

    @model_validator(mode="after")
    def _separate_keys_have_one_scale(self) -> Self:
        if not self.share_qk and self.score_scale != "unit_key":
            raise ValueError(
                f"score_scale={self.score_scale!r} is about shared queries and keys; leave it out with share_qk=False"
            )
        return self


class DenseAttention(SelfAttentionBase):
    """Every position scores every other (paper, section 2); the L x L scores of each head are held in memory.

    Attributes:
        kind: Tells attentions apart.
        share_qk: One projection for queries and keys, see `SelfAttentionBase`.
        score_scale: See `ScoreScale`.
        dropout: Of attention weights.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or `score_scale` is set without shared projections.
    """

    kind: Literal["dense"] = "dense"
    dropout: Rate = 0.0


class QueryChunkedAttention(SelfAttentionBase):
    """Dense attention a chunk of queries at a time, recomputed in the backward pass: the paper's baseline (section 2).

    Attributes:
        kind: Tells attentions apart.
        share_qk: As in `DenseAttention`, and so are `score_scale` and `dropout`.
        score_scale: See above.
        query_chunk_len: Queries whose scores exist at a time.
        dropout: See above.

    Raises:
        pydantic.ValidationError: As in `DenseAttention`.
    """

    kind: Literal["dense_query_chunked"] = "dense_query_chunked"
    query_chunk_len: Count = 128
    dropout: Rate = 0.0


class FusedAttention(SelfAttentionBase):
    """Dense attention by PyTorch's fused `scaled_dot_product_attention`, which takes no attention dropout here.

    It takes no padding either: calls with a `valid_BL` are refused, and so is, by `ReformerConfig`, `share_qk=True`
    with `causal=False`.

    Attributes:
        kind: Tells attentions apart.
        share_qk: As in `DenseAttention`, and so is `score_scale`.
        score_scale: See above.

    Raises:
        pydantic.ValidationError: As in `DenseAttention`.
    """

    kind: Literal["dense_fused"] = "dense_fused"


class LocalAttention(SelfAttentionBase):
    """Attention within a chunk of neighbouring positions and the chunks beside it.

    Attributes:
        kind: Tells attentions apart.
        share_qk: As in `DenseAttention`, and so is `score_scale`.
        score_scale: See above.
        chunk_len: Positions in a chunk.
        n_chunks_before: Chunks that a query sees before its own.
        n_chunks_after: Chunks that a query sees after its own.
        wrap: Whether the sequence has ends, or its first and last chunk are neighbours (trax and HuggingFace; in a
            causal model without chunks after it changes nothing).
        unseen: What padding gets that sees no key at all: its own value, or the sum of its whole window's values, which
            is what float32 makes of HuggingFace's masked scores. Any other row gets its own value then.
        dropout: Of attention weights.

    Raises:
        pydantic.ValidationError: As in `DenseAttention`.
    """

    kind: Literal["local"] = "local"
    chunk_len: Count = 64
    n_chunks_before: Chunks = 1
    n_chunks_after: Chunks = 0
    wrap: Literal["ring", "none"] = "none"
    unseen: Literal["own_value", "window_sum"] = "own_value"
    dropout: Rate = 0.0


RoundWrap = Literal["across_rounds", "per_round", "none"]
"""`across_rounds`: the chunks of all rounds stand in one ring, so that the first chunk of a round sees the last of the
round before (the authors' code, HuggingFace). `per_round`: each round is a ring. `none`: each round has ends."""


Backend = Literal["eager", "blocked", "triton"]
"""What computes LSH attention; the values are the same up to rounding.

`eager`: the specification, in plain PyTorch, on any device. `blocked`: PyTorch in blocks that fit a processor's cache,
with a backward pass of its own; made for CPUs, right anywhere. `triton`: kernels for NVIDIA GPUs of compute
capability 8.0 on, heads 16 to 128 wide, in float16, bfloat16 or float32, without dropout of attention weights."""

TRITON_HEADS = range(16, 129)
"""Head widths that the Triton kernels serve."""


class LSHAttention(Frozen):
    """Attention among positions that hash to nearby buckets (paper, section 2). Queries and keys are always shared.

    Attributes:
        kind: Tells attentions apart.
        n_buckets: The bucket count as factors, each even; `(64, 32)` means 2,048 buckets hashed in two digits. `None`
            stands for the paper's and trax's rule, two buckets per chunk, and is replaced by numbers as soon as a
            `ReformerConfig` knows the longest sequence: a config never changes its mind on shorter ones.
        n_hashes: Hash rounds.
        n_hashes_eval: Hash rounds in evaluation mode; `None` for as many as in training. More rounds need no retraining
            (paper, section 5).
        chunk_len: Positions in a chunk of the bucket-sorted sequence; m in the paper.
        n_chunks_before: Chunks that a query sees before its own.
        n_chunks_after: Chunks that a query sees after its own.
        wrap: What lies before the first chunk of a hash round, and after its last.
        same_bucket_only: Whether a query sees only keys of its own bucket within its window (paper, equation 4), or the
            whole window (the authors' code).
        deduplicate: Whether a key met several times counts once, by taking `log N` off its score (paper, appendix), or
            each time (the authors' code).
        score_scale: See `ScoreScale`.
        dropout: Of attention weights.
        save_attention_output: Whether layers that are recomputed in the backward pass, `checkpointed` and `reversible`
            ones, keep what attention gave in training, and do not attend again: a vector of each head, and some numbers
            for each round, per position and layer. A backend with a backward pass of its own must compute it.
        backend: What computes it, see `Backend`. A backend that cannot is an error, here or when it is called; none
            stands in for another.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or a factor of `n_buckets` is odd, or their product above 2^31 - 1, or
            `backend` does not serve the other fields.
    """

    kind: Literal["lsh"] = "lsh"
    n_hashes: Count = 2
    n_hashes_eval: Count | None = None
    chunk_len: Count = 64
    n_chunks_before: Chunks = 1
    n_chunks_after: Chunks = 0
    n_buckets: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    wrap: RoundWrap = "across_rounds"
    same_bucket_only: bool = False
    deduplicate: bool = False
    score_scale: ScoreScale = "unit_key"
    dropout: Rate = 0.0
    save_attention_output: bool = False
    backend: Backend = "blocked"

    @model_validator(mode="after")
    def _backend_serves_it(self) -> Self:
        if self.backend == "triton" and self.dropout:
            raise ValueError(
                f"dropout={self.dropout} of attention weights is not served by backend='triton'; "
                "use 'blocked' or 'eager', or drop out elsewhere"
            )
        if self.backend == "eager" and self.save_attention_output:
            raise ValueError(
                "save_attention_output=True is not served by backend='eager', whose backward pass is autograd's and "
                "needs all scores; use 'blocked' or 'triton'"
            )
        return self

    @field_validator("n_buckets", mode="before")
    @classmethod
    def _one_factor_may_stand_alone(cls, value: Any) -> Any:  # noqa: ANN401  (pydantic hands over whatever was given)
        return (value,) if isinstance(value, int) else value

    @field_validator("n_buckets")
    @classmethod
    def _factors_are_even(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for factor in value or ():
            if factor % 2:
                raise ValueError(
                    f"n_buckets={factor} is odd, but a hash pairs every direction with its opposite; "
                    f"use {factor - 1 or 2} or {factor + 1}"
                )
        return value

    @field_validator("n_buckets")
    @classmethod
    def _ids_fit(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if math.prod(value or ()) > MOST_BUCKETS:
            raise ValueError(f"n_buckets={value} makes more than the {MOST_BUCKETS} buckets that 32 bits can number")
        return value

    @property
    def share_qk(self) -> bool:
        """Whether queries and keys are one projection: always, since both must land in one bucket."""
        return True

    def rounds(self, *, training: bool) -> int:
        """Hash rounds in this mode."""
        return self.n_hashes if training else self.n_hashes_eval or self.n_hashes

    def resolved(self, max_len: int) -> Self:
        """The same attention with its bucket count fixed for sequences of up to `max_len` positions."""
        if self.n_buckets is not None:
            return self
        return self.model_copy(update={"n_buckets": default_bucket_count(max_len, self.chunk_len)})


AnyAttention = Annotated[
    DenseAttention | QueryChunkedAttention | FusedAttention | LocalAttention | LSHAttention, Field(discriminator="kind")
]

Pattern = AnyAttention | Annotated[tuple[AnyAttention, ...], Field(min_length=1)]
"""One attention for all layers, or several that are cycled over them."""


def default_bucket_count(max_len: int, chunk_len: int) -> tuple[int, ...]:
    """Two buckets per chunk (paper, section 2), as one even factor or, above 128 buckets, as two."""
    n_buckets = 2 * max(1, max_len // chunk_len)
    if n_buckets <= LARGEST_PLAIN_BUCKET_COUNT:
        return (n_buckets,)
    first = 2 ** (int(math.log2(n_buckets)) // 2)
    second = math.ceil(n_buckets / first)
    return (first, second + second % 2)
