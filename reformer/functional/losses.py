"""Cross-entropy over a large vocabulary without all logits in memory at once."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from reformer.functional.once import OnceContext, once_differentiable, origin_of
from reformer.functional.scores import widened


def chunked_cross_entropy(
    hidden_BLD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor,
    target_BL: Tensor,
    *,
    chunk_len: int,
    counted_BL: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of `linear(hidden)` against the targets, in nats.

    Logits exist for `chunk_len` positions of each sequence at a time, in one buffer of float32 at least, and are
    computed once: where gradients are wanted, each chunk's are taken while its logits are there, so that a step costs
    three products of the size of the logits (as in Liger Kernel, Hsu et al. 2024). From the forward to the
    backward pass there are kept the gradient of `hidden_BLD`, in its type, and those of weight and bias, summed over
    chunks in float32 at least. Gradients of gradients are refused.

    Args:
        hidden_BLD: What the output layer reads.
        weight_VD: Of the output layer.
        bias_V: Of the output layer.
        target_BL: The right tokens, int64.
        chunk_len: Positions at a time.
        counted_BL: Which targets count; `None` for all. Those that do not may hold anything.

    Returns:
        A scalar, float32 or wider.
    """
    if counted_BL is None:
        counted_BL = torch.ones_like(target_BL, dtype=torch.bool)
    arguments = (hidden_BLD, weight_VD, bias_V, target_BL, counted_BL, chunk_len)
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in arguments[:3])
    if wanted and not torch.compiler.is_compiling():
        total: Tensor = _Summed.apply(*arguments)  # type: ignore[no-untyped-call]
    else:
        # The compiler derives a backward pass of its own, and would make objects of autograd functions for this one,
        # which PyTorch has deprecated.
        total = _summed(*arguments, run=partial(_recomputed, _chunk_loss) if wanted else _chunk_loss)
    # The mean is taken out here, by autograd: what is kept then is of the size of one position's gradient, which
    # float16 holds, and the scale that a loss is multiplied by arrives together with the division.
    return total / counted_BL.sum()


