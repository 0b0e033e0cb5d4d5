"""Encoder and decoder joined: sequence to sequence."""

import torch
from torch import Tensor, nn

from reformer.blocks import Memory
from reformer.checks import check_mask
from reformer.config import EncoderDecoderConfig
from reformer.model import Reformer, ReformerLM
from reformer.randomness import derived_seed


class ReformerEncoderDecoder(nn.Module):
    """A Reformer that reads a source in both directions and writes a target from left to right.

    Either half may use any attention and any residual; cross-attention is dense. Each encoder layer is run backward
    once, whatever the depth of the decoder: decoder layers hand their gradients for the encoder's output up as they
    arrive, and the encoder starts when they are complete.
    """

    def __init__(self, config: EncoderDecoderConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.encoder = Reformer(config.encoder, generator)
        self.decoder = ReformerLM(config.decoder, generator)

    def forward(
        self,
        source_BE: Tensor,
        token_BL: Tensor,
        *,
        seed: int,
        source_valid_BE: Tensor | None = None,
        valid_BL: Tensor | None = None,
    ) -> Tensor:
        """Logits for the token after each target position.

        Args:
            source_BE: int64 source tokens, up to `config.encoder.max_len`.
            token_BL: int64 target tokens so far, up to `config.decoder.max_len`.
            seed: Everything random in this call follows from it.
            source_valid_BE: bool, false where the source is padding.
            valid_BL: bool, false where the target is padding.

        Returns:
            logit_BLV.

        Raises:
            ValueError: An argument is not as described; names it.
        """
        memory = self.encode(source_BE, seed=seed, valid_BE=source_valid_BE)
        logit_BLV: Tensor = self.decoder(token_BL, seed=derived_seed(seed, "decoder"), valid_BL=valid_BL, memory=memory)
        return logit_BLV

    def loss(
        self,
        source_BE: Tensor,
        token_BL: Tensor,
        target_BL: Tensor,
        *,
        seed: int,
        source_valid_BE: Tensor | None = None,
        valid_BL: Tensor | None = None,
        counted_BL: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats of predicting `target_BL`; `counted_BL` says which targets count, `None` all."""
        memory = self.encode(source_BE, seed=seed, valid_BE=source_valid_BE)
        return self.decoder.loss(
            token_BL,
            target_BL,
            seed=derived_seed(seed, "decoder"),
            valid_BL=valid_BL,
            counted_BL=counted_BL,
            memory=memory,
        )

    def encode(self, source_BE: Tensor, *, seed: int, valid_BE: Tensor | None = None) -> Memory:
        """The encoder's output, as the decoder reads it."""
        check_mask("source_valid_BE", valid_BE, source_BE.shape)
        hidden_BED = self.encoder(source_BE, seed=derived_seed(seed, "encoder"), valid_BL=valid_BE)
        return Memory(hidden_BED, valid_BE)
