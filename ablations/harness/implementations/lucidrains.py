"""lucidrains' Reformer (reformer_pytorch): `LSHAttention`, and `ReformerLM`.

What its options cannot make equal to ours: it hashes into L / chunk buckets, half of ours, and all in one factor: at
16,384 tokens in chunks of 64 a vector meets 128 directions in each round, with ours, (16, 32) buckets, 24. Scores are
over the root of the head width; a window is the own chunk and the one before. Its model also shares the rotations of a
round among all heads, reads the mean of the two streams, and has biases in the attention's output. Rounds, chunks,
widths, depth, learned positions and the activation are the same.
"""

from typing import Any, cast

import torch
from torch import Tensor

from ablations.harness.cell import Cell
from ablations.harness.errors import MissingExtraError, UnsupportedError
from ablations.harness.implementations.inputs import drawn_alike, tokens, torch_dtype, vectors
from ablations.harness.implementations.ours import lsh_of
from ablations.harness.trial import Trial
from reformer.config import LearnedPositions
from reformer.randomness import derived_seed


def load() -> Any:  # noqa: ANN401  (a module that may not be there)
    """The module with their classes.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from reformer_pytorch import reformer_pytorch
    except ImportError:
        raise MissingExtraError("peers") from None
    return reformer_pytorch


def attention_trial(cell: Cell) -> Trial:
    """The attention of one layer on [B * H, L, K]."""
    query_key, value, gradient = (x_BHLK.flatten(0, 1) for x_BHLK in vectors(cell, 3))
    wanted = (query_key.requires_grad_(), value.requires_grad_())
    attention = attention_layer(cell)

    def output() -> Tensor:
        return cast(Tensor, attention(*wanted)[0])

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
    """Their attention with the cell's rounds and chunks, in training mode."""
    lsh = _expressible(cell)
    return (
        load()
        .LSHAttention(
            bucket_size=lsh.chunk_len,
            n_hashes=lsh.n_hashes,
            causal=cell.config.causal,
            allow_duplicate_attention=True,
            attend_across_buckets=True,
            random_rotations_per_head=False,
        )
        .train()
    )


def model_trial(cell: Cell) -> Trial:
    """The whole language model, with the cross-entropy of all its logits."""
    model, (token_BL, target_BL) = language_model(cell), tokens(cell)

    def output() -> Tensor:
        return torch.nn.functional.cross_entropy(model(token_BL).flatten(0, 1), target_BL.flatten())

    return Trial(
        output,
        drawn_alike(output, cell),
        None,
        tuple(model.parameters()),
        token_BL.device,
        token_BL.numel(),
        cell.batch,
    )


def language_model(cell: Cell) -> Any:  # noqa: ANN401  (a class of theirs)
    """Their model with the cell's settings, in training mode."""
    theirs, config, lsh = load(), cell.config, _expressible(cell)
    if config.d_ff % config.d_model or config.activation != "gelu" or config.positions != LearnedPositions():
        raise UnsupportedError("lucidrains needs d_ff a multiple of d_model, activation 'gelu' and learned positions")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(cell.seed, "weights"))
        model = theirs.ReformerLM(
            num_tokens=config.vocab_size,
            dim=config.d_model,
            depth=config.n_layers,
            max_seq_len=config.max_len,
            heads=config.n_heads,
            dim_head=config.d_head,
            bucket_size=lsh.chunk_len,
            n_hashes=lsh.n_hashes,
            ff_mult=config.d_ff // config.d_model,
            ff_chunks=1,
            causal=config.causal,
            absolute_position_emb=True,
        )
    return model.to(device=cell.device, dtype=torch_dtype(cell)).train()


def _expressible(cell: Cell) -> Any:  # noqa: ANN401
    lsh = lsh_of(cell)
    if (lsh.n_chunks_before, lsh.n_chunks_after) != (1, 0) or cell.length % (2 * lsh.chunk_len):
        raise UnsupportedError(
            f"lucidrains looks at the own chunk and the one before, at lengths that are multiples of two chunks; "
            f"not {lsh.n_chunks_before} before, {lsh.n_chunks_after} after at length {cell.length}"
        )
    return lsh
