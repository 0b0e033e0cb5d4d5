"""Inputs, the same for every implementation."""

from collections.abc import Callable

import torch
from torch import Tensor

from ablations.harness.cell import Cell
from reformer.randomness import derived_seed


def torch_dtype(cell: Cell) -> torch.dtype:
    """The cell's type of numbers."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[cell.dtype]


def tokens(cell: Cell) -> tuple[Tensor, Tensor]:
    """A batch of random tokens, and the ones that follow them."""
    generator = torch.Generator().manual_seed(derived_seed(cell.seed, "tokens"))
    token_BL = torch.randint(cell.config.vocab_size, (cell.batch, cell.length + 1), generator=generator).to(cell.device)
    return token_BL[:, :-1], token_BL[:, 1:]


def vectors(cell: Cell, count: int) -> tuple[Tensor, ...]:
    """So many different tensors of random numbers, each BHLK; asked for fewer, they are the first of these."""
    generator = generator_of(cell, "vectors")
    size = (cell.batch, cell.config.n_heads, cell.length, cell.config.d_head)
    return tuple(
        torch.randn(size, generator=generator, device=cell.device, dtype=torch_dtype(cell)) for _ in range(count)
    )


def generator_of(cell: Cell, purpose: str) -> torch.Generator:
    """A source of randomness on the cell's device."""
    return torch.Generator(cell.device).manual_seed(derived_seed(cell.seed, purpose))


def drawn_alike(output: Callable[[], Tensor], cell: Cell) -> Callable[[], Tensor]:
    """The output of code that draws from the stream of the process, with the same draws each time.

    The stream is put back to where it was.
    """

    def alike() -> Tensor:
        with torch.random.fork_rng(devices=[] if cell.device == "cpu" else [torch.cuda.current_device()]):
            torch.manual_seed(derived_seed(cell.seed, "alike"))
            return output()

    return alike
