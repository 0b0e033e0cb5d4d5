"""The chunked loss against PyTorch's cross-entropy over all logits at once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from reformer.functional.losses import chunked_cross_entropy
from tests.reformer.models import gradients, model, tokens

BATCH, LENGTH, WIDTH, VOCABULARY = 3, 41, 10, 57


Head = tuple[Tensor, Tensor, Tensor]
"""Hidden, weight and bias."""


def leaves(dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Head:
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((BATCH, LENGTH, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,))
    )
    return copies((hidden, weight, bias), dtype)


def copies(head: Head, dtype: torch.dtype, device: torch.device | str = "cpu") -> Head:
    hidden, weight, bias = (leaf.detach().to(dtype).to(device).clone().requires_grad_() for leaf in head)
    return hidden, weight, bias


def targets() -> tuple[Tensor, Tensor]:
    """Targets, some of them nonsense, and which count: those that are none of the nonsense, and not all of them."""
    generator = torch.Generator().manual_seed(1)
    counted_BL = torch.rand(BATCH, LENGTH, generator=generator) < 0.7
    target_BL = torch.randint(VOCABULARY, (BATCH, LENGTH), generator=generator)
    return torch.where(counted_BL, target_BL, 10**6), counted_BL


def plain(
    hidden_BLD: Tensor, weight_VD: Tensor, bias_V: Tensor, target_BL: Tensor, counted_BL: Tensor | None = None
) -> Tensor:
    """The mean over those that count, all logits at once."""
    counted_BL = torch.ones_like(target_BL, dtype=torch.bool) if counted_BL is None else counted_BL
    logits = F.linear(hidden_BLD, weight_VD, bias_V)[counted_BL]
    return F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), target_BL[counted_BL])


def with_gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("chunk_len", [1, 7, 40, LENGTH, 1000])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_loss_and_gradients_are_those_of_all_logits_at_once(
    dtype: torch.dtype, limit: float, chunk_len: int, masked: bool
) -> None:
    target_BL, counted_BL = targets()
    counted = counted_BL if masked else None
    target_BL = target_BL if masked else target_BL.clamp(max=VOCABULARY - 1)
    head = leaves(dtype)
    loss = chunked_cross_entropy(*head, target_BL, chunk_len=chunk_len, counted_BL=counted)
    assert loss.dtype == dtype
    found = with_gradients(3 * loss, head)
    wide = copies(head, torch.float64)
    expected = with_gradients(3 * plain(*wide, target_BL, counted), wide)
    for one, right in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert (one.double() - right).norm() <= limit * right.norm()


def chunked(
    hidden: Tensor, weight: Tensor, bias: Tensor, target_BL: Tensor, counted_BL: Tensor, chunk_len: int = 7
) -> Tensor:
    return chunked_cross_entropy(hidden, weight, bias, target_BL, chunk_len=chunk_len, counted_BL=counted_BL)


def assert_errs_little(dtype: torch.dtype, device: torch.device, *, autocast: bool = False) -> None:
    """Of every position's loss, and of each gradient, at most twice what all logits at once err, against float64."""
    target_BL, counted_BL = (tensor.to(device) for tensor in targets())
    exact = copies(leaves(), torch.float32 if autocast else dtype, device)

    def outcome(run: Callable[..., Tensor], head: Head, *, narrow: bool) -> list[Tensor]:
        with torch.autocast(device.type, dtype=dtype, enabled=autocast and narrow):
            loss = run(*head, target_BL, counted_BL)
            with torch.no_grad():
                # One at a time: in a mean, errors of either sign cancel as luck will have it.
                alone = [
                    run(*head, target_BL, torch.zeros_like(counted_BL).index_put_(tuple(place), counted_BL.any()))
                    for place in counted_BL.nonzero()
                ]
        return [torch.stack(alone), *torch.autograd.grad(loss, head)]

    expected = outcome(plain, copies(exact, torch.float64, device), narrow=False)
    errors = []
    for run in (chunked, plain):
        found = outcome(run, copies(exact, exact[0].dtype, device), narrow=True)
        assert [one.dtype for one in found[1:]] == [leaf.dtype for leaf in exact]
        errors.append(
            [float((one.double() - right).norm() / right.norm()) for one, right in zip(found, expected, strict=True)]
        )
    for ours, theirs in zip(*errors, strict=True):
        # Where both are as good as float32 allows, neither is the better one.
        assert ours <= 2 * theirs + 2 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_errs_at_most_twice_as_much_as_all_logits_at_once(dtype: torch.dtype, autocast: bool) -> None:
    assert_errs_little(dtype, torch.device("cpu"), autocast=autocast)


