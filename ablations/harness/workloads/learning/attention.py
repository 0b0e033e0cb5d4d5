"""What LSH layers see of what dense attention with the same queries and keys would attend to."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ablations.harness.cell import Cell
from ablations.harness.measurement import AttentionSeen
from ablations.harness.training import Learn
from ablations.harness.workloads.learning.batches import Material, Model
from reformer.attention import SelfAttention
from reformer.config import LSHAttention
from reformer.functional.lsh import HashRounds
from reformer.functional.scores import unit_keys
from reformer.functional.sorting import sort_by_bucket
from reformer.kinds import Heads, lsh_options, score_scale
from reformer.model import ReformerLM
from reformer.randomness import Replay, derived_seed

QUERIES = 64
"""Looked at in each sequence, at even distances."""


class Seen(NamedTuple):
    """Of one layer and batch: recall_RQ after each round, one column a query and head; loads_BHRN of buckets."""

    recall_RQ: Tensor
    load_BHRN: Tensor


def attention_seen(model: Model, material: Material, workload: Learn, cell: Cell) -> tuple[AttentionSeen, ...]:
    """Of each LSH layer, over `workload.observed_windows` sequences held out; none if that is 0."""
    if not workload.observed_windows:
        return ()
    assert isinstance(model, ReformerLM), "a cell that looks at attention trains a language model"
    found: dict[int, list[Seen]] = {}
    model.eval()
    for number, batch in enumerate(material.held_out(workload.observed_windows)):
        seed = derived_seed(cell.seed, "observation", number)
        for layer, lsh, heads in observed(model, batch.to(cell.device).inputs[0], seed):
            found.setdefault(layer, []).append(seen(heads, lsh, causal=cell.config.causal))
    return tuple(_summed_up(layer, parts) for layer, parts in found.items())


class Observed(NamedTuple):
    """What an LSH layer attended with in one call of its model."""

    layer: int
    lsh: LSHAttention
    heads: Heads


@torch.no_grad()
def observed(model: ReformerLM, token_BL: Tensor, seed: int) -> list[Observed]:
    """Queries, values and buckets of each LSH layer in one call of the model."""
    caught: list[Observed] = []
    hooks = [
        block.attention.inner.register_forward_pre_hook(_catching(caught, layer, lsh))
        for layer, (block, lsh) in enumerate(zip(model.trunk.layers, model.config.attentions, strict=True))
        if isinstance(lsh, LSHAttention)
    ]
    try:
        model(token_BL, seed=seed)
    finally:
        for hook in hooks:
            hook.remove()
    return caught


def _catching(caught: list[Observed], layer: int, lsh: LSHAttention) -> Callable[[nn.Module, Any], None]:
    """Notes what the layer's attention is given, as `Branch` calls it: stream, piece and replay."""

    def hook(module: nn.Module, given: tuple[Tensor, slice, Replay]) -> None:
        assert isinstance(module, SelfAttention), "LSH attention is self-attention"
        x_BLD, _, replay = given
        position = torch.arange(x_BLD.shape[1], device=x_BLD.device)
        caught.append(Observed(layer, lsh, module.heads(x_BLD, position, replay)))

    return hook


def seen(heads: Heads, lsh: LSHAttention, *, causal: bool) -> Seen:
    """How much of dense attention's weight falls on keys that a query meets in its first 1, 2, ... rounds."""
    assert heads.bucket_BHRL is not None, "LSH attention hashes"
    assert lsh.n_buckets is not None, "ReformerConfig fixes the bucket count"
    length = heads.query_BHLK.shape[2]
    n_queries = min(QUERIES, length)
    query = torch.arange(n_queries, device=heads.query_BHLK.device) * length // n_queries
    weight_BHQL = dense_weights(heads.query_BHLK, query, score_scale(lsh, heads.query_BHLK), causal=causal)
    rounds = heads.bucket_BHRL.shape[2]
    recall = [
        (weight_BHQL * _met(heads.bucket_BHRL[:, :, : one + 1].contiguous(), query, lsh)).sum(-1).flatten()
        for one in range(rounds)
    ]
    load_BHRN = _loads(heads.bucket_BHRL, math.prod(lsh.n_buckets))
    return Seen(torch.stack(recall), load_BHRN)


def dense_weights(query_BHLK: Tensor, query: Tensor, scale: float, *, causal: bool) -> Tensor:
    """Weights of dense attention for some queries, a position's own key left out unless it is the only one."""
    score_BHQL = query_BHLK[:, :, query] @ (unit_keys(query_BHLK) * scale).transpose(-1, -2)
    key = torch.arange(query_BHLK.shape[2], device=query.device)
    hidden = key == query[:, None]
    if causal:
        hidden = hidden | (key > query[:, None])
    hidden = hidden & ~((key == query[:, None]) & hidden.all(-1, keepdim=True))
    return score_BHQL.float().masked_fill(hidden, -math.inf).softmax(-1)


def _met(bucket_BHRL: Tensor, query: Tensor, lsh: LSHAttention) -> Tensor:
    """Whether a query meets a key in some of these rounds, met_BHQL."""
    rounds = HashRounds.of(bucket_BHRL, sort_by_bucket(bucket_BHRL), lsh_options(lsh)["window"])
    key = torch.arange(bucket_BHRL.shape[-1], device=query.device)
    query_BH1Q, key_BH1L = (one.expand(*bucket_BHRL.shape[:2], 1, -1) for one in (query, key))
    met_BHQL = (rounds.times_met(query_BH1Q, key_BH1L, lsh.same_bucket_only) > 0).squeeze(2)
    # A position that sees nobody else sees itself.
    return met_BHQL | (key == query[:, None])


def _loads(bucket_BHRL: Tensor, n_buckets: int) -> Tensor:
    """Positions in each bucket of each round, load_BHRN."""
    load_BHRN = torch.zeros(*bucket_BHRL.shape[:3], n_buckets, device=bucket_BHRL.device)
    ones = torch.ones((), device=bucket_BHRL.device).expand(bucket_BHRL.shape)
    return load_BHRN.scatter_add_(-1, bucket_BHRL.long(), ones)


def _summed_up(layer: int, parts: Sequence[Seen]) -> AttentionSeen:
    recall_RQ = torch.cat([part.recall_RQ for part in parts], dim=1)
    load_BHRN = torch.cat([part.load_BHRN for part in parts])
    mean = load_BHRN.mean(-1)
    return AttentionSeen(
        layer=layer,
        recall=tuple(recall_RQ.mean(1).tolist()),
        largest_bucket=float((load_BHRN.amax(-1) / mean).mean()),
        empty_buckets=float((load_BHRN == 0).float().mean()),
        n_queries=recall_RQ.shape[1],
    )
