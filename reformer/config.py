"""The values that define a model. Choosing a variant is choosing a value; nothing here imports torch."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Count = Annotated[int, Field(ge=1, strict=True)]
"""A whole number of at least one."""

Residual = Literal["standard", "checkpointed", "reversible", "single_stream"]
"""How the layers are chained, and what is kept for the backward pass.

`standard`, `checkpointed` and `reversible` compute the same two-stream function (paper, equation 9) and differ only in
what they keep: every activation, each layer's inputs, or the last layer's outputs. `single_stream` is the ordinary
Transformer's `x + f(x)`, the paper's baseline in Figure 3.
"""

LARGEST_PLAIN_BUCKET_COUNT = 128
"""Above this a default bucket count is split into two factors, so that hashing stays cheap beside attention."""

MOST_BUCKETS = 2**31 - 1


class Frozen(BaseModel):
    """A value: immutable, compared by content, and with no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability of dropping an entry: at least 0, below 1."""

Chunks = Annotated[int, Field(ge=0, strict=True)]
"""A number of chunks beside the own one."""

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
    """Every position scores every other; the L x L scores are held in memory. `dropout` is of attention weights."""

    kind: Literal["dense"] = "dense"
    dropout: Rate = 0.0


class QueryChunkedAttention(SelfAttentionBase):
    """Dense attention a chunk of queries at a time, recomputed in the backward pass: the paper's baseline."""

    kind: Literal["dense_query_chunked"] = "dense_query_chunked"
    query_chunk_len: Count = 128
    dropout: Rate = 0.0


class FusedAttention(SelfAttentionBase):
    """Dense attention by PyTorch's fused `scaled_dot_product_attention`, which takes no attention dropout here."""

    kind: Literal["dense_fused"] = "dense_fused"


