"""What LSH layers see of dense attention: against an oracle that asks every pair, and where the answer is known."""

import pytest
import torch
from torch import Tensor

from ablations.harness.training import Learn
from ablations.harness.workloads.learning.attention import attention_seen, observed, seen
from ablations.harness.workloads.learning.tasks import build_learner, build_material
from reformer.config import LSHAttention, ReformerConfig
from reformer.kinds import Heads
from reformer.model import ReformerLM
from tests.harness.learning.test_run import cell


def heads(n_rounds: int, n_buckets: int, length: int = 29) -> Heads:
    draw = torch.Generator().manual_seed(n_rounds)
    query_BHLK, value_BHLK = (torch.randn(2, 3, length, 5, generator=draw) for _ in range(2))
    bucket_BHRL = torch.randint(n_buckets, (2, 3, n_rounds, length), generator=draw, dtype=torch.int32)
    return Heads(query_BHLK, query_BHLK, value_BHLK, bucket_BHRL)


def dense_weights(query_BHLK: Tensor) -> Tensor:
    """Row by row, key by key."""
    length = query_BHLK.shape[2]
    weight_BHLL = torch.zeros(*query_BHLK.shape[:2], length, length)
    key_BHLK = query_BHLK / query_BHLK.norm(dim=-1, keepdim=True)
    for position in range(length):
        before = range(position) if position else range(1)
        score = (query_BHLK[:, :, position, None] * key_BHLK[:, :, list(before)]).sum(-1)
        weight_BHLL[:, :, position, list(before)] = score.softmax(-1)
    return weight_BHLL


def chunks_met(bucket_L: Tensor, chunk_len: int) -> list[set[int]]:
    """Which positions each one meets in one round that has ends: its chunk and the one before, sorted by bucket."""
    order = sorted(range(len(bucket_L)), key=lambda position: (int(bucket_L[position]), position))
    chunks = [order[start : start + chunk_len] for start in range(0, len(order), chunk_len)]
    met: list[set[int]] = [set() for _ in order]
    for number, chunk in enumerate(chunks):
        for position in chunk:
            met[position] = {*chunk, *(chunks[number - 1] if number else ())}
    return met


def test_recall_is_the_dense_weight_on_keys_met_so_far() -> None:
    n_rounds, n_buckets, length = 3, 4, 29
    one = heads(n_rounds, n_buckets, length)
    lsh = LSHAttention(n_hashes=n_rounds, chunk_len=6, n_buckets=(n_buckets,), wrap="none")
    assert one.bucket_BHRL is not None
    weight_BHLL, expected = dense_weights(one.query_BHLK), torch.zeros(n_rounds, 2, 3, length)
    for example in range(2):
        for head in range(3):
            union: list[set[int]] = [set() for _ in range(length)]
            for round_ in range(n_rounds):
                for position, met in enumerate(chunks_met(one.bucket_BHRL[example, head, round_], 6)):
                    union[position] |= met
                    expected[round_, example, head, position] = sum(
                        weight_BHLL[example, head, position, key] for key in union[position]
                    )
    found = seen(one, lsh, causal=True)
    assert torch.allclose(found.recall_RQ, expected.flatten(1), atol=1e-6)


def test_recall_never_falls_with_rounds_and_is_whole_where_one_chunk_holds_all() -> None:
    one = heads(4, 6)
    recall_RQ = seen(one, LSHAttention(n_hashes=4, chunk_len=3, n_buckets=(6,)), causal=True).recall_RQ
    assert bool((recall_RQ[1:] >= recall_RQ[:-1] - 1e-6).all())
    assert float(recall_RQ[0].mean()) < 0.9
    whole = seen(one, LSHAttention(n_hashes=4, chunk_len=29, n_buckets=(6,)), causal=True)
    assert torch.allclose(whole.recall_RQ, torch.ones(()))


def test_loads_count_every_position_once_in_each_round() -> None:
    one = heads(2, 8)
    load_BHRN = seen(one, LSHAttention(n_hashes=2, chunk_len=5, n_buckets=(4, 2)), causal=True).load_BHRN
    assert load_BHRN.shape == (2, 3, 2, 8)
    assert bool((load_BHRN.sum(-1) == 29).all())


def test_the_layers_of_a_model_are_observed_as_they_are_called() -> None:
    trained = cell(observed_windows=4)
    assert isinstance(trained.workload, Learn)
    model = build_learner(trained, trained.workload.task)
    material = build_material(trained, trained.workload.task, None)
    found = attention_seen(model, material, trained.workload, trained)
    assert [one.layer for one in found] == [0, 1]
    assert all(len(one.recall) == 3 and 0 < one.recall[0] <= one.recall[-1] <= 1 + 1e-6 for one in found)
    # 19 positions by 2 heads and 4 sequences.
    assert all(one.n_queries == 152 and one.largest_bucket >= 1 for one in found)


@pytest.mark.parametrize("residual", ["standard", "reversible", "checkpointed"])
def test_what_is_observed_is_what_attention_was_given(residual: str) -> None:
    config = ReformerConfig(**dict(cell().config) | {"residual": residual})
    model = ReformerLM(config, torch.Generator().manual_seed(1)).eval()
    token_BL = torch.randint(10, (2, 17), generator=torch.Generator().manual_seed(2))
    (first, second) = observed(model, token_BL, seed=4)
    x_BLD = model.trunk.embedded(token_BL, torch.arange(17))
    branch = model.trunk.layers[0].attention
    query_BLx = branch.inner.query(branch.norm(x_BLD))  # type: ignore[operator]
    assert torch.allclose(first.heads.query_BHLK, query_BLx.unflatten(-1, (2, 7)).transpose(1, 2))
    assert not torch.equal(first.heads.query_BHLK, second.heads.query_BHLK)
