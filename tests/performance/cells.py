"""The small cells whose counters are kept, and what people call them."""

from typing import Any

from ablations.harness.cell import Cell, Mode, PeakMemory
from reformer.config import VARIANTS, Backend, LSHAttention, ReformerConfig

SIZES: dict[str, Any] = {"vocab_size": 256, "d_model": 64, "n_heads": 2, "d_head": 32, "d_ff": 128}
LENGTHS = (512, 1024, 2048)
LAYERS, DEEP = 2, 4


def model(variant: str, *, length: int = LENGTHS[0], n_layers: int = LAYERS, mode: Mode = "forward_backward") -> Cell:
    """A step of a whole model."""
    chosen = VARIANTS[variant]
    sizes = {**SIZES, "max_len": length, "n_layers": n_layers}
    return _cell(ReformerConfig(**sizes, attention=chosen.attention, residual=chosen.residual), mode)


def attention(backend: Backend) -> Cell:
    """A step of LSH attention alone."""
    sizes = {**SIZES, "max_len": LENGTHS[1], "n_layers": 1}
    lsh = LSHAttention(backend=backend)
    return _cell(ReformerConfig(**sizes, attention=lsh, residual="standard"), "forward_backward", scope="attention")


def _cell(config: ReformerConfig, mode: Mode, **more: Any) -> Cell:  # noqa: ANN401  (fields of a cell)
    return Cell(
        experiment="counters",
        config=config,
        workload=PeakMemory(mode=mode, resident=False),
        batch=1,
        length=config.max_len,
        device="cpu",
        seed=0,
        **more,
    )


CELLS = (
    *(model(variant, length=length) for variant in VARIANTS for length in LENGTHS),
    *(model(variant, n_layers=DEEP) for variant in VARIANTS),
    *(model(variant, mode="training_step") for variant in VARIANTS),
    attention("blocked"),
    attention("eager"),
    model("reformer", mode="decode"),
)


def key(cell: Cell) -> str:
    """As people read it, and its id."""
    return f"{name(cell)} ({cell.id})"


def name(cell: Cell) -> str:
    """As people read it."""
    lsh = cell.config.attentions[0]
    alone = cell.scope == "attention"
    what = f"attention {lsh.backend}" if alone and isinstance(lsh, LSHAttention) else cell.contender
    return f"{what} {cell.mode} length={cell.length} n_layers={cell.config.n_layers}"
