"""From a cell's task to what is trained, and on what."""

from pathlib import Path
from typing import assert_never

import torch

from ablations.data import enwik8, images64
from ablations.harness.cell import Cell
from ablations.harness.implementations.inputs import torch_dtype
from ablations.harness.implementations.ours import build_model
from ablations.harness.training import Duplication, Enwik8, Images64, Multi30k, Task, encoder_of
from ablations.harness.workloads.learning.batches import Material, Model
from ablations.harness.workloads.learning.images import Pictures
from ablations.harness.workloads.learning.sentences import Sentences
from ablations.harness.workloads.learning.text import Text
from ablations.harness.workloads.learning.words import Words
from reformer.config import EncoderDecoderConfig
from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.randomness import derived_seed


def build_material(cell: Cell, task: Task, data: Path | None) -> Material:
    """What the task's sequences are made from.

    Args:
        cell: Whose batches, lengths and seed.
        task: Of the cell.
        data: Where the task's data set lies; `None` where it has none.
    """
    match task:
        case Duplication():
            return Words(task, cell)
        case Enwik8():
            return Text(enwik8.read_split(_there(data)), cell)
        case Images64():
            return Pictures(images64.read_split(_there(data)), cell)
        case Multi30k():
            return Sentences.read(_there(data), cell)
        case _:
            assert_never(task)


def _there(data: Path | None) -> Path:
    assert data is not None, "the runner locates the data before it asks for a learning cell"
    return data


def build_learner(cell: Cell, task: Task) -> Model:
    """The cell's model with its initial weights: drawn on the CPU, so that they are the same on every device."""
    if not isinstance(task, Multi30k):
        return build_model(cell)
    config = EncoderDecoderConfig(encoder=encoder_of(cell.config), decoder=cell.config)
    generator = torch.Generator().manual_seed(derived_seed(cell.seed, "weights"))
    return ReformerEncoderDecoder(config, generator).to(device=cell.device, dtype=torch_dtype(cell))
