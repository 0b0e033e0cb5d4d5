"""Autograd functions that can be differentiated once: their backward passes compute values and record no graph.

PyTorch's `once_differentiable` refuses a second derivative only where the gradient that comes in varies, and only on
the way to all leaves at once. Elsewhere what it gives passes for a constant: its derivative is wrong without a word.
"""

from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

Gradients = tuple[Tensor | None, ...]
"""What a backward pass gives, one for each argument of the forward pass."""

Backward = Callable[..., Gradients]
"""The context and the gradients of all results, to `Gradients`."""


class OnceContext(FunctionCtx):
    """The context of such a function.

    Attributes:
        origin: `origin_of` all arguments that gradients are sent to, set in the forward pass.
    """

    origin: Tensor


def origin_of(*inputs: Tensor | None) -> Tensor:
    """An empty tensor that comes of the inputs as autograd sees it, and keeps nothing of them."""
    # A forward pass runs without gradients.
    with torch.enable_grad():
        return _constant(torch.empty(0), inputs, refusal="")


def once_differentiable(refusal: str) -> Callable[[Backward], Backward]:
    """Makes of a backward pass one that may run with `create_graph=True`; what it gives is not to be differentiated.

    Args:
        refusal: What to say where that is tried, by whatever variable: a `RuntimeError` in the second backward pass.

    Returns:
        A decorator of `backward`, whose context is a `OnceContext`.
    """

    def decorated(backward: Backward) -> Backward:
        @wraps(backward)
        def once(ctx: OnceContext, *d_outputs: Tensor) -> Gradients:
            with torch.no_grad():
                gradients = backward(ctx, *d_outputs)
            if not torch.is_grad_enabled():
                return gradients
            # All gradients hang on the inputs, even where their own gradients do not pass through this function's.
            sources = (ctx.origin, *d_outputs)
            return tuple(None if one is None else _constant(one, sources, refusal) for one in gradients)

        return once

    return decorated


def _constant(value: Tensor, sources: Sequence[Tensor | None], refusal: str) -> Tensor:
    if torch.compiler.is_compiling():
        # The backward passes that the compiler makes refuse to be differentiated, and this would cut its graph in two.
        return value
    constant: Tensor = _Constant.apply(refusal, value, *sources)  # type: ignore[no-untyped-call]
    return constant


class _ConstantContext(FunctionCtx):
    refusal: str


class _Constant(torch.autograd.Function):
    """A value that comes of its sources in a way that nobody has recorded."""

    @staticmethod
    def forward(ctx: _ConstantContext, refusal: str, value: Tensor, *sources: Tensor | None) -> Tensor:
        del sources
        ctx.refusal = refusal
        # Not a view, which hooks could not change in place.
        return value.detach()

    @staticmethod
    def backward(ctx: _ConstantContext, d_value: Tensor) -> Gradients:
        raise RuntimeError(ctx.refusal)