def test_gradients_by_weights_are_summed_over_chunks_in_float32() -> None:
    # Two hundred equal chunks: in bfloat16 the sum would stop growing at 256 times the part.
    hidden, weight, bias = leaves(torch.bfloat16)
    hidden = hidden.detach()[:1, :1].expand(1, 1000, WIDTH).contiguous()
    target_BL = torch.zeros(1, 1000, dtype=torch.int64)
    found = torch.autograd.grad(chunked_cross_entropy(hidden, weight, bias, target_BL, chunk_len=1), (weight, bias))
    once = torch.autograd.grad(chunked_cross_entropy(hidden, weight, bias, target_BL, chunk_len=1000), (weight, bias))
    for one, right in zip(found, once, strict=True):
        assert (one.double() - right.double()).norm() < 2e-3 * right.double().norm()


def test_float16_gradients_neither_overflow_nor_vanish() -> None:
    # 100,000 positions that all say the same: sums beyond 65504, means of 1e-5 each, and a loss scale as GradScaler's.
    hidden = torch.full((1, 100_000, 2), 4.0, dtype=torch.float16, requires_grad=True)
    weight = torch.zeros(3, 2, dtype=torch.float16, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float16, requires_grad=True)
    with torch.no_grad():
        weight[0] = 0.5
    loss = chunked_cross_entropy(hidden, weight, bias, torch.ones(1, 100_000, dtype=torch.int64), chunk_len=50_000)
    d_hidden, d_weight, d_bias = torch.autograd.grad(1024 * loss, (hidden, weight, bias))
    wide = copies((hidden, weight, bias), torch.float64)
    expected = torch.autograd.grad(1024 * plain(*wide, torch.ones(1, 100_000, dtype=torch.int64)), wide)
    for one, right in zip((d_hidden, d_weight, d_bias), expected, strict=True):
        assert (one.double() - right).norm() < 2e-3 * right.norm()


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (1, 2), (0, 2), (0, 1)])
def test_what_wants_no_gradient_gets_none_and_costs_none(frozen: tuple[int, ...]) -> None:
    target_BL, counted_BL = targets()
    results = []
    n_products = 0
    for run in (plain, partial(chunked, chunk_len=41)):
        head = leaves()
        for index in frozen:
            head[index].requires_grad_(False)
        with Products() as products:
            loss = run(*head, target_BL, counted_BL)
        loss.backward()
        results.append([leaf.grad for leaf in head])
        n_products = products.count
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    assert n_products == 1 + (0 not in frozen) + (1 not in frozen)


