"""From a cell to something that takes steps: whose code it is, and of what."""

from typing import assert_never, cast

from ablations.harness.cell import Cell, Implementation
from ablations.harness.implementations import dense, huggingface, lucidrains, ours, outside
from ablations.harness.trial import Trial


def build_trial(cell: Cell) -> Trial:
    """The cell's computation and input.

    Raises:
        MissingExtraError: The implementation is not installed.
        UnsupportedError: It cannot do what the cell asks for, or not on this device.
        UserError: It is another package's, under a name that it cannot have.
        ContenderError: It is another package's and cannot be loaded, or returns what it should not.
    """
    whole = cell.scope == "model"
    if cell.is_outside:
        return outside.model_trial(cell) if whole else outside.attention_trial(cell)
    match implementation := cast(Implementation, cell.implementation):
        case "ours":
            return ours.model_trial(cell) if whole else ours.attention_trial(cell)
        case "huggingface":
            return huggingface.model_trial(cell) if whole else huggingface.attention_trial(cell)
        case "lucidrains":
            return lucidrains.model_trial(cell) if whole else lucidrains.attention_trial(cell)
        case "query_chunked":
            return dense.query_chunked_trial(cell)
        case "flex":
            return dense.flex_trial(cell)
        case "sdpa_math" | "sdpa_flash" | "sdpa_efficient" | "sdpa_cudnn":
            return dense.sdpa_trial(cell, implementation)
        case _:
            assert_never(implementation)
