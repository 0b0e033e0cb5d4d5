"""The small cells whose instructions are counted: a step of each is some ten million of them."""

from typing import Any

from ablations.harness.cell import Cell, TimeStep
from reformer.config import VARIANTS, LSHAttention, ReformerConfig

SIZES: dict[str, Any] = {"vocab_size": 256, "d_model": 32, "n_heads": 2, "d_head": 16, "d_ff": 64, "n_layers": 1}
LENGTH = 128


def cells() -> dict[str, Cell]:
    """By name, in the order in which they are counted."""
    lsh = ReformerConfig(**SIZES, max_len=LENGTH, attention=LSHAttention(), residual="standard")
    return {
        "dense": _cell(_model("dense")),
        "lsh attention": _cell(lsh, scope="attention"),
        "reversible layer": _cell(_model("reversible_only")),
        "reformer": _cell(_model("reformer")),
    }


def _model(variant: str) -> ReformerConfig:
    chosen = VARIANTS[variant]
    return ReformerConfig(**SIZES, max_len=LENGTH, attention=chosen.attention, residual=chosen.residual)


def _cell(config: ReformerConfig, **more: Any) -> Cell:  # noqa: ANN401  (fields of a cell)
    # No optimiser: the first one that is made imports a compiler, which takes longer under valgrind than all the rest.
    workload = TimeStep(mode="forward_backward")
    return Cell(
        experiment="instructions",
        config=config,
        workload=workload,
        batch=1,
        length=LENGTH,
        device="cpu",
        seed=0,
        **more,
    )
