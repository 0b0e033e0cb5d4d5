"""LSH attention as operators with a backward pass of their own: what every such implementation registers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reformer.functional.dropping import Dropout
from reformer.functional.once import once_differentiable, origin_of
from reformer.functional.windows import Window

Attend = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""query_BHLK, value_BHLK, bucket_BHRL, valid_BL or `None`, and the fields of `Options`, to out_BHLK, log-sum-exps
(see `Operator`) and position_BHRS, int32. Annotated as `torch.library.custom_op` needs it."""

AttendBackward = Callable[..., tuple[Tensor, Tensor]]
"""d_out_BHLK, the inputs of `Attend` before its options, its three results, and the options, to d_query and d_value."""


class Options(NamedTuple):
    """How LSH attention is computed, as plain values: what an operator takes after its tensors.

    Attributes:
        score_scale: As in `lsh_attention`.
        chunk_len: Of the window, and so are `n_before`, `n_after` and `wrap`.
        n_before: See above.
        n_after: See above.
        wrap: See above.
        causal: As in `lsh_attention`, and so are `same_bucket_only` and `deduplicate`.
        same_bucket_only: See above.
        deduplicate: See above.
        rate: Of dropout.
        seed: Of dropout.
    """

    score_scale: float
    chunk_len: int
    n_before: int
    n_after: int
    wrap: str
    causal: bool
    same_bucket_only: bool
    deduplicate: bool
    rate: float
    seed: int

    @classmethod
    def of(
        cls,
        score_scale: float,
        window: Window,
        causal: bool,
        same_bucket_only: bool,
        deduplicate: bool,
        drop: Dropout,
    ) -> "Options":
        """The same choices as `lsh_attention` takes them."""
        return cls(score_scale, *window, causal, same_bucket_only, deduplicate, drop.rate, drop.seed)

    @property
    def window(self) -> Window:
        """Which chunks a query sees."""
        wrap: Any = self.wrap
        return Window(self.chunk_len, self.n_before, self.n_after, wrap)

    @property
    def drop(self) -> Dropout:
        """Of attention weights."""
        return Dropout(self.rate, self.seed)


class Inputs(NamedTuple):
    """The tensors that an operator takes."""

    query_BHLK: Tensor
    value_BHLK: Tensor
    bucket_BHRL: Tensor
    valid_BL: Tensor | None


class Operator(NamedTuple):
    """One implementation, as PyTorch knows it.

    Attributes:
        attend: The differentiable operator. Only its first result has a gradient.
        attend_backward: What its gradient is computed by.
    """

    attend: Callable[..., tuple[Tensor, Tensor, Tensor]]
    attend_backward: Callable[..., tuple[Tensor, Tensor]]


def register(
    name: str, attend: Attend, attend_backward: AttendBackward, *, lse_like: Callable[[Tensor, Tensor], Tensor]
) -> Operator:
    """Make an implementation known to autograd, `torch.compile` and `torch.export`.

    Args:
        name: Of the namespace of its operators.
        attend: Forward.
        attend_backward: Backward.
        lse_like: query_BHLK and bucket_BHRL to an uninitialised tensor of the shape and type of the log-sum-exps that
            `attend` returns.

    Returns:
        The operators.
    """
    forward = torch.library.custom_op(f"{name}::attend", attend, mutates_args=())
    backward = torch.library.custom_op(f"{name}::attend_backward", attend_backward, mutates_args=())

    def empty(query: Tensor, value: Tensor, bucket: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
        position = torch.empty_like(bucket, dtype=torch.int32, memory_format=torch.contiguous_format)
        return empty_heads(value), lse_like(query, bucket), position

    def empty_gradients(d_out: Tensor, query: Tensor, value: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        return empty_heads(query), empty_heads(value)

    forward.register_fake(empty)
    backward.register_fake(empty_gradients)

    def differentiate(ctx: Any, d_out: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:  # noqa: ANN401  (autograd's)
        if d_out is None:
            return (None,) * (4 + len(ctx.options))
        d_query, d_value = backward(d_out, *ctx.saved_tensors, *ctx.options)
        return (d_query, d_value, *(None,) * (2 + len(ctx.options)))

    forward.register_autograd(differentiate, setup_context=_keep)
    return Operator(forward, backward)


class Attended(NamedTuple):
    """What `Operator.attend` returned for one call: with it the backward pass can run without computing it again."""

    out_BHLK: Tensor
    lse: Tensor
    position_BHRS: Tensor


def attend_keeping(
    operator: Operator, keep: Callable[[Callable[[], Attended]], Attended], inputs: Inputs, options: Options
) -> Tensor:
    """The same output and gradients as `operator.attend`; computed only if `keep` does not have it.

    Gradients of gradients are refused, with a `RuntimeError` in the second backward pass.

    Args:
        operator: What computes it.
        keep: Calls what it is given the first time, and returns the same result every time.
        inputs: What the operator takes before its options. Where it is computed again, they must be what they were.
        options: How.

    Returns:
        out_BHLK.
    """
    with torch.no_grad():
        attended = keep(lambda: Attended(*operator.attend(*inputs, *options)))
    out_BHLK: Tensor = _Kept.apply(operator, options, *inputs, *attended)  # type: ignore[no-untyped-call]
    return out_BHLK


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, operator: Operator, options: Options, *tensors: Tensor | None) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(*tensors)
        ctx.operator, ctx.options, ctx.origin = operator, options, origin_of(*tensors)
        out_BHLK = tensors[len(Inputs._fields)]
        assert out_BHLK is not None
        return out_BHLK.view_as(out_BHLK)

    @staticmethod
    @once_differentiable(
        "LSH attention whose output is kept cannot be differentiated twice: its backward pass is an operator that has "
        "no gradient. Use LSHAttention(backend='eager', save_attention_output=False)."
    )
    def backward(ctx: Any, d_out_BHLK: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        saved = ctx.saved_tensors
        d_query, d_value = ctx.operator.attend_backward(d_out_BHLK, *saved, *ctx.options)
        return (None, None, d_query, d_value, *(None,) * (len(saved) - 2))


def empty_heads(x_BHLK: Tensor) -> Tensor:
    """An uninitialised tensor of that shape and type whose heads stand side by side in memory, as in BLHK.

    So `transpose(1, 2).flatten(2)`, which the output projection needs, copies nothing.
    """
    batch, heads, length, width = x_BHLK.shape
    return x_BHLK.new_empty((batch, length, heads, width)).transpose(1, 2)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:  # noqa: ANN401
    query, value, bucket, valid, *options = inputs
    out, lse, position = output
    ctx.save_for_backward(query, value, bucket, valid, out, lse, position)
    ctx.options = options
    ctx.mark_non_differentiable(lse, position)
    ctx.set_materialize_grads(False)
