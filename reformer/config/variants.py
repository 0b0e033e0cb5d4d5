"""The two switches that the ablations turn, and the names of their settings."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from reformer.config.attention import (
    AnyAttention,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
)
from reformer.config.values import Frozen

Residual = Literal["standard", "checkpointed", "reversible", "single_stream"]
"""How the layers are chained, and what is kept for the backward pass.

`standard`, `checkpointed` and `reversible` compute the same two-stream function (paper, equation 9) and differ only in
what they keep: every activation, each layer's inputs, or the last layer's outputs. `single_stream` is the ordinary
Transformer's `x + f(x)`, the paper's baseline in Figure 3.
"""


class Variant(Frozen):
    """One setting of the two switches.

    Attributes:
        attention: Of all layers (paper, section 2).
        residual: How they are chained (paper, section 3), see `Residual`.

    Raises:
        pydantic.ValidationError: As in `Frozen`.
    """

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
"""The four corners: attention (dense or LSH) x residual (standard or reversible). Neighbours differ in one switch.

The paper's Table 3 compares the same switches by memory and time.
"""

CONTROLS: Mapping[str, Variant] = MappingProxyType(
    {
        "dense_query_chunked": Variant(attention=QueryChunkedAttention(), residual="standard"),
        "dense_fused": Variant(attention=FusedAttention(), residual="standard"),
        "dense_checkpointed": Variant(attention=DenseAttention(), residual="checkpointed"),
        "lsh_checkpointed": Variant(attention=LSHAttention(), residual="checkpointed"),
        "dense_separate_qk": Variant(attention=DenseAttention(share_qk=False), residual="standard"),
        "transformer": Variant(attention=DenseAttention(share_qk=False), residual="single_stream"),
        "reversible_separate_qk": Variant(attention=DenseAttention(share_qk=False), residual="reversible"),
        "local_only": Variant(attention=LocalAttention(), residual="standard"),
        "local_reversible": Variant(attention=LocalAttention(), residual="reversible"),
    }
)
"""Further named settings without which the four corners could mislead: stronger baselines, and LSH without LSH."""


def switches_of(attention: AnyAttention, residual: Residual) -> tuple[str, bool, Residual]:
    """What tells variants apart."""
    return (attention.kind, attention.share_qk, residual)


VARIANT_NAMES = {
    switches_of(variant.attention, variant.residual): name for name, variant in (*VARIANTS.items(), *CONTROLS.items())
}
