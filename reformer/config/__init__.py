"""The values that define a model. Choosing a variant is choosing a value; nothing here imports torch."""

from reformer.config.attention import (
    LARGEST_PLAIN_BUCKET_COUNT,
    MOST_BUCKETS,
    TRITON_HEADS,
    AnyAttention,
    Backend,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    Pattern,
    QueryChunkedAttention,
    RoundWrap,
    ScoreScale,
    default_bucket_count,
)
from reformer.config.model import (
    EncoderDecoderConfig,
    ReformerConfig,
)
from reformer.config.positions import (
    AnyPositions,
    AxialPositions,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
)
from reformer.config.values import (
    Chunks,
    Count,
    Frozen,
    Rate,
)
from reformer.config.variants import (
    CONTROLS,
    VARIANTS,
    Residual,
    Variant,
)

__all__ = [
    "CONTROLS",
    "LARGEST_PLAIN_BUCKET_COUNT",
    "MOST_BUCKETS",
    "TRITON_HEADS",
    "VARIANTS",
    "AnyAttention",
    "AnyPositions",
    "AxialPositions",
    "Backend",
    "Chunks",
    "Count",
    "DenseAttention",
    "EncoderDecoderConfig",
    "Frozen",
    "FusedAttention",
    "LSHAttention",
    "LearnedPositions",
    "LocalAttention",
    "Pattern",
    "QueryChunkedAttention",
    "Rate",
    "ReformerConfig",
    "Residual",
    "RotaryPositions",
    "RoundWrap",
    "ScoreScale",
    "SinusoidalPositions",
    "Variant",
    "default_bucket_count",
]
