"""Something that takes steps: what every implementation makes of a cell."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ablations.harness.cell import Mode
from ablations.harness.errors import UnsupportedError
from reformer.decoding import Decoder

LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Step:
    """One step of a trial: call it to take the step.

    Attributes:
        before: To be called before each step and not measured: clears gradients and what else the last one left.
        take: The step.
        output: What the step computes, with every random draw fixed: the same each time unless something has changed.
        n_tokens: That a step takes in.
        moves_output: Whether steps change what is computed, as those do that train.
        work_before: Why steps cannot follow each other with nothing in between; `None` if they can.
        optimiser: That a step trains with; `None` if it trains nothing.
    """

    before: Callable[[], None]
    take: Callable[[], None]
    output: Callable[[], Tensor]
    n_tokens: int
    moves_output: bool = False
    work_before: str | None = None
    optimiser: torch.optim.Optimizer | None = None

    def __call__(self) -> None:
        """Take the step."""
        self.take()

    @torch.no_grad()
    def checked(self) -> Tensor:
        """The output as it is now.

        Raises:
            RuntimeError: It is not finite.
        """
        output = self.output()
        if not bool(output.isfinite().all()):
            raise RuntimeError("the output of what was measured is not finite")
        return output

    def check_since(self, earlier: Tensor) -> None:
        """What was measured works, and did what its mode says: it left the output alone, or trained.

        Draws are fixed and forward passes repeat to the bit, so that any difference is one of parameters, inputs or
        caches. The parameters of a training step must have moved, and with them the loss.

        Args:
            earlier: What `checked` returned before the steps were taken.

        Raises:
            RuntimeError: The output is not finite, or changed, or did not though it should.
        """
        same = torch.equal(self.checked(), earlier)
        if same and self.moves_output:
            raise RuntimeError("the output is what it was before the steps: they trained nothing")
        if not same and not self.moves_output:
            raise RuntimeError(
                "the output is not what it was before the steps, under the same draws: they left something behind"
            )


@dataclass(frozen=True)
class Decoding:
    """A text that was read into a cache, and the tokens to be added to it, one for each sequence."""

    decoder: Decoder
    token_B: Tensor

    def once(self) -> Tensor:
        """The logits after the tokens. The text stays as it was: a copy of the decoder takes the step.

        The copy shares the cache, in which it writes behind the text, each time the same in the same place; the length
        of what was read is its own. So every step adds a token to the same text, at no cost that grows with it.
        """
        return copy.copy(self.decoder).step(self.token_B)


@dataclass(frozen=True)
class Trial:
    """A computation on its device with one batch of random input. Time and memory do not depend on what is in it.

    Attributes:
        output: A loss, or what an attention returns.
        repeatable: The same with every random draw fixed, so that it is equal each time unless something has changed.
        gradient: Of what comes after `output`; `None` for a loss.
        wanted: What gradients are computed of: a model's parameters, or an attention's inputs.
        device: Where.
        n_tokens: Of a step, but for one that decodes.
        n_sequences: Of a step; when decoding, also its tokens.
        decoding: Reads the input but for its last position; `None` for what has no cache of this project.
    """

    output: Callable[[], Tensor]
    repeatable: Callable[[], Tensor]
    gradient: Tensor | None
    wanted: tuple[Tensor, ...]
    device: torch.device
    n_tokens: int
    n_sequences: int
    decoding: Callable[[], Decoding] | None = None

    def step(self, mode: Mode) -> Step:
        """Takes one step each time it is called, and checks nothing.

        Raises:
            UnsupportedError: There is no such step of this computation.
        """
        match mode:
            case "forward":
                return self._step(take=self._forward)
            case "forward_recorded":
                return self._forward_recorded_step()
            case "backward":
                return self._backward_step()
            case "forward_backward":
                return self._step(take=self._forward_backward)
            case "training_step":
                return self._training_step()
            case "decode":
                return self._decode_step()

    def clear_gradients(self) -> None:
        """Leave no gradient behind."""
        for tensor in self.wanted:
            tensor.grad = None

    def check(self) -> None:
        """What was measured works.

        Raises:
            RuntimeError: Its output is not finite.
        """
        self._step(take=self._forward).checked()

    @property
    def gradients(self) -> tuple[Tensor, ...]:
        """Those there are."""
        return tuple(tensor.grad for tensor in self.wanted if tensor.grad is not None)

    def _step(self, *, take: Callable[[], None]) -> Step:
        return Step(before=self.clear_gradients, take=take, output=self.repeatable, n_tokens=self.n_tokens)

    def _forward(self) -> None:
        with torch.no_grad():
            self.output()

    def _forward_recorded_step(self) -> Step:
        kept: list[Tensor] = []

        def before() -> None:
            kept.clear()
            self.clear_gradients()

        # Kept until the step is over: to let go of all that was recorded takes time and is no part of it.
        return replace(self._step(take=lambda: kept.append(self.output())), before=before)

    def _backward_step(self) -> Step:
        recorded: list[Tensor] = []

        def before() -> None:
            recorded.clear()
            self.clear_gradients()
            recorded.append(self.output())

        return replace(
            self._step(take=lambda: recorded.pop().backward(self.gradient)),
            before=before,
            work_before="no backward pass follows another without a forward pass in between",
        )

    def _forward_backward(self) -> None:
        self.output().backward(self.gradient)

    def _training_step(self) -> Step:
        # Fused: the fastest there is, and without temporaries that would hide the peak of anything else.
        optimiser = torch.optim.Adam(self.wanted, lr=LEARNING_RATE, fused=True)

        def take() -> None:
            self._forward_backward()
            optimiser.step()

        return replace(self._step(take=take), moves_output=True, optimiser=optimiser)

    def _decode_step(self) -> Step:
        if self.decoding is None:
            raise UnsupportedError(
                "decode is measured with this project's cache, which a whole model of ours alone has"
            )
        decoding = self.decoding()

        def take() -> None:
            decoding.once()

        return Step(before=self.clear_gradients, take=take, output=decoding.once, n_tokens=self.n_sequences)
