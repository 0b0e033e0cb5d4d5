"""The language model: the layers and a head."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reformer.blocks import Memory
from reformer.checks import check_mask, check_some, check_state, check_tokens
from reformer.config import ReformerConfig
from reformer.functional.losses import chunked_cross_entropy
from reformer.layers import Linear
from reformer.trunk import Reformer, Rotations


class ReformerLM(nn.Module):
    """A Reformer language model, or one of the variants it is compared with: the config says which.

    With `config.causal` it predicts the next token at each position, otherwise whatever it is trained for, such as
    masked tokens; with `config.cross_attention` it is the decoder of an encoder-decoder. Sections of the paper are
    named in `ReformerConfig`.

    Args:
        config: The model; kept as `config`.
        generator: On the CPU; all parameters are drawn from it, those of the trunk first.

    Attributes:
        trunk: The `Reformer` below the head.
        head: A linear map from what the trunk returns to V logits.

    Raises:
        ValueError: As in `Reformer`. From `load_state_dict` also: embedding and head differ, though they are tied.
    """

    def __init__(self, config: ReformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.trunk = Reformer(config, generator)
        self.head = Linear(config.d_merged, config.vocab_size)
        self.register_load_state_dict_pre_hook(check_state)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_check_tie)  # type: ignore[no-untyped-call]
        self._initialise(generator)

    def forward(
        self,
        token_BL: Tensor,
        *,
        seed: int,
        valid_BL: Tensor | None = None,
        memory: Memory | None = None,
        rotations: Rotations | None = None,
    ) -> Tensor:
        """Logits at each position, logit_BLV; arguments and errors as in `Reformer.forward`."""
        hidden_BLD = self.trunk(token_BL, seed=seed, valid_BL=valid_BL, memory=memory, rotations=rotations)
        logit_BLV: Tensor = self.head(hidden_BLD)
        return logit_BLV

    def loss(
        self,
        token_BL: Tensor,
        target_BL: Tensor,
        *,
        seed: int,
        valid_BL: Tensor | None = None,
        counted_BL: Tensor | None = None,
        memory: Memory | None = None,
        rotations: Rotations | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats of predicting `target_BL` from `token_BL`, never holding all logits.

        Args:
            token_BL: As in `Reformer.forward`, and so are `seed`, `valid_BL`, `memory` and `rotations`.
            target_BL: int64, the right token at each position.
            seed: See above.
            valid_BL: See above.
            counted_BL: bool, which targets count, at least one; `None` for all. A target that does not count must still
                be a token.
            memory: See above.
            rotations: See above.

        Returns:
            A scalar, float32 at least.

        Raises:
            ValueError: An argument is not as described; names it.
        """
        self.check_targets(token_BL, target_BL, counted_BL)
        hidden_BLD = self.trunk(token_BL, seed=seed, valid_BL=valid_BL, memory=memory, rotations=rotations)
        return self.cross_entropy(hidden_BLD, target_BL, counted_BL)

    def check_targets(self, token_BL: Tensor, target_BL: Tensor, counted_BL: Tensor | None) -> None:
        """Targets are as `loss` takes them.

        Raises:
            ValueError: They are not; names the argument.
        """
        check_tokens("target_BL", target_BL, vocab_size=self.config.vocab_size, max_len=self.config.max_len)
        if target_BL.shape != token_BL.shape:
            raise ValueError(
                f"target_BL has shape {tuple(target_BL.shape)} and token_BL {tuple(token_BL.shape)}; "
                "give one target for each token"
            )
        check_mask("counted_BL", counted_BL, target_BL.shape)
        check_some("counted_BL", counted_BL)

    def cross_entropy(self, hidden_BLD: Tensor, target_BL: Tensor, counted_BL: Tensor | None = None) -> Tensor:
        """What `loss` returns, in nats, for arguments that were checked and what the trunk makes of the tokens."""
        return chunked_cross_entropy(
            hidden_BLD,
            self.head.weight,
            self.head.bias,
            target_BL,
            chunk_len=self.config.loss_chunk_len,
            counted_BL=counted_BL,
        )

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        if self.config.tie_embeddings:
            self.head.weight = self.trunk.embedding.weight
        else:
            self.head.weight.normal_(std=self.config.d_merged**-0.5, generator=generator)
        self.head.bias.zero_()


def _check_tie(model: ReformerLM, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """A checkpoint of a model with tied embeddings has one tensor for both: a hook for `load_state_dict`."""
    table, head = (state.get(prefix + name) for name in ("trunk.embedding.weight", "head.weight"))
    if not model.config.tie_embeddings or table is None or head is None or table.is_meta:
        return
    if not torch.equal(table, head):
        raise ValueError(
            f"checkpoint tensors {prefix}trunk.embedding.weight and {prefix}head.weight differ, but "
            "tie_embeddings=True makes them one; use the config that belongs to the checkpoint"
        )
