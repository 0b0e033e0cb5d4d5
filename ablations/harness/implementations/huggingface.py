"""transformers' Reformer: `LSHSelfAttention` without its projections, and `ReformerModelWithLMHead`.

The layer's two projections are replaced by what hands over the query-key and value tensors as they are, [B, L, H * K];
it splits and merges heads, hashes (`hash_seed=None`: rotations drawn anew by every call), sorts and attends as always.
The model is ours, converted: same weights, same function, so reversible and with both streams before the head.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from ablations.harness.cell import Cell
from ablations.harness.errors import MissingExtraError, UnsupportedError
from ablations.harness.implementations.inputs import drawn_alike, tokens, vectors
from ablations.harness.implementations.ours import build_model, lsh_of
from ablations.harness.trial import Trial
from reformer.huggingface import to_huggingface


def load() -> Any:  # noqa: ANN401  (a module that may not be there)
    """The module of transformers with the Reformer.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from transformers.models.reformer import modeling_reformer
    except ImportError:
        raise MissingExtraError("peers") from None
    return modeling_reformer


class Given(nn.Module):
    """Hands over a tensor, whatever it is called with."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor

    def forward(self, _: Tensor) -> Tensor:
        """The tensor."""
        return self.tensor


def attention_trial(cell: Cell) -> Trial:
    """The attention of one layer."""
    query_key, value, gradient = (x_BHLK.transpose(1, 2).flatten(2) for x_BHLK in vectors(cell, 3))
    wanted = (query_key.requires_grad_(), value.requires_grad_())
    layer = attention_layer(cell)
    layer.query_key, layer.value = Given(query_key), Given(value)

    def output() -> Tensor:
        return cast(Tensor, layer(hidden_states=query_key).hidden_states)

    return Trial(
        output,
        drawn_alike(output, cell),
        gradient,
        wanted,
        query_key.device,
        cell.batch * cell.length,
        cell.batch,
    )


def attention_layer(cell: Cell) -> Any:  # noqa: ANN401  (a class of theirs)
    """Their layer with the cell's settings, in training mode."""
    theirs, attention, config = load(), lsh_of(cell), cell.config
    assert attention.n_buckets is not None, "ReformerConfig fixes the bucket count"
    fields: dict[str, Any] = {
        "hidden_size": config.n_heads * config.d_head,
        "num_attention_heads": config.n_heads,
        "attention_head_size": config.d_head,
        "attn_layers": ["lsh"],
        "lsh_attn_chunk_length": attention.chunk_len,
        "lsh_num_chunks_before": attention.n_chunks_before,
        "lsh_num_chunks_after": attention.n_chunks_after,
        "num_hashes": attention.n_hashes,
        "num_buckets": attention.n_buckets[0] if len(attention.n_buckets) == 1 else list(attention.n_buckets),
        "is_decoder": config.causal,
        "max_position_embeddings": config.max_len,
        "axial_pos_embds": False,
        "lsh_attention_probs_dropout_prob": 0.0,
        "hash_seed": None,
    }
    # Weights are drawn from the global stream, which is to show no trace of it, and then replaced.
    with torch.random.fork_rng(devices=[]):
        return theirs.LSHSelfAttention(theirs.ReformerConfig(**fields)).train()


def model_trial(cell: Cell) -> Trial:
    """The whole language model with their own loss: of all tokens but the first, given those before."""
    load()
    try:
        model = to_huggingface(build_model(cell))
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
    token_BL, _ = tokens(cell)
    token_BL = token_BL.contiguous()

    def output() -> Tensor:
        return cast(Tensor, model(input_ids=token_BL, labels=token_BL, use_cache=False).loss)

    def evaluated() -> Tensor:
        # In training mode every forward pass seeds the process's stream from the system's source of randomness.
        model.eval()
        try:
            return output()
        finally:
            model.train()

    return Trial(
        output,
        drawn_alike(evaluated, cell),
        None,
        tuple(model.train().parameters()),
        token_BL.device,
        token_BL.numel(),
        cell.batch,
    )
