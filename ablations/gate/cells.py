"""What a gate measures: small cells that between them go through all of the library that takes time."""

from collections.abc import Iterator, Mapping
from typing import Any

from ablations.harness.cell import OUTSIDE, Cell, Mode, Scope, TimeStep
from ablations.harness.contender import Contender
from ablations.harness.experiment import named_variant
from reformer.config import LSHAttention, ReformerConfig

EXPERIMENT = "gate"
READY = "ready"
"""Name of the cell that asks a server for nothing but an answer."""
SIZES: Mapping[str, Any] = {"vocab_size": 256, "d_model": 128, "n_heads": 2, "d_head": 64, "d_ff": 256, "n_layers": 2}
LENGTH = 256
ATTENTION_LENGTH = 1024
ROUNDS = 2
CHUNK = 64


def own_cells() -> tuple[Cell, ...]:
    """Of this project: LSH attention alone, the four corners and a local model in training, and a decoded token."""
    trained = ("dense", "reversible_only", "lsh_only", "reformer", "local_only")
    return (
        attention_cell("ours", "lsh_only", "forward"),
        attention_cell("ours", "lsh_only", "forward_backward"),
        *(model_cell(variant, "training_step") for variant in trained),
        model_cell("reformer", "decode"),
    )


def outside_cells(found: Mapping[str, Contender]) -> tuple[Cell, ...]:
    """Of contenders by name, from packages of their own: the attention alone, and the model in training."""
    return tuple(cell for name, one in found.items() for cell in _of_contender(f"{OUTSIDE}{name}", one))


def _of_contender(implementation: str, contender: Contender) -> Iterator[Cell]:
    variant = "lsh_only" if contender.like == "lsh" else "dense_separate_qk"
    if contender.attention:
        yield attention_cell(implementation, variant, "forward")
        yield attention_cell(implementation, variant, "forward_backward")
    if contender.model:
        yield model_cell(variant, "training_step", implementation=implementation)


def control_cell() -> Cell:
    """The one that the base is also measured against itself with: the longest way through the code.

    Of this project for others too: their base may lack whatever the head has.
    """
    return model_cell("reformer", "training_step")


def ready(cell: Cell) -> Cell:
    """Answered without any work, by a server that can import what is to be measured."""
    return cell.model_copy(update={"experiment": READY})


def name_of(cell: Cell) -> str:
    """As people read it: `reformer training_step`."""
    what = "attention " if cell.scope == "attention" else ""
    contender = "lsh" if (cell.scope, cell.contender) == ("attention", "ours") else cell.contender
    return f"{what}{contender} {cell.mode}"


def attention_cell(implementation: str, variant: str, mode: Mode) -> Cell:
    """A step of attention alone."""
    return _cell(variant, ATTENTION_LENGTH, mode, scope="attention", implementation=implementation)


def model_cell(variant: str, mode: Mode, *, implementation: str = "ours") -> Cell:
    """A step of a whole model."""
    return _cell(variant, LENGTH, mode, scope="model", implementation=implementation)


def _cell(variant: str, length: int, mode: Mode, *, scope: Scope, implementation: str) -> Cell:
    return Cell(
        experiment=EXPERIMENT,
        config=_config(variant, length),
        workload=TimeStep(mode=mode, min_samples=7, seconds=0.5),
        batch=1,
        length=length,
        device="cpu",
        seed=0,
        scope=scope,
        implementation=implementation,
    )


def _config(variant: str, length: int) -> ReformerConfig:
    attention, residual = named_variant(variant)
    if isinstance(attention, LSHAttention):
        attention = LSHAttention(n_hashes=ROUNDS, chunk_len=CHUNK)
    return ReformerConfig(**SIZES, max_len=length, attention=attention, residual=residual)
