"""This project's models, and the LSH attention of one layer without its projections."""

import torch
from torch import Tensor

from ablations.harness.cell import Cell
from ablations.harness.errors import UnsupportedError
from ablations.harness.implementations.inputs import generator_of, tokens, torch_dtype, vectors
from ablations.harness.trial import Decoding, Trial
from reformer.config import LSHAttention
from reformer.decoding import Decoder
from reformer.functional.hashing import random_rotations
from reformer.kinds import lsh_functions, lsh_options, score_scale
from reformer.model import ReformerLM
from reformer.randomness import derived_seed


def build_model(cell: Cell) -> ReformerLM:
    """The cell's model with its initial weights: drawn on the CPU, so that they are the same on every device."""
    generator = torch.Generator().manual_seed(derived_seed(cell.seed, "weights"))
    return ReformerLM(cell.config, generator).to(device=cell.device, dtype=torch_dtype(cell))


def model_trial(cell: Cell) -> Trial:
    """The whole language model with its loss."""
    model, (token_BL, target_BL), seed = build_model(cell), tokens(cell), derived_seed(cell.seed, "call")

    def output() -> Tensor:
        return model.loss(token_BL, target_BL, seed=seed)

    return Trial(
        output,
        output,
        None,
        tuple(model.parameters()),
        token_BL.device,
        token_BL.numel(),
        cell.batch,
        lambda: _decoding(model, token_BL, seed),
    )


def _decoding(model: ReformerLM, token_BL: Tensor, seed: int) -> Decoding:
    """All but the last position are read: the step that adds the last one attends to as many as a whole step does."""
    length = token_BL.shape[1]
    if length == 1 or not model.config.causal:
        raise UnsupportedError("decode adds a token to a text from left to right: causal models of two tokens or more")
    decoder = Decoder(model, capacity=length, seed=seed)
    decoder.prefill(token_BL[:, :-1])
    return Decoding(decoder, token_BL[:, -1])


def attention_trial(cell: Cell) -> Trial:
    """Hashing and LSH attention, with rotations drawn anew in every step."""
    query_key, value, gradient = vectors(cell, 3)
    wanted = (query_key.requires_grad_(), value.requires_grad_())
    generator = generator_of(cell, "rotations")

    def output() -> Tensor:
        return attend(cell, query_key, value, rotations(cell, generator))

    def repeatable() -> Tensor:
        return attend(cell, query_key, value, rotations(cell, generator_of(cell, "alike")))

    return Trial(
        output,
        repeatable,
        gradient,
        wanted,
        query_key.device,
        cell.batch * cell.length,
        cell.batch,
    )


def rotations(cell: Cell, generator: torch.Generator) -> Tensor:
    """What a step hashes against, rotation_HRKN."""
    lsh, config = lsh_of(cell), cell.config
    return random_rotations(
        generator, n_heads=config.n_heads, d_head=config.d_head, n_hashes=lsh.n_hashes, n_buckets=_buckets(lsh)
    )


def attend(cell: Cell, query_key_BHLK: Tensor, value_BHLK: Tensor, rotation_HRKN: Tensor) -> Tensor:
    """Hash, then attend, with the functions of the config's backend."""
    lsh = lsh_of(cell)
    hash_vectors, lsh_attention = lsh_functions(lsh.backend)
    bucket_BHRL = hash_vectors(query_key_BHLK, rotation_HRKN, n_buckets=_buckets(lsh))
    out_BHLK: Tensor = lsh_attention(
        query_key_BHLK,
        value_BHLK,
        bucket_BHRL,
        score_scale=score_scale(lsh, query_key_BHLK),
        causal=cell.config.causal,
        **lsh_options(lsh),
    )
    return out_BHLK


def lsh_of(cell: Cell) -> LSHAttention:
    """The one LSH attention of the cell's config; that there is one was checked when the cell was made."""
    attention = cell.config.attentions[0]
    assert isinstance(attention, LSHAttention), "a cell of LSH attention has no other"
    return attention


def _buckets(lsh: LSHAttention) -> tuple[int, ...]:
    assert lsh.n_buckets is not None, "ReformerConfig fixes the bucket count"
    return lsh.n_buckets
