"""Encoder and decoder joined: sequence to sequence."""

import torch
from torch import Tensor, nn

from reformer.blocks import Call, Memory
from reformer.checks import check_seed
from reformer.config import EncoderDecoderConfig
from reformer.model import ReformerLM
from reformer.randomness import derived_seed
from reformer.trunk import Reformer


class ReformerEncoderDecoder(nn.Module):
    """A Reformer that reads a source in both directions and writes a target from left to right.

    Either half may use any attention and any residual; cross-attention is dense. Each encoder layer is run backward
    once, whatever the depth of the decoder: decoder layers hand their gradients for the encoder's output up as they
    arrive, and the encoder starts when they are complete. The paper's counterpart is its translation model (Table 4),
    whose attention is dense.

    Args:
        config: Both halves; kept as `config`.
        generator: On the CPU; all parameters are drawn from it, those of the encoder first.

    Attributes:
        encoder: A `Reformer`.
        decoder: A `ReformerLM`, for `generate` with the `Memory` that `encode` returns.

    Raises:
        ValueError: As in `ReformerLM`.
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
        check_seed("seed", seed)
        self._check(source_BE, source_valid_BE, token_BL, valid_BL)
        hidden_BLD = self._decoded(token_BL, seed, valid_BL, self._encoded(source_BE, seed, source_valid_BE))
        logit_BLV: Tensor = self.decoder.head(hidden_BLD)
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
        """Mean cross-entropy in nats of predicting `target_BL`, never holding all logits.

        Args:
            source_BE: As in `forward`, and so are `token_BL`, `seed`, `source_valid_BE` and `valid_BL`.
            token_BL: See above.
            target_BL: As in `ReformerLM.loss`, and so is `counted_BL`.
            seed: See above.
            source_valid_BE: See above.
            valid_BL: See above.
            counted_BL: See above.

        Returns:
            A scalar, float32 at least.

        Raises:
            ValueError: An argument is not as described; names it.
        """
        self.decoder.check_targets(token_BL, target_BL, counted_BL)
        check_seed("seed", seed)
        self._check(source_BE, source_valid_BE, token_BL, valid_BL)
        hidden_BLD = self._decoded(token_BL, seed, valid_BL, self._encoded(source_BE, seed, source_valid_BE))
        return self.decoder.cross_entropy(hidden_BLD, target_BL, counted_BL)

    def encode(self, source_BE: Tensor, *, seed: int, valid_BE: Tensor | None = None) -> Memory:
        """The encoder's output, as the decoder reads it, and as `forward` with the same seed makes it.

        Args:
            source_BE: int64 source tokens, up to `config.encoder.max_len`.
            seed: Everything random in this call follows from it.
            valid_BE: bool, false where the source is padding.

        Returns:
            hidden_BED, and `valid_BE` as it was given.

        Raises:
            ValueError: An argument is not as described; names it.
        """
        check_seed("seed", seed)
        self.encoder.check_sequence(source_BE, valid_BE, names=("source_BE", "valid_BE"))
        return self._encoded(source_BE, seed, valid_BE)

    def _encoded(self, source_BE: Tensor, seed: int, valid_BE: Tensor | None) -> Memory:
        call = Call(derived_seed(seed, "encoder"), self.encoder.training, valid_BE)
        return Memory(self.encoder.run(source_BE, call), valid_BE)

    def _decoded(self, token_BL: Tensor, seed: int, valid_BL: Tensor | None, memory: Memory) -> Tensor:
        trunk = self.decoder.trunk
        return trunk.run(token_BL, Call(seed, trunk.training, valid_BL, memory))

    def _check(
        self, source_BE: Tensor, source_valid_BE: Tensor | None, token_BL: Tensor, valid_BL: Tensor | None
    ) -> None:
        # All of it before the encoder runs: looking at token ids waits for the device, too.
        self.encoder.check_sequence(source_BE, source_valid_BE, names=("source_BE", "source_valid_BE"))
        self.decoder.trunk.check_sequence(token_BL, valid_BL)
        if source_BE.shape[0] != token_BL.shape[0]:
            raise ValueError(
                f"source_BE holds {source_BE.shape[0]} examples and token_BL {token_BL.shape[0]}; "
                "give one source for each target"
            )
