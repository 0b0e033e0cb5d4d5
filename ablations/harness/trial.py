"""Something that takes steps: what every implementation makes of a cell."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ablations.harness.cell import Mode
from ablations.harness.errors import UnsupportedError

LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Trial:
    """A computation on its device with one batch of random input. Time and memory do not depend on what is in it.

    Attributes:
        output: A loss, or what an attention returns.
        gradient: Of what comes after `output`; `None` for a loss.
        wanted: What gradients are computed of: a model's parameters, or an attention's inputs.
        device: Where.
        n_tokens: Of a step.
    """

    output: Callable[[], Tensor]
    gradient: Tensor | None
    wanted: tuple[Tensor, ...]
    device: torch.device
    n_tokens: int

    def step(self, mode: Mode) -> Callable[[], None]:
        """A function that takes one step and checks nothing."""
        match mode:
            case "forward":
                return self._forward
            case "forward_backward":
                return self._forward_backward
            case "forward_recorded" | "backward" | "decode":
                raise UnsupportedError(f"mode={mode!r} is not measured yet")
            case "training_step":
                # Fused: the fastest there is, and without temporaries that would hide the peak of anything else.
                return self._training_step(torch.optim.Adam(self.wanted, lr=LEARNING_RATE, fused=True))

    def clear_gradients(self) -> None:
        """Leave no gradient behind."""
        for tensor in self.wanted:
            tensor.grad = None

    def check(self) -> None:
        """What was measured works.

        Raises:
            RuntimeError: Its output is not finite.
        """
        with torch.no_grad():
            if not bool(self.output().isfinite().all()):
                raise RuntimeError("the output of what was measured is not finite")

    @property
    def gradients(self) -> tuple[Tensor, ...]:
        """Those there are."""
        return tuple(tensor.grad for tensor in self.wanted if tensor.grad is not None)

    def _forward(self) -> None:
        with torch.no_grad():
            self.output()

    def _forward_backward(self) -> None:
        self.output().backward(self.gradient)

    def _training_step(self, optimiser: torch.optim.Optimizer) -> Callable[[], None]:
        def step() -> None:
            self._forward_backward()
            optimiser.step()

        return step
