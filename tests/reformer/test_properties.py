"""Whole models of drawn configurations, in float64: what must hold whatever the options."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from reformer.config import (
    AnyAttention,
    AxialPositions,
    DenseAttention,
    FusedAttention,
    LearnedPositions,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    ReformerConfig,
    RotaryPositions,
    SinusoidalPositions,
)
from reformer.model import ReformerLM
from reformer.randomness import Replay
from tests.reformer.drawn import CASES, at_every_scale, holds, masks
from tests.reformer.models import gradients

SIZES: dict[str, Any] = {"vocab_size": 29, "d_model": 10, "n_heads": 3, "d_head": 4, "d_ff": 14, "max_len": 35}
BATCH, LONGEST = 2, 25
EXACT = 1e-12
REBUILT = 1e-11
"""For gradients from rebuilt activations: each layer of a drawn model adds a few roundings of its streams to them."""

POSITIONS = [
    LearnedPositions(),
    AxialPositions(shape=(5, 7), dims=(3, 7)),
    SinusoidalPositions(base=100.0),
    RotaryPositions(base=100.0),
]
SHARED = {"share_qk": st.just(True), "score_scale": st.sampled_from(["unit_key", "unit_key_over_root_width"])}
SEPARATE = {"share_qk": st.just(False)}
CHUNKS = {"chunk_len": st.integers(1, 9), "n_chunks_before": st.integers(0, 2), "n_chunks_after": st.integers(0, 2)}


class Case(NamedTuple):
    """A model, and a batch for it."""

    config: ReformerConfig
    token_BL: Tensor
    valid_BL: Tensor | None
    seed: int
    training: bool

    @property
    def length(self) -> int:
        return self.token_BL.shape[1]

    @property
    def has_everything(self) -> bool:
        """Whether dropout, padding beside valid positions, kinds of attention and feed-forward pieces come together."""
        config = self.config
        several_pieces = config.ff_chunk_len is not None and config.ff_chunk_len < self.length
        some_padding = bool(self.valid.any() and not self.valid.all())
        return bool(config.dropout and several_pieces and some_padding and len(kinds_of(config.attentions)) > 1)

    @property
    def valid(self) -> Tensor:
        """The mask, written out."""
        return torch.ones_like(self.token_BL, dtype=torch.bool) if self.valid_BL is None else self.valid_BL

    def model(self, **changes: Any) -> ReformerLM:  # noqa: ANN401  (any field of the config)
        config = ReformerConfig(**{**dict(self.config), **changes})
        return ReformerLM(config, torch.Generator().manual_seed(0)).double().train(self.training)

    def loss(self, of: ReformerLM) -> Tensor:
        counted_BL = self.valid_BL if self.valid.any() else None
        target_BL = self.token_BL.roll(-1, dims=1)
        return of.loss(self.token_BL, target_BL, seed=self.seed, valid_BL=self.valid_BL, counted_BL=counted_BL)


def attentions(*, dropout: float, padded: bool, causal: bool, ends: bool) -> st.SearchStrategy[AnyAttention]:
    """One attention; with `ends`, of the kinds in which what comes behind the sequence is out of every window."""
    rate: dict[str, Any] = {"dropout": st.just(dropout)}
    round_wraps = ["none"] if ends else ["across_rounds", "per_round", "none"]
    wraps = ["none"] if ends else ["ring", "none"]
    lsh = st.builds(
        LSHAttention,
        **rate,
        **CHUNKS,
        score_scale=SHARED["score_scale"],
        n_hashes=st.integers(1, 3),
        n_hashes_eval=st.one_of(st.none(), st.integers(1, 4)),
        n_buckets=st.sampled_from([None, (2,), (6,), (2, 4)]),
        wrap=st.sampled_from(round_wraps),
        same_bucket_only=st.booleans(),
        deduplicate=st.booleans(),
    )
    kinds: list[st.SearchStrategy[AnyAttention]] = []
    for projections in (SHARED, SEPARATE):
        local = {"wrap": st.sampled_from(wraps), "unseen": st.sampled_from(["own_value", "window_sum"])}
        kinds += [
            st.builds(DenseAttention, **rate, **projections),
            st.builds(QueryChunkedAttention, **rate, **projections, query_chunk_len=st.integers(1, 30)),
            st.builds(LocalAttention, **rate, **projections, **CHUNKS, **local),
        ]
        if not padded and (causal or projections is SEPARATE):
            kinds.append(st.builds(FusedAttention, **projections))
    # Every other one: it has by far the most options.
    return st.booleans().flatmap(lambda hashes: lsh if hashes else st.one_of(kinds))


def kinds_of(pattern: Sequence[AnyAttention]) -> set[str]:
    return {attention.kind for attention in pattern}


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    drops: bool = False,
    causal: bool | None = None,
    residuals: Sequence[str] = ("standard", "checkpointed", "reversible", "single_stream"),
    padded: bool | None = None,
    training: bool | None = None,
    ends: bool = False,
) -> Case:
    """A case; `drops` allows dropout, `ends` is as in `attentions`, the others fix what is drawn if they are `None`.

    Most cases are rich: as much of dropout, padding, several kinds of attention and several pieces of the
    feed-forward half as the arguments allow. Left to chance, hardly any has all of them.
    """
    rich = draw(st.sampled_from([True, True, True, False, False]))
    length = draw(st.integers(8 if rich else 1, LONGEST))
    token_BL = torch.randint(29, (BATCH, length), generator=torch.Generator().manual_seed(draw(st.integers(0, 2**16))))
    # Three rich cases in four are padded; fused attention, which takes no mask, may be drawn in the fourth.
    padded = draw(st.sampled_from([True, True, True, False])) if rich and padded is None else padded

    def suits(mask: Tensor | None) -> bool:
        return not padded or (mask is not None and not (rich and mask.all()))

    valid_BL = None if padded is False else draw(masks(BATCH, length).filter(suits))
    causal = draw(st.booleans()) if causal is None else causal
    residual = draw(st.sampled_from(residuals))
    merge = draw(st.sampled_from(["mean", "concatenate"] if residual != "single_stream" else ["mean"]))
    rates = st.sampled_from([0.3] if rich else [0.0, 0.3]) if drops else st.just(0.0)
    one = attentions(dropout=draw(rates), padded=valid_BL is not None, causal=causal, ends=ends)
    pattern = st.lists(one, min_size=1 + rich, max_size=3).filter(lambda drawn: not rich or len(kinds_of(drawn)) > 1)
    config = ReformerConfig(
        **SIZES,
        n_layers=draw(st.integers(3 if rich else 1, 5)),
        attention=tuple(draw(pattern)),
        residual=residual,
        positions=draw(st.sampled_from(POSITIONS)),
        activation=draw(st.sampled_from(["gelu", "gelu_tanh", "relu", "swish"])),
        dropout=draw(rates),
        ff_chunk_len=draw(st.integers(1, length - 1) if rich else st.one_of(st.none(), st.integers(1, 30))),
        loss_chunk_len=draw(st.integers(1, 30)),
        causal=causal,
        merge=merge,
        tie_embeddings=merge == "mean" and draw(st.booleans()),
        norm_epsilon=draw(st.sampled_from([1e-5, 1e-12])),
    )
    training = draw(st.booleans()) if training is None else training
    return Case(config, token_BL, valid_BL, draw(st.integers(0, 2**16)), training)


def logits(of: ReformerLM, token_BL: Tensor, case: Case, valid_BL: Tensor | None) -> Tensor:
    with torch.no_grad():
        out: Tensor = of(token_BL, seed=case.seed, valid_BL=valid_BL)
    return out


def gradient_of_embedding(case: Case, of: ReformerLM, rows_BL: Tensor) -> Tensor:
    """How the logits of the given rows depend on each position's embedding, d_BLD."""
    embedded: list[Tensor] = []
    handle = of.trunk.embedding.register_forward_hook(
        lambda _module, _inputs, out: embedded.append(out.retain_grad() or out)
    )
    out_BLV = of(case.token_BL, seed=case.seed, valid_BL=case.valid_BL)
    handle.remove()
    out_BLV[rows_BL].square().sum().backward()
    (embedding,) = embedded
    assert embedding.grad is not None
    return embedding.grad