class Products(TorchDispatchMode):
    """How many matrix products there were, of what types, what was converted, and what would wait for a device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.types: set[torch.dtype] = set()
        self.converted: list[torch.Size] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        del types
        name = func._schema.name.removeprefix("aten::")
        if name in ("mm", "addmm", "addmm_", "bmm", "baddbmm"):
            self.count += 1
            self.types.add(args[-1].dtype)
        if name == "_to_copy":
            self.converted.append(args[0].shape)
        if name in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "unique2", "masked_select"):
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


def test_a_step_takes_three_products_for_each_chunk_and_waits_for_no_device() -> None:
    target_BL, counted_BL = targets()
    with Products() as products:
        chunked_cross_entropy(*leaves(), target_BL, chunk_len=10, counted_BL=counted_BL).backward()
    assert products.count == 3 * 5
    assert products.waits == []
    with torch.no_grad(), Products() as products:
        chunked_cross_entropy(*leaves(), target_BL, chunk_len=10, counted_BL=counted_BL)
    assert products.count == 5


def test_under_autocast_products_are_narrow_and_the_weight_is_narrowed_once() -> None:
    head, (target_BL, counted_BL) = leaves(torch.float32), targets()
    with torch.autocast("cpu", dtype=torch.bfloat16), Products() as products:
        chunked_cross_entropy(*head, target_BL, chunk_len=10, counted_BL=counted_BL).backward()
    assert products.types == {torch.bfloat16}
    assert products.count == 3 * 5
    assert products.converted.count(torch.Size([VOCABULARY, WIDTH])) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_loss_is_the_same_without_gradients(dtype: torch.dtype) -> None:
    target_BL, counted_BL = targets()
    head = leaves(dtype)
    loss = chunked_cross_entropy(*head, target_BL, chunk_len=10, counted_BL=counted_BL)
    assert loss.requires_grad
    with torch.no_grad():
        without = chunked_cross_entropy(*head, target_BL, chunk_len=10, counted_BL=counted_BL)
    hidden, weight, bias = (leaf.detach() for leaf in head)
    frozen = chunked_cross_entropy(hidden, weight, bias, target_BL, chunk_len=10, counted_BL=counted_BL)
    assert not without.requires_grad
    assert not frozen.requires_grad
    torch.testing.assert_close(without, loss.detach(), rtol=1e-6, atol=0)
    assert torch.equal(without, frozen)


def test_a_second_backward_pass_gives_the_same_and_a_gradient_of_gradients_is_refused() -> None:
    target_BL, counted_BL = targets()
    head = leaves()
    loss = chunked_cross_entropy(*head, target_BL, chunk_len=10, counted_BL=counted_BL)
    first = torch.autograd.grad(loss, head, retain_graph=True)
    second = torch.autograd.grad(2 * loss, head, create_graph=True)
    torch.testing.assert_close(second, tuple(2 * one for one in first), rtol=1e-15, atol=0)
    for scale in (1.0, torch.ones((), requires_grad=True)):
        hidden = leaves()[0]
        loss = chunked_cross_entropy(hidden, *leaves()[1:], target_BL, chunk_len=10, counted_BL=counted_BL)
        (d_hidden,) = torch.autograd.grad(scale * loss, hidden, create_graph=True)
        with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
            d_hidden.sum().backward()


@pytest.mark.parametrize("first", range(3))
def test_a_gradient_of_gradients_is_refused_by_whatever_variable(first: int) -> None:
    target_BL, counted_BL = targets()
    scale, head = torch.ones((), dtype=torch.float64, requires_grad=True), leaves()
    loss = scale * chunked(*head, target_BL, counted_BL)
    (gradient,) = torch.autograd.grad(loss, head[first], create_graph=True)
    for leaf in (*head, scale):
        with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
            torch.autograd.grad(gradient.sum(), leaf, allow_unused=True, retain_graph=True)


def test_a_gradient_made_with_a_graph_may_be_changed_by_a_hook() -> None:
    target_BL, counted_BL = targets()
    results = []
    for run in (plain, chunked):
        head = leaves()
        head[0].register_hook(lambda gradient: gradient.mul_(3))
        results.append(torch.autograd.grad(run(*head, target_BL, counted_BL), head, create_graph=True))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_very_large_logits_are_no_obstacle() -> None:
    target_BL, counted_BL = targets()
    head = leaves(torch.float64, scale=100.0)
    found = with_gradients(chunked_cross_entropy(*head, target_BL, chunk_len=10, counted_BL=counted_BL), head)
    expected = with_gradients(plain(*head, target_BL, counted_BL), head)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": True}, {"merge": "concatenate"}])
@pytest.mark.parametrize("loss_chunk_len", [9, 1024])
def test_a_model_s_loss_and_gradients_are_those_of_its_logits(changes: dict[str, Any], loss_chunk_len: int) -> None:
    token_BL, target_BL = tokens()
    results = []
    runs: tuple[Callable[..., Tensor], ...] = (
        lambda one: one.loss(token_BL, target_BL, seed=3),
        lambda one: F.cross_entropy(one(token_BL, seed=3).flatten(0, 1), target_BL.flatten()),
    )
    for run in runs:
        one = model("reformer", loss_chunk_len=loss_chunk_len, **changes)
        loss = run(one)
        loss.backward()
        results.append({"loss": loss.detach()} | gradients(one))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    assert len(results[0]) > 10