class _Context(OnceContext):
    saved_tensors: tuple[Tensor | None, ...]
    save_for_backward: Callable[..., None]
    needs_input_grad: tuple[bool, ...]
    dtypes: tuple[torch.dtype, ...]


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        hidden_BLD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor,
        target_BL: Tensor,
        counted_BL: Tensor,
        chunk_len: int,
    ) -> Tensor:
        head = (hidden_BLD, weight_VD, bias_V)
        gradients = _Gradients(*head, *ctx.needs_input_grad[:3])
        total = _summed(*head, target_BL, counted_BL, chunk_len, run=gradients.loss)
        ctx.save_for_backward(*gradients.kept)
        ctx.dtypes, ctx.origin = tuple(tensor.dtype for tensor in head), origin_of(*head)
        return total

    @staticmethod
    @once_differentiable(
        "A chunked loss cannot be differentiated twice: it takes its gradients while the logits are there, and keeps "
        "no logits. Use torch.nn.functional.cross_entropy on the model's logits."
    )
    def backward(ctx: _Context, d_total: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (
            None if gradient is None else _scaled(gradient, d_total, dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)


def _scaled(gradient: Tensor, d_total: Tensor, dtype: torch.dtype) -> Tensor:
    # A product with a scalar would otherwise round that to the narrower type first.
    return (gradient.to(d_total.dtype) * d_total).to(dtype)


class _Chunk(NamedTuple):
    """Some positions of each sequence, the output layer's weights, and what counts, all in rows."""

    positions: slice
    hidden_xD: Tensor
    weight_VD: Tensor
    bias_V: Tensor
    target_x1: Tensor
    counted_x1: Tensor

    def logits(self) -> Tensor:
        """Computed in the type of the weights, and given in float32 at least."""
        logit_xV = self.hidden_xD @ self.weight_VD.mT
        logit_xV += self.bias_V
        return widened(logit_xV)


def _summed(
    hidden_BLD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor,
    target_BL: Tensor,
    counted_BL: Tensor,
    chunk_len: int,
    *,
    run: Callable[[_Chunk], Tensor],
) -> Tensor:
    """The sum of what `run` gives for each chunk."""
    # Once, not once for each chunk.
    hidden_BLD, weight_VD, bias_V = _as_autocast_would(hidden_BLD, weight_VD, bias_V)
    target_BL = target_BL.masked_fill(~counted_BL, 0)
    total, length = widened(hidden_BLD.new_zeros(())), hidden_BLD.shape[1]
    for start in range(0, length, chunk_len):
        positions = slice(start, min(start + chunk_len, length))
        hidden_xD, target_x, counted_x = (x[:, positions].flatten(0, 1) for x in (hidden_BLD, target_BL, counted_BL))
        total = total + run(_Chunk(positions, hidden_xD, weight_VD, bias_V, target_x[:, None], counted_x[:, None]))
    return total


def _chunk_loss(chunk: _Chunk) -> Tensor:
    """The sum of the chunk's losses that count."""
    loss_x = F.cross_entropy(chunk.logits(), chunk.target_x1.squeeze(1), reduction="none")
    return loss_x.masked_fill(~chunk.counted_x1.squeeze(1), 0).sum()


def _recomputed(run: Callable[[_Chunk], Tensor], chunk: _Chunk) -> Tensor:
    total: Tensor = checkpoint(run, chunk, use_reentrant=False, preserve_rng_state=False)
    return total


class _Spread:
    """How each position spreads its probability, in one buffer: the logits, and in their place what comes of them."""

    def __init__(self, chunk: _Chunk) -> None:
        self._chunk, self._buffer_xV = chunk, chunk.logits()
        self._buffer_xV -= self._buffer_xV.amax(dim=1, keepdim=True)
        self._right_x1 = self._buffer_xV.gather(1, chunk.target_x1)
        self._sum_x1 = self._buffer_xV.exp_().sum(dim=1, keepdim=True)

    def loss(self) -> Tensor:
        """The sum of the losses that count."""
        return (self._sum_x1.log() - self._right_x1).masked_fill(~self._chunk.counted_x1, 0).sum()

    def d_logits(self) -> Tensor:
        """The loss's gradient by the logits, in their type; once, since the buffer is used up."""
        d_logit_xV, right = self._buffer_xV, self._chunk.counted_x1.to(self._sum_x1.dtype)
        del self._buffer_xV
        d_logit_xV *= right / self._sum_x1
        d_logit_xV.scatter_(1, self._chunk.target_x1, d_logit_xV.gather(1, self._chunk.target_x1) - right)
        return d_logit_xV.to(self._chunk.weight_VD.dtype)


class _Gradients:
    """Of the summed loss by the output layer's inputs, added up chunk by chunk; `None` where that is not wanted."""

    def __init__(
        self, hidden_BLD: Tensor, weight_VD: Tensor, bias_V: Tensor, of_hidden: bool, of_weight: bool, of_bias: bool
    ) -> None:
        self._hidden_BLD = torch.empty_like(hidden_BLD) if of_hidden else None
        self._weight_VD = torch.zeros_like(widened(weight_VD)) if of_weight else None
        self._bias_V = torch.zeros_like(widened(bias_V)) if of_bias else None

    @property
    def kept(self) -> tuple[Tensor | None, ...]:
        """By hidden, weight and bias."""
        return self._hidden_BLD, self._weight_VD, self._bias_V

    def loss(self, chunk: _Chunk) -> Tensor:
        """The chunk's loss; adds its gradients."""
        spread = _Spread(chunk)
        total = spread.loss()
        d_logit_xV = spread.d_logits()
        if self._hidden_BLD is not None:
            part_BLD = self._hidden_BLD[:, chunk.positions]
            part_BLD.copy_((d_logit_xV @ chunk.weight_VD).view(part_BLD.shape))
        if self._weight_VD is not None:
            _add_product(self._weight_VD, d_logit_xV.mT, chunk.hidden_xD)
        if self._bias_V is not None:
            self._bias_V += d_logit_xV.sum(dim=0, dtype=self._bias_V.dtype)
        return total


def _as_autocast_would(*tensors: Tensor) -> list[Tensor]:
    """The tensors in the type in which autocast, where it is on, computes a linear map."""
    kind = tensors[0].device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return list(tensors)
    narrow = torch.get_autocast_dtype(kind)
    return [tensor if tensor.dtype == torch.float64 else tensor.to(narrow) for tensor in tensors]


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left @ right`, held to the total's precision where that is to be had."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif left.is_cuda:
        total += torch.mm(left, right, out_dtype=total.dtype)
    elif left.dtype == torch.bfloat16:
        # Rounded once for each chunk: on CPUs there is no such product with a float32 result.
        total += left @ right
    else:
        # A sum over thousands of positions may be beyond float16, which ends at 65504.
        total.addmm_(left.to(total.dtype), right.to(total.dtype))
