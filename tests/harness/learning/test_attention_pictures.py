"""Patterns that are noted of a trained model: against what its attention was given, and small enough to keep."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ablations.experiments import duplication, enwik8_controls, images64_rounds
from ablations.harness.cell import Cell
from ablations.harness.experiment import Experiment
from ablations.harness.measurement import AttentionPattern, LearningCurve
from ablations.harness.training import Learn
from ablations.harness.workloads.learning.attention import Observed, observed
from ablations.harness.workloads.learning.batches import Batch, Material
from ablations.harness.workloads.learning.patterns import LONGEST, attention_patterns, pattern_of
from ablations.harness.workloads.learning.tasks import build_learner, build_material
from reformer.config import LSHAttention, ReformerConfig
from reformer.kinds import Heads
from reformer.model import ReformerLM
from tests.harness.learning.test_run import cell, learned

MOST_BYTES = 60_000


def layer(n_rounds: int = 3, n_buckets: int = 4, length: int = 61, heads: int = 3) -> Observed:
    draw = torch.Generator().manual_seed(n_rounds)
    query_BHLK, value_BHLK = (torch.randn(2, heads, length, 5, generator=draw) for _ in range(2))
    # One head is sharper than the others: its scores are larger.
    query_BHLK[0, 1] *= 6
    bucket_BHRL = torch.randint(n_buckets, (2, heads, n_rounds, length), generator=draw, dtype=torch.int32)
    lsh = LSHAttention(n_hashes=n_rounds, chunk_len=6, n_buckets=(n_buckets,))
    return Observed(2, lsh, Heads(query_BHLK, query_BHLK, value_BHLK, bucket_BHRL))


def dense_row(query_LK: Tensor, query: int, *, causal: bool) -> dict[int, float]:
    """Weights of dense attention, key by key, the own one left out."""
    keys = [key for key in range(query if causal else len(query_LK)) if key != query]
    scores = [float(query_LK[query] @ query_LK[key] / query_LK[key].norm()) for key in keys]
    return dict(zip(keys, torch.tensor(scores, dtype=torch.float64).softmax(0).tolist(), strict=True))


@pytest.mark.parametrize("causal", [True, False])
def test_noted_weights_are_the_largest_of_dense_attention_and_queries_lie_at_even_distances(causal: bool) -> None:
    one = layer()
    found = pattern_of(one, causal=causal)
    assert [row.query for row in found.dense] == [6, 14, 21, 29, 37, 44, 52, 60]
    for row in found.dense:
        expected = dense_row(one.heads.query_BHLK[0, found.head], row.query, causal=causal)
        largest = sorted(expected.values(), reverse=True)[:32]
        assert row.weights == pytest.approx([weight for weight in largest if weight > 5e-5], abs=6e-5)
        for key, weight in zip(row.keys, row.weights, strict=True):
            assert weight == pytest.approx(expected[key], abs=6e-5)


def test_buckets_are_those_of_the_sharpest_head() -> None:
    one = layer()
    assert one.heads.bucket_BHRL is not None
    found = pattern_of(one, causal=True)
    assert (found.layer, found.head) == (2, 1)
    assert torch.equal(torch.tensor(found.buckets), one.heads.bucket_BHRL[0, 1].long())


def test_a_training_run_that_looks_at_attention_notes_each_layer_and_any_other_none() -> None:
    curve = learned(cell(observed_windows=4))
    assert [one.layer for one in curve.patterns] == [0, 1]
    assert all(len(one.buckets) == 3 and one.length == 19 for one in curve.patterns)
    assert LearningCurve.model_validate_json(curve.model_dump_json()) == curve
    assert learned(cell()).patterns == ()


def test_noting_patterns_changes_nothing_else_and_gives_the_same_each_time() -> None:
    model, material = _trained(cell(observed_windows=4))
    before = [parameter.clone() for parameter in model.parameters()]
    first, second = (attention_patterns(model, material, _workload(cell(observed_windows=4)), cell()) for _ in range(2))
    assert first == second
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    torch.manual_seed(99)
    assert attention_patterns(model, material, _workload(cell(observed_windows=4)), cell()) == first


class Long:
    """Material of sequences that are longer than what is read of them."""

    description, asks_for_accuracy = "", False

    def training(self, step: int) -> Batch:
        raise NotImplementedError

    def held_out(self, windows: int) -> Iterator[Batch]:
        token_BL = torch.randint(10, (windows, LONGEST + 44), generator=torch.Generator().manual_seed(3))
        yield Batch((token_BL,), token_BL)


def test_of_a_long_sequence_the_beginning_is_read_as_an_input_of_its_own() -> None:
    config = ReformerConfig(**dict(cell().config) | {"max_len": LONGEST + 44})
    one = Cell.model_validate(dict(cell(observed_windows=1)) | {"config": config, "length": LONGEST + 44})
    model = ReformerLM(config, torch.Generator().manual_seed(1))
    found = attention_patterns(model, Long(), _workload(one), one)
    (token_BL, *_) = next(Long().held_out(1)).inputs
    alone = observed(model.eval(), token_BL[:, :LONGEST], seed=0)
    assert [pattern.length for pattern in found] == [LONGEST, LONGEST]
    # Weights depend on no seed in the first layer, buckets do.
    assert pattern_of(alone[0], causal=True).dense == found[0].dense


@pytest.mark.parametrize("experiment", [duplication.EXPERIMENT, enwik8_controls.EXPERIMENT, images64_rounds.EXPERIMENT])
def test_patterns_of_the_experiments_that_ask_for_them_stay_small(experiment: Experiment) -> None:
    for one in experiment.cells("paper-cpu", "cpu"):
        if _workload(one).observed_windows and one.seed == 0:
            patterns = [_largest(lsh, one) for lsh in one.config.attentions if isinstance(lsh, LSHAttention)]
            assert sum(len(pattern.model_dump_json()) for pattern in patterns) < MOST_BYTES


def _largest(lsh: LSHAttention, one: Cell) -> AttentionPattern:
    """With every weight noted, as where attention is even."""
    assert lsh.n_buckets is not None
    return pattern_of(
        layer(lsh.n_hashes, lsh.n_buckets[0], min(one.length, LONGEST))._replace(lsh=lsh), causal=one.config.causal
    )


def _workload(one: Cell) -> Learn:
    assert isinstance(one.workload, Learn)
    return one.workload


def _trained(one: Cell) -> tuple[ReformerLM, Material]:
    model = build_learner(one, _workload(one).task)
    assert isinstance(model, ReformerLM)
    return model, build_material(one, _workload(one).task, None)
