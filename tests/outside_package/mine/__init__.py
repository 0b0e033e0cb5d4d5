"""Linear attention: a contender of another package. Torch is not imported until a cell is measured."""

from typing import TYPE_CHECKING

from ablations.harness.contender import Contender

if TYPE_CHECKING:
    from ablations.harness.cell import Cell

    from .attention import LinearAttention, LinearModel


def attention(cell: "Cell") -> "LinearAttention":
    from .attention import LinearAttention

    return LinearAttention(causal=cell.config.causal)


def model(cell: "Cell") -> "LinearModel":
    from .attention import LinearModel

    return LinearModel(cell.config)


CONTENDER = Contender(attention=attention, model=model, like="dense")
