"""The language model: one function, many ways to compute it."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from reformer.config import VARIANTS, AxialPositions
from reformer.feed_forward import FeedForward
from reformer.functional.losses import chunked_cross_entropy
from reformer.model import ReformerLM
from reformer.objective import Objective
from reformer.positions import AxialTable
from tests.reformer.models import BATCH, EVERY_VARIANT, LENGTH, config, gradients, model, tokens

SAME_FUNCTION = [
    ("dense", "reversible_only"),
    ("dense", "dense_checkpointed"),
    ("dense", "dense_query_chunked"),
    ("dense", "dense_fused"),
    ("lsh_only", "reformer"),
    ("lsh_only", "lsh_checkpointed"),
]


def test_all_four_variants_have_equal_parameter_names_and_shapes() -> None:
    shapes = [{name: tensor.shape for name, tensor in model(variant).state_dict().items()} for variant in VARIANTS]
    assert all(one == shapes[0] for one in shapes)
    assert len(shapes[0]) > 40


@pytest.mark.parametrize("source", VARIANTS)
@pytest.mark.parametrize("target", VARIANTS)
def test_weights_move_between_variants(source: str, target: str) -> None:
    moved = ReformerLM(config(target), torch.Generator().manual_seed(5)).double()
    moved.load_state_dict(model(source).state_dict())
    token, target_token = tokens()
    expected = model(target).loss(token, target_token, seed=7)
    assert torch.equal(moved.loss(token, target_token, seed=7), expected)


@pytest.mark.parametrize(("plain", "other"), SAME_FUNCTION)
@pytest.mark.parametrize("ff_chunk_len", [None, 7])
def test_ways_to_compute_one_function_agree_in_loss_and_gradients(
    plain: str, other: str, ff_chunk_len: int | None
) -> None:
    dropout = 0.3 if ff_chunk_len is None else 0.0
    results = []
    for variant in (plain, other):
        one = model(variant, dropout=dropout, ff_chunk_len=ff_chunk_len, loss_chunk_len=9)
        loss = one.loss(*tokens(), seed=7)
        loss.backward()
        results.append((loss.detach(), gradients(one)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
    assert len(results[0][1]) == len(model(plain).state_dict())


@pytest.mark.parametrize("variant", ["reversible_only", "reformer", "lsh_checkpointed"])
def test_dropout_is_replayed_piece_by_piece(variant: str) -> None:
    # The standard stack with the same pieces draws the same masks, and keeps them instead of drawing them again.
    results = []
    for residual in (EVERY_VARIANT[variant].residual, "standard"):
        one = model(variant, dropout=0.3, ff_chunk_len=11, residual=residual)
        one.loss(*tokens(), seed=7).backward()
        results.append(gradients(one))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_chunked_feed_forward_equals_unchunked_by_plain_autograd_with_nothing_recomputed(variant: str) -> None:
    kept = "single_stream" if EVERY_VARIANT[variant].residual == "single_stream" else "standard"
    results = []
    ways: list[dict[str, Any]] = [{"residual": kept}, *({"ff_chunk_len": chunk_len} for chunk_len in (1, 13, 500))]
    for changes in ways:
        one = model(variant, **changes)
        loss = one.loss(*tokens(), seed=7)
        loss.backward()
        results.append((loss.detach(), gradients(one)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_any_length_up_to_the_longest_works_and_longer_ones_are_refused(variant: str) -> None:
    one = model(variant)
    for length in (1, 2, 7, 8, 9, 63, 64):
        logits = one(tokens(length)[0], seed=3)
        assert logits.shape == (BATCH, length, 29)
        assert logits.isfinite().all()
    with pytest.raises(ValueError, match=r"length 65, which is not within 1\.\.64"):
        one(tokens(65)[0], seed=3)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_the_past_has_no_gradient_with_respect_to_the_future(variant: str) -> None:
    one, past = model(variant), 20
    embedded = []
    one.trunk.embedding.register_forward_hook(lambda _module, _inputs, out: embedded.append(out.retain_grad() or out))
    one(tokens()[0], seed=3)[:, :past].square().sum().backward()
    (embedding,) = embedded
    assert embedding.grad[:, past:].abs().max() == 0
    assert embedding.grad[:, :past].abs().max() > 0


@pytest.mark.parametrize("variant", ["dense", "reformer"])
def test_bidirectional_models_see_the_future(variant: str) -> None:
    one = model(variant, causal=False)
    token, _ = tokens()
    changed = token.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 29
    assert (one(token, seed=3) - one(changed, seed=3))[:, 0].abs().max() > 0


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_equal_seeds_give_equal_losses_and_leave_the_global_stream_alone(variant: str) -> None:
    before = torch.get_rng_state()
    first, second = (model(variant, dropout=0.2).loss(*tokens(), seed=11) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, model(variant, dropout=0.2).loss(*tokens(), seed=12))


def test_evaluation_drops_nothing_out() -> None:
    with_dropout, without = model("dense", dropout=0.5).eval(), model("dense")
    assert torch.equal(with_dropout(tokens()[0], seed=1), without(tokens()[0], seed=2))


@pytest.mark.parametrize("variant", ["dense", "reformer"])
def test_inference_equals_training_without_dropout(variant: str) -> None:
    one = model(variant, ff_chunk_len=10)
    with torch.no_grad():
        inferred = one(tokens()[0], seed=3)
    torch.testing.assert_close(inferred, one(tokens()[0], seed=3), rtol=1e-12, atol=1e-12)


def test_an_example_hashes_alike_in_any_company() -> None:
    one, (token, _) = model("reformer"), tokens()
    together, alone = one(token, seed=3), one(token[1:], seed=3)
    torch.testing.assert_close(together[1:], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("activation", "function"), [("gelu", F.gelu), ("relu", F.relu), ("swish", F.silu)])
def test_the_activation_is_the_one_named(activation: str, function: object) -> None:
    assert FeedForward(config("dense", activation=activation))._activation is function


def test_an_axial_table_equals_the_dense_table_it_factorises() -> None:
    table = AxialTable((3, 5, 4), (2, 6, 7))
    for parameter in table.tables:
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    rows = [
        torch.cat([table.tables[0][i], table.tables[1][j], table.tables[2][k]])
        for i in range(3)
        for j in range(5)
        for k in range(4)
    ]
    for length in (1, 17, 60):
        assert torch.equal(table(torch.arange(length)), torch.stack(rows[:length]))


def test_axial_positions_serve_a_model() -> None:
    one = model("reformer", positions=AxialPositions(shape=(8, 8), dims=(5, 7)))
    assert one(tokens()[0], seed=3).shape == (BATCH, LENGTH, 29)
    assert one.trunk.positions(torch.arange(64)).shape == (64, 12)


@pytest.mark.parametrize("chunk_len", [1, 10, 1000])
def test_chunked_cross_entropy_equals_the_whole(chunk_len: int) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((BATCH, LENGTH, 12), (29, 12), (29,))
    )
    _, target = tokens()
    leaves = (hidden, weight, bias)
    ours = chunked_cross_entropy(*leaves, target, chunk_len=chunk_len)
    plain = F.cross_entropy(F.linear(*leaves).flatten(0, 1), target.flatten())
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    for one, other in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(plain, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_new_model_predicts_nearly_uniformly_and_learns_a_batch_by_heart() -> None:
    one = model("reformer", dtype=torch.float32, max_len=LENGTH)
    optimiser = torch.optim.Adam(one.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        optimiser.zero_grad()
        loss = one.loss(*tokens(), seed=step)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] < math.log(29) + 1
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_a_model_can_be_copied_and_pickled(variant: str) -> None:
    one, (token, _) = model(variant), tokens()
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(other(token, seed=3), one(token, seed=3))


def test_tied_embeddings_are_one_tensor_in_copies_too() -> None:
    one = model("reformer", tie_embeddings=True)
    for other in (one, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other.head.weight is other.trunk.embedding.weight
    assert copy.deepcopy(one).head.weight is not one.head.weight


def test_the_gradient_of_tied_embeddings_is_the_sum_of_both_of_an_untied_model_with_equal_weights() -> None:
    tied, untied = model("reformer", tie_embeddings=True), model("reformer")
    untied.load_state_dict(tied.state_dict())
    losses = [one.loss(*tokens(), seed=7) for one in (tied, untied)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-12)
    for loss in losses:
        loss.backward()
    found, apart = gradients(tied), gradients(untied)
    assert apart["head.weight"].abs().max() > 0
    apart["trunk.embedding.weight"] += apart.pop("head.weight")
    torch.testing.assert_close(found, apart, rtol=1e-12, atol=1e-12)


def test_an_objective_is_the_model_s_loss_in_value_and_gradients() -> None:
    counted_BL = torch.arange(LENGTH) < torch.tensor([[LENGTH], [40]])
    results = []
    for loss_of in (ReformerLM.loss, lambda one, *given, **named: Objective(one)(*given, **named)):
        one = model("reformer")
        loss = loss_of(one, *tokens(), seed=7, counted_BL=counted_BL)
        loss.backward()
        results.append((loss.detach(), gradients(one)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