def test_as_many_configurations_are_drawn_as_promised() -> None:
    assert sum(CASES.values()) >= 300


@at_every_scale
def test_reversible_and_checkpointed_layers_have_the_gradients_of_plain_autograd(scale: int) -> None:
    with_everything: list[Case] = []

    def check(case: Case) -> None:
        with_everything.extend([case] if case.has_everything else [])
        results = []
        for residual in ("standard", "reversible", "checkpointed"):
            one = case.model(residual=residual)
            loss = case.loss(one)
            loss.backward()
            results.append((loss.detach(), gradients(one)))
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], rtol=REBUILT, atol=REBUILT)

    holds("reversible", scale, cases(drops=True, residuals=["standard"], training=True), check)
    assert len(with_everything) >= 20 * scale


@at_every_scale
def test_the_past_of_a_causal_model_has_no_gradient_with_respect_to_the_future(scale: int) -> None:
    def check(case: Case) -> None:
        past = 1 + case.seed % case.length
        rows_BL = case.valid & (torch.arange(case.length) < past)
        gradient_BLD = gradient_of_embedding(case, case.model(), rows_BL)
        assert (gradient_BLD[:, past:] == 0).all()
        assert (gradient_BLD[rows_BL] != 0).any(dim=1).all()

    holds("causal", scale, cases(drops=True, causal=True), check)


