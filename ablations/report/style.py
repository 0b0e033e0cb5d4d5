"""One look per variant, everywhere: colour and marker are looked up here and nowhere else."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from ablations.harness.cell import Implementation
from reformer.config import CONTROLS, VARIANTS


@dataclass(frozen=True)
class Look:
    """Colour (hexadecimal) and matplotlib marker."""

    colour: str
    marker: str


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        # The corners in the strongest colours of Okabe and Ito's palette, controls in the rest and in Tol's muted ones.
        "dense": Look("#000000", "o"),
        "reversible_only": Look("#0072B2", "s"),
        "lsh_only": Look("#E69F00", "^"),
        "reformer": Look("#D55E00", "D"),
        "dense_query_chunked": Look("#56B4E9", "v"),
        "dense_fused": Look("#009E73", "<"),
        "dense_checkpointed": Look("#CC79A7", ">"),
        "lsh_checkpointed": Look("#882255", "p"),
        "dense_separate_qk": Look("#7F7F7F", "*"),
        "transformer": Look("#332288", "h"),
        "reversible_separate_qk": Look("#AA4499", "H"),
        "local_only": Look("#999933", "d"),
        "local_reversible": Look("#117733", "X"),
        # Whose code, where several stand side by side: ours looks like the reformer.
        "ours": Look("#D55E00", "D"),
        "huggingface": Look("#0072B2", "s"),
        "lucidrains": Look("#009E73", "^"),
        "query_chunked": Look("#999933", "d"),
        "sdpa_math": Look("#7F7F7F", "o"),
        "sdpa_flash": Look("#000000", "v"),
        "sdpa_efficient": Look("#56B4E9", "<"),
        "sdpa_cudnn": Look("#CC79A7", ">"),
        "flex": Look("#332288", "h"),
    }
)

_FALLBACKS = (Look("#5F6B6D", "8"), Look("#8C6D31", "P"), Look("#7B4173", "H"), Look("#A0522D", "X"))

_ORDER = (*VARIANTS, *CONTROLS, *get_args(Implementation))


def look(variant: str) -> Look:
    """The look of a variant; one not in the table gets a muted look that follows from its name alone."""
    return LOOKS.get(variant) or _FALLBACKS[zlib.crc32(variant.encode()) % len(_FALLBACKS)]


def rank(variant: str) -> tuple[int, str]:
    """Sort key: the four corners, the controls, the implementations, then others by name."""
    return (_ORDER.index(variant) if variant in _ORDER else len(_ORDER), variant)


STATUS_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ok": "ok",
        "oom": "out of memory",
        "killed": "killed",
        "timeout": "timed out",
        "error": "error",
        "unsupported": "unsupported",
        "not_run": "not run",
        "missing": "missing",
    }
)
"""Every status that a planned cell can have, in the order of reports; `missing` is a planned cell without a record."""
