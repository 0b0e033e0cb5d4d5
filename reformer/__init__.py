"""The Reformer (Kitaev, Kaiser, Levskaya, ICLR 2020) as a library.

Names carry their shapes as suffixes. The letters, everywhere in this project:

    B batch                      R hash round
    L position, sequence order   N bucket
    S slot, bucket-sorted order  C chunk (of all rounds)
    H head                       W position in a chunk
    K head width                 M position that a chunk attends to
    D model width                F feed-forward width
    V vocabulary                 E position in an encoder's output

`L` and `S` have the same size and a different meaning: the letter is how a reader tells. Importing this package imports
no torch; the names that need it are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reformer.config import (
    CONTROLS,
    VARIANTS,
    AxialPositions,
    DenseAttention,
    EncoderDecoderConfig,
    FusedAttention,
    LearnedPositions,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    ReformerConfig,
    RotaryPositions,
    SinusoidalPositions,
    Variant,
)

if TYPE_CHECKING:
    from reformer.blocks import Memory
    from reformer.decoding import Decoder, decoding_error
    from reformer.encoder_decoder import ReformerEncoderDecoder
    from reformer.generation import Beam, Greedy, Sample, Written, generate
    from reformer.inference import InferenceModel
    from reformer.model import ReformerLM
    from reformer.objective import Objective
    from reformer.reversible import reversible_sequence
    from reformer.reversible_modules import ReadsContext, ReversibleSequence, check_inversion
    from reformer.trunk import Reformer, grid_error

__all__ = [
    "CONTROLS",
    "VARIANTS",
    "AxialPositions",
    "Beam",
    "Decoder",
    "DenseAttention",
    "EncoderDecoderConfig",
    "FusedAttention",
    "Greedy",
    "InferenceModel",
    "LSHAttention",
    "LearnedPositions",
    "LocalAttention",
    "Memory",
    "Objective",
    "QueryChunkedAttention",
    "ReadsContext",
    "Reformer",
    "ReformerConfig",
    "ReformerEncoderDecoder",
    "ReformerLM",
    "ReversibleSequence",
    "RotaryPositions",
    "Sample",
    "SinusoidalPositions",
    "Variant",
    "Written",
    "check_inversion",
    "decoding_error",
    "generate",
    "grid_error",
    "reversible_sequence",
]

_NEEDS_TORCH = {
    "Beam": "reformer.generation",
    "Decoder": "reformer.decoding",
    "Greedy": "reformer.generation",
    "InferenceModel": "reformer.inference",
    "Memory": "reformer.blocks",
    "Objective": "reformer.objective",
    "ReadsContext": "reformer.reversible_modules",
    "Reformer": "reformer.trunk",
    "ReformerEncoderDecoder": "reformer.encoder_decoder",
    "ReformerLM": "reformer.model",
    "ReversibleSequence": "reformer.reversible_modules",
    "Sample": "reformer.generation",
    "Written": "reformer.generation",
    "check_inversion": "reformer.reversible_modules",
    "decoding_error": "reformer.decoding",
    "generate": "reformer.generation",
    "grid_error": "reformer.trunk",
    "reversible_sequence": "reformer.reversible",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (the module protocol)
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'reformer' has no attribute {name!r}")
    return getattr(import_module(_NEEDS_TORCH[name]), name)
