"""The language model: embedding, positions, layers, head."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from reformer.config import ReformerConfig
from reformer.functional.losses import chunked_cross_entropy
from reformer.positions import AxialTable, LearnedTable, build_positions
from reformer.randomness import derived_seed
from reformer.residual import Block, stack_for
from reformer.uninitialised import Embedding, Linear


class ReformerLM(nn.Module):
    """A Reformer language model, or one of the variants it is compared with: the config says which.

    Any length from 1 to `config.max_len` works and needs no padding by the caller; a longer one raises `ValueError`.
    All parameters are drawn from `generator`; the global random stream is neither read nor moved.
    """

    def __init__(self, config: ReformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.positions: LearnedTable | AxialTable = build_positions(config)
        self.blocks = nn.ModuleList(Block(config, attention) for attention in config.attentions)
        self.norm = nn.LayerNorm(config.d_model)
        self.head = Linear(config.d_model, config.vocab_size)
        self._stack = stack_for(config.residual)
        self._initialise(generator)

    def forward(self, token_BL: Tensor, *, seed: int) -> Tensor:
        """Logits for the token after each position.

        Args:
            token_BL: int64 token ids.
            seed: Everything random in this call, hashing and dropout, follows from it. Give every training step its
                own.

        Returns:
            logit_BLV.
        """
        logit_BLV: Tensor = self.head(self.hidden(token_BL, seed=seed))
        return logit_BLV

    def loss(self, token_BL: Tensor, target_BL: Tensor, *, seed: int) -> Tensor:
        """Mean cross-entropy in nats of predicting `target_BL` from `token_BL`, never holding all logits."""
        hidden_BLD = self.hidden(token_BL, seed=seed)
        chunk_len = self.config.loss_chunk_len
        return chunked_cross_entropy(hidden_BLD, self.head.weight, self.head.bias, target_BL, chunk_len=chunk_len)

    def hidden(self, token_BL: Tensor, *, seed: int) -> Tensor:
        """What the head reads: the merged and normalised stream after the last layer, hidden_BLD.

        Raises:
            ValueError: The sequence is empty or longer than `config.max_len`.
        """
        length = token_BL.shape[1]
        if not 1 <= length <= self.config.max_len:
            raise ValueError(f"length {length} is not within 1..{self.config.max_len}; shorten it or raise max_len")
        x_BLD = self.embedding(token_BL) + self.positions(length)
        layers = [cast(Block, block).bound(derived_seed(seed, index)) for index, block in enumerate(self.blocks)]
        hidden_BLD: Tensor = self.norm(self._stack(layers, x_BLD))
        return hidden_BLD

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith(("embedding.", "positions.")):
                parameter.normal_(std=self.config.d_model**-0.5, generator=generator)
            elif parameter.dim() == 2:
                parameter.normal_(std=math.sqrt(1 / parameter.shape[1]), generator=generator)
            elif name.endswith(".bias") or name == "head.bias":
                parameter.zero_()
            else:
                parameter.fill_(1)