class LocalAttention(SelfAttentionBase):
    """Attention within a chunk of neighbouring positions and the chunks beside it.

    Attributes:
        kind: Tells attentions apart.
        chunk_len: Positions in a chunk.
        n_chunks_before: Chunks that a query sees before its own.
        n_chunks_after: Chunks that a query sees after its own.
        wrap: Whether the sequence has ends, or its first and last chunk are neighbours (trax and HuggingFace; in a
            causal model without chunks after it changes nothing).
        unseen: What padding gets that sees no key at all: its own value, or the sum of its whole window's values, which
            is what float32 makes of HuggingFace's masked scores. Any other row gets its own value then.
        dropout: Of attention weights.
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


class LSHAttention(Frozen):
    """Attention among positions that hash to nearby buckets (paper, section 2). Queries and keys are always shared.

    Attributes:
        n_buckets: The bucket count as factors, each even; `(64, 32)` means 2,048 buckets hashed in two digits. `None`
            stands for the paper's and trax's rule, two buckets per chunk, and is replaced by numbers as soon as a
            `ReformerConfig` knows the longest sequence: a config never changes its mind on shorter ones.
        n_hashes: Hash rounds.
        n_hashes_eval: Hash rounds in evaluation mode; `None` for as many as in training. More rounds need no retraining
            (paper, section 4).
        chunk_len: Positions in a chunk of the bucket-sorted sequence.
        n_chunks_before: Chunks that a query sees before its own.
        n_chunks_after: Chunks that a query sees after its own.
        wrap: What lies before the first chunk of a hash round, and after its last.
        same_bucket_only: Whether a query sees only keys of its own bucket within its window (paper, equation 4), or the
            whole window (the authors' code).
        deduplicate: Whether a key met several times counts once, by taking `log N` off its score (paper, appendix), or
            each time (the authors' code).
        score_scale: See `ScoreScale`.
        dropout: Of attention weights.
    """

    kind: Literal["lsh"] = "lsh"
    n_hashes: Count = 2
    n_hashes_eval: Count | None = None
    chunk_len: Count = 64
    n_chunks_before: Chunks = 1
    n_chunks_after: Chunks = 0
    n_buckets: tuple[Count, ...] | None = None
    wrap: RoundWrap = "across_rounds"
    same_bucket_only: bool = False
    deduplicate: bool = False
    score_scale: ScoreScale = "unit_key"
    dropout: Rate = 0.0

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


def default_bucket_count(max_len: int, chunk_len: int) -> tuple[int, ...]:
    """Two buckets per chunk (paper, section 2), as one even factor or, above 128 buckets, as two."""
    n_buckets = 2 * max(1, max_len // chunk_len)
    if n_buckets <= LARGEST_PLAIN_BUCKET_COUNT:
        return (n_buckets,)
    first = 2 ** (int(math.log2(n_buckets)) // 2)
    second = math.ceil(n_buckets / first)
    return (first, second + second % 2)


class LearnedPositions(Frozen):
    """One learned vector for each of `max_len` positions."""

    kind: Literal["learned"] = "learned"


class AxialPositions(Frozen):
    """Position vectors glued together from one small table per axis (as in the authors' released code).

    Serves every length up to the product of `shape`.
    """

    kind: Literal["axial"] = "axial"
    shape: tuple[Count, ...]
    dims: tuple[Count, ...]

    @model_validator(mode="after")
    def _one_width_per_axis(self) -> Self:
        if len(self.shape) != len(self.dims):
            raise ValueError(f"axial shape {self.shape} and dims {self.dims} need one entry per axis each")
        return self


class SinusoidalPositions(Frozen):
    """Fixed sines and cosines of falling frequency, added to the embedding; nothing to train.

    Channels 2i and 2i + 1 of position p hold the sine and cosine of `p / base ** (2i / d_model)`.
    """

    kind: Literal["sinusoidal"] = "sinusoidal"
    base: Annotated[float, Field(gt=1)] = 10000.0


class RotaryPositions(Frozen):
    """Queries and keys are rotated by their position, pair of channels by pair; nothing is added to the embedding.

    Hashing sees the vectors before they are rotated, so that buckets depend on content alone. Needs an even head width.
    """

    kind: Literal["rotary"] = "rotary"
    base: Annotated[float, Field(gt=1)] = 10000.0


AnyPositions = Annotated[
    LearnedPositions | AxialPositions | SinusoidalPositions | RotaryPositions, Field(discriminator="kind")
]


class ReformerConfig(Frozen):
    """Everything that defines a model. `attention` and `residual` are the two switches that the ablations turn.

    Attributes:
        vocab_size: Tokens in the vocabulary.
        d_model: Width of each residual stream.
        n_heads: Attention heads.
        d_head: Width of a head; `n_heads * d_head` need not equal `d_model`.
        d_ff: Hidden width of the feed-forward half.
        n_layers: Layers, each an attention half and a feed-forward half.
        max_len: Longest sequence served. Any length from 1 to `max_len` works, without padding by the caller.
        attention: One attention for all layers, or a tuple that is cycled over them.
        residual: How layers are chained and what is kept for the backward pass.
        positions: How a token's place enters.
        activation: Of the feed-forward half; `gelu_tanh` is the approximation that the authors' code uses.
        dropout: Rate, applied inside the feed-forward half and to what each half adds to its stream.
        ff_chunk_len: Positions that go through the feed-forward half at a time, recomputed in the backward pass; `None`
            takes the whole sequence at once.
        loss_chunk_len: Positions whose logits exist at a time while the loss is computed.
        causal: Whether a position sees only the past.
        merge: What the head reads: the mean of the two streams, or both side by side (the authors' language model),
            which makes norm and head twice as wide.
        tie_embeddings: Whether the head's matrix is the embedding table.
        cross_attention: Whether each layer has a half that attends to an encoder's output, between its two others.
        norm_epsilon: Added to the variance by layer normalisation.
    """

    vocab_size: Count
    d_model: Count
    n_heads: Count
    d_head: Count
    d_ff: Count
    n_layers: Count
    max_len: Count
    attention: AnyAttention | tuple[AnyAttention, ...]
    residual: Residual
    positions: AnyPositions = LearnedPositions()
    activation: Literal["gelu", "gelu_tanh", "relu", "swish"] = "gelu"
    dropout: Rate = 0.0
    ff_chunk_len: Count | None = None
    loss_chunk_len: Count = 1024
    causal: bool = True
    merge: Literal["mean", "concatenate"] = "mean"
    tie_embeddings: bool = False
    cross_attention: bool = False
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5

    @model_validator(mode="before")
    @classmethod
    def _default_bucket_counts_are_fixed_here(cls, given: Any) -> Any:  # noqa: ANN401  (whatever was given)
        if not isinstance(given, dict) or not isinstance(given.get("max_len"), int):
            return given
        attention, max_len = given.get("attention"), given["max_len"]
        if isinstance(attention, LSHAttention):
            return given | {"attention": attention.resolved(max_len)}
        if isinstance(attention, tuple | list):
            fixed = tuple(one.resolved(max_len) if isinstance(one, LSHAttention) else one for one in attention)
            return given | {"attention": fixed}
        return given

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        match self.positions:
            case AxialPositions(shape=shape, dims=dims):
                if sum(dims) != self.d_model:
                    raise ValueError(f"axial dims {dims} add up to {sum(dims)}, not to d_model={self.d_model}")
                if math.prod(shape) < self.max_len:
                    raise ValueError(
                        f"max_len={self.max_len} is longer than the {math.prod(shape)} positions of axial shape "
                        f"{shape}; shorten the sequence or enlarge the shape"
                    )
            case RotaryPositions():
                if self.d_head % 2:
                    raise ValueError(
                        f"rotary positions rotate pairs of channels, but d_head={self.d_head} is odd; "
                        f"use {self.d_head + 1}, or other positions"
                    )
            case LearnedPositions() | SinusoidalPositions():
                pass
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.merge == "concatenate" and self.residual == "single_stream":
            raise ValueError("merge='concatenate' needs two streams, but residual='single_stream' has one; use 'mean'")
        if self.merge == "concatenate" and self.tie_embeddings:
            raise ValueError(
                f"tie_embeddings=True needs a head of width d_model={self.d_model}, but merge='concatenate' makes it "
                f"{2 * self.d_model} wide; use merge='mean', or tie_embeddings=False"
            )
        return self

    @model_validator(mode="after")
    def _attentions_fit(self) -> Self:
        for attention in self.attentions:
            if isinstance(attention, FusedAttention) and attention.share_qk and not self.causal:
                raise ValueError(
                    "fused attention with share_qk=True cannot leave out each position's own key when causal=False; "
                    "use kind 'dense' or 'dense_query_chunked', or share_qk=False"
                )
            if isinstance(attention, LSHAttention) and attention.n_buckets is None:
                raise ValueError("an LSH attention that is not an LSHAttention object must state its n_buckets")
        return self

    @property
    def attentions(self) -> tuple[AnyAttention, ...]:
        """The attention of each layer, the pattern repeated as often as needed."""
        pattern = self.attention if isinstance(self.attention, tuple) else (self.attention,)
        return tuple(pattern[layer % len(pattern)] for layer in range(self.n_layers))

    @property
    def d_merged(self) -> int:
        """Width of what the head reads."""
        return 2 * self.d_model if self.merge == "concatenate" else self.d_model

    @property
    def variant(self) -> str:
        """The name of this combination of switches: derived, so name and content cannot disagree."""
        distinct = dict.fromkeys(_switches(attention, self.residual) for attention in self.attentions)
        return "+".join(_VARIANT_NAMES.get(switches, "/".join(map(str, switches))) for switches in distinct)


class EncoderDecoderConfig(Frozen):
    """An encoder that reads a source in both directions, and a decoder that writes while it attends to it.

    Attributes:
        encoder: `causal=False`, without cross-attention. Its `vocab_size` and `max_len` are the source's.
        decoder: `causal=True`, with cross-attention, of the encoder's width.
    """

    encoder: ReformerConfig
    decoder: ReformerConfig

    @model_validator(mode="after")
    def _halves_fit(self) -> Self:
        required = (
            ("encoder.causal", self.encoder.causal, False),
            ("encoder.cross_attention", self.encoder.cross_attention, False),
            ("decoder.causal", self.decoder.causal, True),
            ("decoder.cross_attention", self.decoder.cross_attention, True),
            ("encoder.merge", self.encoder.merge, "mean"),
            ("decoder.d_model", self.decoder.d_model, self.encoder.d_model),
        )
        for name, found, needed in required:
            if found != needed:
                raise ValueError(f"{name}={found!r}, but an encoder-decoder needs {name}={needed!r}")
        return self


class Variant(Frozen):
    """One setting of the two switches."""

    attention: AnyAttention
    residual: Residual


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "dense": Variant(attention=DenseAttention(), residual="standard"),
        "reversible_only": Variant(attention=DenseAttention(), residual="reversible"),
        "lsh_only": Variant(attention=LSHAttention(), residual="standard"),
        "reformer": Variant(attention=LSHAttention(), residual="reversible"),
    }
)
"""The four corners: attention (dense or LSH) x residual (standard or reversible). Neighbours differ in one switch."""

CONTROLS: Mapping[str, Variant] = MappingProxyType(
    {
        "dense_query_chunked": Variant(attention=QueryChunkedAttention(), residual="standard"),
        "dense_fused": Variant(attention=FusedAttention(), residual="standard"),
        "dense_checkpointed": Variant(attention=DenseAttention(), residual="checkpointed"),
        "lsh_checkpointed": Variant(attention=LSHAttention(), residual="checkpointed"),
        "dense_separate_qk": Variant(attention=DenseAttention(share_qk=False), residual="standard"),
        "transformer": Variant(attention=DenseAttention(share_qk=False), residual="single_stream"),
        "local_only": Variant(attention=LocalAttention(), residual="standard"),
    }
)
"""Further named settings without which the four corners could mislead: stronger baselines, and LSH without LSH."""


def _switches(attention: AnyAttention, residual: Residual) -> tuple[str, bool, Residual]:
    return (attention.kind, attention.share_qk, residual)


_VARIANT_NAMES = {
    _switches(variant.attention, variant.residual): name for name, variant in (*VARIANTS.items(), *CONTROLS.items())
}
