"""What a model is trained and evaluated on, whatever the task."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.model import ReformerLM

Model = ReformerLM | ReformerEncoderDecoder


class Batch(NamedTuple):
    """Sequences, and what is to be predicted.

    Attributes:
        inputs: What the model reads, in the order of its `forward`.
        target_BL: The right token at each position.
        counted_BL: Which of them count; `None` for all.
        masks: Further arguments of the model's `forward`, by name.
    """

    inputs: tuple[Tensor, ...]
    target_BL: Tensor
    counted_BL: Tensor | None = None
    masks: dict[str, Tensor] = {}  # noqa: RUF012  (never changed)

    @property
    def n_counted(self) -> int:
        """Targets that count."""
        return self.target_BL.numel() if self.counted_BL is None else int(self.counted_BL.sum())

    @property
    def n_tokens(self) -> int:
        """Tokens that the model reads, padding among them."""
        return sum(one.numel() for one in self.inputs)

    def loss(self, model: Model, *, seed: int) -> Tensor:
        """Mean cross-entropy of the targets that count, in nats."""
        model_loss: Any = model.loss
        loss: Tensor = model_loss(*self.inputs, self.target_BL, seed=seed, counted_BL=self.counted_BL, **self.masks)
        return loss

    def n_right(self, model: Model, *, seed: int) -> int:
        """Targets that count and that the model gives the highest probability."""
        right_BL = model(*self.inputs, seed=seed, **self.masks).argmax(-1) == self.target_BL
        return int((right_BL if self.counted_BL is None else right_BL & self.counted_BL).sum())

    def to(self, device: str) -> "Batch":
        """The same on that device."""
        counted_BL = None if self.counted_BL is None else self.counted_BL.to(device)
        masks = {name: mask.to(device) for name, mask in self.masks.items()}
        return Batch(tuple(one.to(device) for one in self.inputs), self.target_BL.to(device), counted_BL, masks)


class Material(Protocol):
    """Where a task's sequences come from. What a step is trained on follows from seed and step alone."""

    @property
    def description(self) -> str:
        """What is trained on and what held out, in words."""

    @property
    def asks_for_accuracy(self) -> bool:
        """Whether evaluations count right predictions."""

    def training(self, step: int) -> Batch:
        """The batch of that step, counted from 1."""

    def held_out(self, windows: int) -> Iterator[Batch]:
        """Batches of so many sequences together, the same each time, none of them trained on."""
