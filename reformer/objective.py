"""A model whose forward pass is its loss, as wrappers that only see the forward pass need it."""

from typing import Any

from torch import Tensor, nn

from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.model import ReformerLM


class Objective(nn.Module):
    """`model.loss` as a module, for `DistributedDataParallel`, which sets up the backward pass in its forward pass.

    The chunked loss then never holds all logits, as it does not without the wrapper.

    Args:
        model: Whose parameters these are; it is not copied.
    """

    def __init__(self, model: ReformerLM | ReformerEncoderDecoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Tensor, **options: Any) -> Tensor:  # noqa: ANN401  (those of the model's loss)
        """The mean cross-entropy in nats; arguments, result and errors as of `model.loss`."""
        return self.model.loss(*arguments, **options)