@at_every_scale
def test_what_padding_holds_moves_no_other_row_and_has_no_gradient(scale: int) -> None:
    def check(case: Case) -> None:
        one = case.model()
        other_BL = torch.where(case.valid, case.token_BL, (case.token_BL + 7) % 29)
        before, after = (logits(one, token_BL, case, case.valid_BL) for token_BL in (case.token_BL, other_BL))
        assert torch.equal(before[case.valid], after[case.valid])
        gradient_BLD = gradient_of_embedding(case, one, case.valid)
        assert (gradient_BLD[~case.valid] == 0).all()

    holds("pads", scale, cases(drops=True, padded=True), check)


@at_every_scale
def test_a_padded_sequence_gives_what_it_gives_unpadded(scale: int) -> None:
    def check(case: Case) -> None:
        one = case.model()
        lengths = [1 + (case.seed + 3 * example) % case.length for example in range(BATCH)]
        valid_BL = torch.arange(case.length) < torch.tensor(lengths)[:, None]
        padded = logits(one, case.token_BL, case, valid_BL)
        for example, length in enumerate(lengths):
            unpadded = logits(one, case.token_BL[example : example + 1, :length], case, None)
            torch.testing.assert_close(padded[example : example + 1, :length], unpadded, rtol=EXACT, atol=EXACT)

    # Fused attention takes no mask: a mask is drawn, to be replaced by that of the lengths.
    holds("unpadded", scale, cases(padded=True, ends=True), check)


def chosen(valid_BL: Tensor | None, example: Sequence[int]) -> Tensor | None:
    return None if valid_BL is None else valid_BL[example]


@at_every_scale
def test_an_example_alone_gives_what_it_gives_in_company(scale: int) -> None:
    def check(case: Case) -> None:
        one = case.model()
        together = logits(one, case.token_BL, case, case.valid_BL)
        for example in range(BATCH):
            alone = logits(one, case.token_BL[[example]], case, chosen(case.valid_BL, [example]))
            torch.testing.assert_close(together[[example]], alone, rtol=EXACT, atol=EXACT)

    holds("rows", scale, cases(), check)


@at_every_scale
def test_permuting_the_batch_permutes_the_output(scale: int) -> None:
    def check(case: Case) -> None:
        one, order = case.model(), [2, 0, 1]
        token_BL = torch.cat([case.token_BL, case.token_BL[:1].flip(1)])
        valid_BL = None if case.valid_BL is None else torch.cat([case.valid_BL, case.valid_BL[1:].flip(1)])
        straight = logits(one, token_BL, case, valid_BL)
        permuted = logits(one, token_BL[order], case, chosen(valid_BL, order))
        torch.testing.assert_close(straight[order], permuted, rtol=EXACT, atol=EXACT)

    holds("permuted", scale, cases(), check)


@at_every_scale
def test_equal_seeds_give_equal_bits_and_leave_the_global_stream_alone(scale: int) -> None:
    def check(case: Case) -> None:
        stream = torch.get_rng_state()
        results = []
        for _ in range(2):
            one = case.model()
            loss = case.loss(one)
            loss.backward()
            results.append([loss.detach(), *gradients(one).values()])
        assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))
        assert torch.equal(stream, torch.get_rng_state())

    holds("seeds", scale, cases(drops=True), check)


KINDS: list[AnyAttention] = [
    DenseAttention(),
    DenseAttention(share_qk=False),
    QueryChunkedAttention(query_chunk_len=5),
    FusedAttention(share_qk=False),
    LocalAttention(chunk_len=LONGEST),
    LSHAttention(chunk_len=LONGEST),
]
"""Attentions that see everything, so that nothing but positions tells them an order."""


