"""Everything that defines a model."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from reformer.config.attention import TRITON_HEADS, AnyAttention, FusedAttention, LSHAttention, Pattern
from reformer.config.positions import (
    AnyPositions,
    AxialPositions,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
)
from reformer.config.values import Count, Frozen, Rate
from reformer.config.variants import VARIANT_NAMES, Residual, switches_of

MOST_LAYERS = 10_000
"""A bound for mistakes: a config is checked layer by layer."""


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
        attention: One attention for all layers, or a tuple that is cycled over them (paper, section 2).
        residual: How layers are chained and what is kept for the backward pass (paper, section 3, equation 9).
        positions: How a token's place enters.
        activation: Of the feed-forward half; `gelu_tanh` is the approximation that the authors' code uses.
        dropout: Rate, applied inside the feed-forward half and to what each half adds to its stream.
        ff_chunk_len: Positions that go through the feed-forward half at a time, recomputed in the backward pass; `None`
            takes the whole sequence at once (paper, section 3, "Chunking").
        loss_chunk_len: Positions whose logits exist at a time while the loss is computed.
        causal: Whether a position sees only the past.
        merge: What the head reads: the mean of the two streams, or both side by side (the authors' language model),
            which makes norm and head twice as wide.
        tie_embeddings: Whether the head's matrix is the embedding table.
        cross_attention: Whether each layer has a half that attends to an encoder's output, between its two others.
        norm_epsilon: Added to the variance by layer normalisation.
        grid_bits: With it, both streams hold multiples of 2 ** -grid_bits only: the embedding, and what each half adds,
            are rounded to that grid, and gradients pass as if they were not. Sums are then exact, so that "reversible"
            rebuilds activations bit for bit, and keeps no buckets for it; "standard" and "checkpointed" compute the
            same function. A float32 stream must stay below 2 ** (24 - grid_bits) in absolute value, a float64 one
            below 2 ** (53 - grid_bits); one that leaves this range, or is not finite, is an error. 12 leaves room up
            to 4096. What is computed in another order, as by cached decoding, may differ by a step of the grid.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or the parts do not fit: axial positions of another width than
            `d_model` or shorter than `max_len`, rotary positions with an odd `d_head`, `merge="concatenate"` with one
            stream or tied embeddings, `grid_bits` with one stream, fused attention with `share_qk=True` and
            `causal=False`, or an LSH attention that is given as a dict without `n_buckets`. Copies by `model_copy` are
            not checked.
    """

    vocab_size: Count
    d_model: Count
    n_heads: Count
    d_head: Count
    d_ff: Count
    n_layers: Annotated[Count, Field(le=MOST_LAYERS)]
    max_len: Count
    attention: Pattern
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
    grid_bits: Annotated[int, Field(ge=1, le=22, strict=True)] | None = None

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
    def _grid_fits(self) -> Self:
        if self.grid_bits is not None and self.residual == "single_stream":
            raise ValueError(
                f"grid_bits={self.grid_bits} makes the sums of two streams exact so that they can be undone, but "
                "residual='single_stream' undoes none; use grid_bits=None, or residual='reversible'"
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
            if (
                isinstance(attention, LSHAttention)
                and attention.backend == "triton"
                and self.d_head not in TRITON_HEADS
            ):
                raise ValueError(
                    f"d_head={self.d_head} is not served by attention.backend='triton', which takes heads from "
                    f"{TRITON_HEADS[0]} to {TRITON_HEADS[-1]} wide; use backend 'blocked' or 'eager'"
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
        distinct = dict.fromkeys(switches_of(attention, self.residual) for attention in self.attentions)
        return "+".join(VARIANT_NAMES.get(switches, "/".join(map(str, switches))) for switches in distinct)


class EncoderDecoderConfig(Frozen):
    """An encoder that reads a source in both directions, and a decoder that writes while it attends to it.

    Attributes:
        encoder: `causal=False`, without cross-attention. Its `vocab_size` and `max_len` are the source's.
        decoder: `causal=True`, with cross-attention, of the encoder's width `d_model`.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or a half is not as described, or the encoder's `merge` is not "mean";
            names the field, its value and the one needed.
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
