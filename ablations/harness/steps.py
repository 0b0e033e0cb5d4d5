"""From a cell to something that can be run: the model, its input, and one step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ablations.harness.cell import Cell, Mode
from reformer.model import ReformerLM
from reformer.randomness import derived_seed


@dataclass(frozen=True)
class Trial:
    """A model on its device with one batch of random tokens. Time and memory do not depend on which tokens they are."""

    model: ReformerLM
    token_BL: Tensor
    target_BL: Tensor
    seed: int

    def step(self, mode: Mode) -> Callable[[], None]:
        """A function that takes one step and checks nothing."""
        match mode:
            case "forward":
                return self._forward
            case "forward_backward":
                return self._forward_backward

    def clear_gradients(self) -> None:
        """Leave no gradient behind."""
        self.model.zero_grad(set_to_none=True)

    def loss(self) -> float:
        """The loss, for a check that what was measured is a working model."""
        with torch.no_grad():
            return float(self.model.loss(self.token_BL, self.target_BL, seed=self.seed))

    def _forward(self) -> None:
        with torch.no_grad():
            self.model.loss(self.token_BL, self.target_BL, seed=self.seed)

    def _forward_backward(self) -> None:
        self.model.loss(self.token_BL, self.target_BL, seed=self.seed).backward()


def build_model(cell: Cell) -> ReformerLM:
    """The cell's model with its initial weights: drawn on the CPU, so that they are the same on every device."""
    generator = torch.Generator().manual_seed(derived_seed(cell.seed, "weights"))
    return ReformerLM(cell.config, generator).to(cell.device)


def build_trial(cell: Cell) -> Trial:
    """The cell's model and input."""
    generator = torch.Generator().manual_seed(derived_seed(cell.seed, "tokens"))
    tokens = torch.randint(cell.config.vocab_size, (cell.batch, cell.length + 1), generator=generator).to(cell.device)
    return Trial(build_model(cell), tokens[:, :-1], tokens[:, 1:], derived_seed(cell.seed, "call"))
