"""`save_attention_output`: recomputed layers keep what attention gave, and attend once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from reformer.blocked import lsh
from reformer.blocked.group import Group
from reformer.config import LSHAttention, Residual
from reformer.functional.dropping import NO_DROPOUT
from reformer.functional.windows import Window
from reformer.fused import Inputs, Options, attend_keeping
from reformer.model import ReformerLM
from tests.reformer.models import BATCH, EVERY_VARIANT, LENGTH, SIZES, gradients, model, tokens
from tests.reformer.test_memory import peak_of

LSH: dict[str, Any] = {"n_hashes": 3, "chunk_len": 8}
RESIDUALS = ["standard", "checkpointed", "reversible"]


def kept(residual: Residual, keeps: bool, **changes: Any) -> ReformerLM:  # noqa: ANN401
    attention = LSHAttention(**LSH, save_attention_output=keeps, dropout=0.2)
    return model("reformer", residual=residual, attention=attention, dropout=0.1, **changes)


@pytest.mark.parametrize("grid_bits", [None, 12])
@pytest.mark.parametrize("residual", RESIDUALS)
def test_it_changes_no_bit_of_any_gradient(residual: Residual, grid_bits: int | None) -> None:
    with_it, without = (step(kept(residual, keeps, grid_bits=grid_bits)) for keeps in (True, False))
    # Without a grid attention is computed again from rebuilt activations, which are off by rounding.
    exact = grid_bits is not None or residual != "reversible"
    torch.testing.assert_close(with_it, without, rtol=0 if exact else 1e-10, atol=0 if exact else 1e-12)


def step(one: ReformerLM) -> dict[str, Tensor]:
    token, target = tokens()
    valid = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    valid[1, -6:] = False
    one.train().loss(token, target, seed=3, valid_BL=valid, counted_BL=valid).backward()
    return gradients(one)


@pytest.mark.parametrize("residual", ["standard", "checkpointed"])
def test_gradients_may_be_made_with_a_graph_and_gradients_of_gradients_are_refused(residual: Residual) -> None:
    firsts = []
    for keeps in (False, True):
        one = kept(residual, keeps).train()
        weights = [one.trunk.embedding.weight, one.get_parameter("trunk.blocks.0.attention.inner.value.weight")]
        logits = one(tokens()[0], seed=3)
        firsts.append(torch.autograd.grad(logits.square().sum(), weights, create_graph=True))
    torch.testing.assert_close(*firsts, rtol=0, atol=0)
    for gradient in firsts[1]:
        for weight in weights:
            with pytest.raises(RuntimeError, match=r"output is kept cannot be differentiated twice: .*backend='eager'"):
                torch.autograd.grad(gradient.square().sum(), weight, allow_unused=True, retain_graph=True)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # PyTorch's compiler does
def test_it_is_compiled_in_one_graph_whose_gradients_are_refused_to_be_differentiated_as_well() -> None:
    generator = torch.Generator().manual_seed(0)
    query, value = (torch.randn(2, 3, 40, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    bucket = torch.randint(6, (2, 3, 4, 40), generator=generator)
    options = Options.of(1.0, Window(8, 1, 0, "none"), True, False, False, NO_DROPOUT)

    def attend(query: Tensor) -> Tensor:
        return attend_keeping(lsh.OPERATOR, lambda make: make(), Inputs(query, value, bucket, None), options)

    results = []
    for run in (attend, torch.compile(attend, fullgraph=True, backend="aot_eager")):
        leaf = query.detach().requires_grad_()
        out = run(leaf)
        (gradient,) = torch.autograd.grad(out.square().sum(), leaf, create_graph=True)
        with pytest.raises(RuntimeError, match=r"differentiated twice|does not currently support double backward"):
            torch.autograd.grad(gradient.sum(), leaf)
        results.append((out.detach(), gradient.detach()))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("residual", "times"), [("standard", (1, 1)), ("checkpointed", (2, 1)), ("reversible", (2, 1))]
)
def test_attention_is_computed_once(
    residual: Residual, times: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Group] = []
    plain = lsh._attend_rounds

    def counted(group: Group) -> tuple[Tensor, Tensor]:
        calls.append(group)
        return plain(group)

    monkeypatch.setattr(lsh, "_attend_rounds", counted)
    counts = []
    for keeps in (False, True):
        calls.clear()
        step(kept(residual, keeps))
        counts.append(len(calls))
    once = SIZES["n_layers"]
    assert tuple(counts) == (times[0] * once, times[1] * once)


def test_it_is_not_kept_outside_training() -> None:
    def peak(depth: int, keeps: bool) -> int:
        one = kept("reversible", keeps, n_layers=depth).eval().float()
        token = torch.zeros(BATCH, LENGTH, dtype=torch.int64)

        @torch.no_grad()
        def evaluate() -> None:
            one.loss(token, token, seed=1)

        return peak_of(evaluate, [])

    assert peak(5, True) - peak(3, True) == peak(5, False) - peak(3, False)


def test_what_is_kept_is_the_output_and_two_numbers_for_each_round() -> None:
    def peak(depth: int, keeps: bool) -> int:
        one = kept("reversible", keeps, n_layers=depth).float().train()
        token = torch.zeros(BATCH, LENGTH, dtype=torch.int64)
        return peak_of(lambda: one.loss(token, token, seed=1).backward(), list(one.parameters()))

    heads, width, rounds = SIZES["n_heads"], SIZES["d_head"], LSH["n_hashes"]
    added = (peak(7, True) - peak(5, True)) - (peak(7, False) - peak(5, False))
    assert added == 2 * BATCH * LENGTH * heads * (width + 2 * rounds) * 4


def test_the_specification_cannot_keep_it() -> None:
    with pytest.raises(ValueError, match=r"save_attention_output=True is not served by backend='eager'.*'blocked'"):
        LSHAttention(save_attention_output=True, backend="eager")
    assert not any(
        variant.attention.save_attention_output
        for variant in EVERY_VARIANT.values()
        if isinstance(variant.attention, LSHAttention)
    )