def order_matters_by(of: ReformerLM) -> float:
    """How far permuting the tokens of a model that sees both directions is from permuting its output."""
    token_BL = torch.randint(29, (BATCH, 17), generator=torch.Generator().manual_seed(3))
    order = torch.randperm(17, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        straight, permuted = (of(token_BL[:, positions], seed=3) for positions in (torch.arange(17), order))
    return float((straight[:, order] - permuted).norm() / straight.norm())


@pytest.mark.parametrize("attention", KINDS, ids=lambda attention: f"{attention.kind}-{attention.share_qk}")
@pytest.mark.parametrize("positions", POSITIONS, ids=lambda positions: str(positions.kind))
def test_every_attention_sees_order_by_every_kind_of_positions(attention: AnyAttention, positions: Any) -> None:  # noqa: ANN401
    config = ReformerConfig(
        **SIZES, n_layers=2, causal=False, attention=attention, residual="standard", positions=positions
    )
    one = ReformerLM(config, torch.Generator().manual_seed(0)).double()
    assert order_matters_by(one) > 0.01


@pytest.mark.parametrize("attention", KINDS, ids=lambda attention: f"{attention.kind}-{attention.share_qk}")
def test_without_positions_no_attention_sees_order(attention: AnyAttention) -> None:
    config = ReformerConfig(**SIZES, n_layers=2, causal=False, attention=attention, residual="standard")
    one = ReformerLM(config, torch.Generator().manual_seed(0)).double()
    one.trunk.positions.get_parameter("table").data.zero_()
    assert order_matters_by(one) < EXACT


def test_the_future_may_move_values_of_the_past_through_the_sort_but_never_by_a_gradient() -> None:
    attention = LSHAttention(chunk_len=4, n_hashes=1)
    config = ReformerConfig(**SIZES, n_layers=2, attention=attention, residual="reversible")
    past, length = 12, LONGEST
    token_BL = torch.randint(29, (BATCH, length), generator=torch.Generator().manual_seed(3))
    case = Case(config, token_BL, None, seed=5, training=True)
    one = case.model()
    other_BL = torch.where(torch.arange(length) < past, token_BL, (token_BL + 7) % 29)
    before, after = (logits(one, tokens, case, None)[:, :past] for tokens in (token_BL, other_BL))
    assert (before - after).abs().max() > 0.01
    rows_BL = (torch.arange(length) < past).expand(BATCH, -1)
    assert (gradient_of_embedding(case, one, rows_BL)[:, past:] == 0).all()


def test_evaluation_may_take_more_rounds_with_the_same_weights() -> None:
    token_BL = torch.randint(29, (BATCH, LONGEST), generator=torch.Generator().manual_seed(3))
    results = []
    for rounds in ({"n_hashes": 1, "n_hashes_eval": 3}, {"n_hashes": 3}, {"n_hashes": 1}):
        attention = LSHAttention(chunk_len=4, **rounds)
        config = ReformerConfig(**SIZES, n_layers=2, attention=attention, residual="reversible")
        case = Case(config, token_BL, None, seed=5, training=False)
        results.append(logits(case.model(), token_BL, case, None))
    more, as_many, fewer = results
    assert torch.equal(more, as_many)
    assert (more - fewer).abs().max() > 0.01


def test_each_piece_of_the_feed_forward_half_draws_a_mask_of_its_own_and_the_same_one_again() -> None:
    config = ReformerConfig(
        **SIZES, n_layers=1, attention=DenseAttention(), residual="reversible", dropout=0.5, ff_chunk_len=6
    )
    half = ReformerLM(config, torch.Generator().manual_seed(0)).trunk.layers[0].feed_forward.inner
    replay, x_BLD = Replay(3, training=True), torch.ones(BATCH, 6, SIZES["d_model"])
    first, second, again = (half(x_BLD, piece, replay) for piece in (slice(0, 6), slice(6, 12), slice(0, 6)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_each_piece_of_a_branch_draws_a_mask_of_its_own_and_the_same_one_again() -> None:
    config = ReformerConfig(
        **SIZES, n_layers=1, attention=DenseAttention(), residual="reversible", dropout=0.5, ff_chunk_len=6
    )
    branch = ReformerLM(config, torch.Generator().manual_seed(0)).trunk.layers[0].feed_forward
    replay, x_BLD = (
        Replay(3, training=True),
        torch.randn(BATCH, 6, SIZES["d_model"], generator=torch.Generator().manual_seed(1)),
    )
    # The hidden layer has masks of its own, but makes no zeros in what comes out.
    first, second, again = (branch(x_BLD, piece, replay) == 0 for piece in (slice(0, 6), slice(6, 12), slice(0, 6)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert 0.2 < first.double().mean() < 0.8
