"""How the trained model's LSH layers sort one held-out sequence, as a report draws it."""

import torch
from torch import Tensor

from ablations.harness.cell import Cell
from ablations.harness.measurement import AttentionPattern, HeaviestKeys
from ablations.harness.training import Learn
from ablations.harness.workloads.learning.attention import Observed, dense_weights, observed
from ablations.harness.workloads.learning.batches import Material, Model
from reformer.kinds import score_scale
from reformer.model import ReformerLM
from reformer.randomness import derived_seed

LONGEST = 256
"""Tokens that are read: of a longer sequence its beginning, as an input of its own. A part of a picture would not tell
which positions share a chunk."""

QUERIES = 8
"""Whose weights are noted, at even distances, the last position among them."""

HEAVIEST = 32
"""Keys that are noted of each."""

DIGITS = 4
"""Of a weight, after the point."""


def attention_patterns(model: Model, material: Material, workload: Learn, cell: Cell) -> tuple[AttentionPattern, ...]:
    """Of each LSH layer, in the first sequence held out; none if the workload does not ask to look at attention."""
    if not workload.observed_windows:
        return ()
    assert isinstance(model, ReformerLM), "a cell that looks at attention trains a language model"
    model.eval()
    batch = next(iter(material.held_out(1))).to(cell.device)
    seed = derived_seed(cell.seed, "pattern")
    layers = observed(model, batch.inputs[0][:1, :LONGEST], seed)
    return tuple(pattern_of(layer, causal=cell.config.causal) for layer in layers)


def pattern_of(layer: Observed, *, causal: bool) -> AttentionPattern:
    """Of the first sequence of a batch."""
    assert layer.heads.bucket_BHRL is not None, "LSH attention hashes"
    query_BHLK = layer.heads.query_BHLK[:1]
    query = _queries(query_BHLK.shape[2]).to(query_BHLK.device)
    (weight_HQL,) = dense_weights(query_BHLK, query, score_scale(layer.lsh, query_BHLK), causal=causal)
    head = int(weight_HQL.amax(-1).mean(-1).argmax())
    return AttentionPattern(
        layer=layer.layer,
        head=head,
        attention=layer.lsh,
        causal=causal,
        buckets=tuple(tuple(bucket_L) for bucket_L in layer.heads.bucket_BHRL[0, head].tolist()),
        dense=tuple(_heaviest(int(one), weight_L) for one, weight_L in zip(query, weight_HQL[head], strict=True)),
    )


def _queries(length: int) -> Tensor:
    n_queries = min(QUERIES, length)
    return torch.arange(1, n_queries + 1) * length // n_queries - 1


def _heaviest(query: int, weight_L: Tensor) -> HeaviestKeys:
    found = weight_L.topk(min(HEAVIEST, len(weight_L)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    noted = [(key, rounded) for key, weight in pairs if (rounded := round(weight, DIGITS)) > 0]
    return HeaviestKeys(query=query, keys=tuple(key for key, _ in noted), weights=tuple(w for _, w in noted))
