"""Reversible residual layers for any functions f, g, ... (paper, section 3, equations 7 and 8).

    y1 = x1 + f(x2)        x2 = y2 - g(y1)
    y2 = x2 + g(y1)        x1 = y1 - f(x2)

A layer is any number of such halves: each adds to one stream what it makes of the other, and the streams change places.
Nothing but the last layer's outputs is kept for the backward pass; every layer rebuilds its inputs from its outputs.
Each layer is one autograd node with its parameters as inputs, so that gradients arrive, and hooks on them fire, layer
by layer. Each half is recomputed once.

Floating point does not undo a sum: what is rebuilt is off by rounding, which grows from layer to layer. On a grid
(`on_grid_sequence`) it is rebuilt bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint

from reformer.functional.once import OnceContext, once_differentiable, origin_of
from reformer.functional.scores import widened


class Half(Protocol):
    """One residual branch, as the stacks see it: bound to one call, so that running it again gives the same values."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything trainable that the branch uses."""

    @property
    def context(self) -> tuple[Tensor, ...]:
        """Tensors from outside that the branch reads and that may want a gradient, such as an encoder's output."""

    def pieces(self, length: int) -> Sequence[slice]:
        """How the sequence may be cut: pieces that the branch treats independently of each other."""

    def __call__(self, x_BLD: Tensor, piece: slice, /, *context: Tensor) -> Tensor:
        """The branch's value on `x_BLD`, which is the given piece of the sequence, and on its context."""


Layer = Sequence[Half]
"""The halves of one layer, in order: two as in the paper, or any other number."""

Streams = tuple[Tensor, Tensor]
"""Both streams, of one shape and type."""

Run = Callable[[Sequence[Layer], Tensor, Tensor], Streams]
"""One of the sequences below: layers and both streams, to both streams after the last layer."""


def run_half(half: Half, x_BLD: Tensor) -> Tensor:
    """The branch on the whole sequence, piece by piece.

    Where gradients are recorded and there are several pieces, each is recomputed in the backward pass: otherwise all of
    them would be kept, and cutting would save nothing.
    """
    first, *others = half.pieces(x_BLD.shape[1])
    if not others:
        return half(x_BLD, first, *half.context)
    if torch.is_grad_enabled():
        run = partial(checkpoint, half, use_reentrant=False, preserve_rng_state=False)
        # Each piece narrows its weights itself, as in a reversible layer: from one that they share, the sum of their
        # gradients would come rounded to the narrow type at each.
        with _present_autocast(x_BLD.device.type, cache_enabled=False):
            return torch.cat([run(x_BLD[:, piece], piece, *half.context) for piece in (first, *others)], dim=1)
    value = half(x_BLD[:, first], first, *half.context)
    out_BLD = value.new_empty(x_BLD.shape)
    out_BLD[:, first] = value
    for piece in others:
        out_BLD[:, piece] = half(x_BLD[:, piece], piece, *half.context)
    return out_BLD


def run_layer(layer: Layer, x1: Tensor, x2: Tensor) -> Streams:
    """One layer, forwards."""
    for half in layer:
        x1, x2 = x2, x1 + run_half(half, x2)
    return x1, x2


def on_grid(x: Tensor, bits: int) -> Tensor:
    """The nearest multiples of 2 ** -bits, in float32 at least; the gradient passes as if nothing had been rounded.

    Scaling by a power of two is exact, so each result is a multiple and is held without error, whatever its size.
    """
    if not torch.is_grad_enabled():
        # The compiler makes objects of autograd functions, which PyTorch has deprecated, even where it needs none.
        return _rounded(x, bits)
    rounded: Tensor = _OnGrid.apply(x, bits)  # type: ignore[no-untyped-call]
    return rounded


def _rounded(x: Tensor, bits: int) -> Tensor:
    return (widened(x) * 2.0**bits).round_().mul_(2.0**-bits)


class _GridContext(FunctionCtx):
    dtype: torch.dtype


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _GridContext, x: Tensor, bits: int) -> Tensor:
        ctx.dtype = x.dtype
        return _rounded(x, bits)

    @staticmethod
    def backward(ctx: _GridContext, d_rounded: Tensor) -> tuple[Tensor, None]:
        return d_rounded.to(ctx.dtype), None


def grid_limit(dtype: torch.dtype, bits: int) -> float:
    """What the absolute values of a stream on the grid must stay below: 2 ** (24 - bits) in float32.

    Count in steps of the grid, and let p be the digits of the type: 24, or 53 in float64. All whole numbers up to 2^p
    are held without error. Let y be what comes of adding a branch r to a stream x, and |y| < 2^p. Rounding keeps order
    and 2^p is a number of the type, so the exact sum is below 2^p as well (a larger one would have given 2^p at least);
    it is a whole number, so y is that sum; so y - r is exactly x, a number of the type, and the difference that is
    computed is x. At 2^p itself this ends: 2^p + 1 gives 2^p, too.
    """
    return float(2.0**-bits * 2 / torch.finfo(dtype).eps)


def check_on_grid(stream: Tensor, bits: int) -> None:
    """The stream is finite and within `grid_limit`.

    Nothing waits for the device. On the CPU an error is raised at once; on CUDA the assertion fails on the device, and
    whatever is called there next raises.

    Raises:
        RuntimeError: It is not.
    """
    if stream.numel() == 0:
        return
    limit = grid_limit(stream.dtype, bits)
    low, high = stream.detach().aminmax()
    # What is no number is neither above nor below.
    torch._assert_async(
        (low > -limit) & (high < limit),
        f"A residual stream is not finite or has left the range in which sums on a grid are exact: with "
        f"grid_bits={bits} the absolute values of {stream.dtype} must stay below {limit:g}. Use a lower grid_bits, or "
        "None.",
    )


class _GridHalf:
    """A half whose value is rounded to the grid before it is added, and which reads streams within its range only."""

    def __init__(self, half: Half, bits: int) -> None:
        self._half, self._bits = half, bits

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self._half.parameters

    @property
    def context(self) -> tuple[Tensor, ...]:
        return self._half.context

    def pieces(self, length: int) -> Sequence[slice]:
        return self._half.pieces(length)

    def __call__(self, x_BLD: Tensor, piece: slice, /, *context: Tensor) -> Tensor:
        check_on_grid(x_BLD, self._bits)
        # Through aliases, so that autograd adds up all that one half sends back before it adds that to anything else:
        # floating point tells orders apart, and a reversible layer has no other.
        x_BLD, *others = (tensor.view_as(tensor) for tensor in (x_BLD, *context))
        return on_grid(self._half(x_BLD, piece, *others), self._bits)


def on_grid_sequence(run: Run, bits: int) -> Run:
    """The same sequence with both streams on a grid, where sums are exact: `x1 = y1 - f(x2)` undoes `y1 = x1 + f(x2)`.

    Both streams, and what each half adds to them, are rounded to multiples of 2 ** -bits; gradients pass as if they
    were not. All three sequences then compute the same function with the same gradients, bit for bit, as long as a half
    run again gives the same bits: on the CPU all halves of this library do; on CUDA, products and sums whose order is
    fixed (`torch.use_deterministic_algorithms`).

    The price is half a step, 2 ** -(bits + 1), in each entry of each branch at most.

    Args:
        run: `plain_sequence`, `checkpointed_sequence` or `reversible_sequence`.
        bits: Binary digits behind the point.

    Returns:
        A sequence for float32 or float64 streams. It raises `ValueError` for others, and `RuntimeError` where a stream
        is not finite or not below `grid_limit`.
    """
    return partial(_on_grid_sequence, run, bits)


def _on_grid_sequence(run: Run, bits: int, layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    if torch.finfo(x1_BLD.dtype).bits < 32:
        raise ValueError(
            f"the streams are {x1_BLD.dtype}, which has too few digits for a grid of {bits} bits; "
            "use float32 or float64 streams, or no grid"
        )
    first_BLD = on_grid(x1_BLD, bits)
    # An alias for the same reason as in a half: gradients of two streams, not of one tensor that is used thrice.
    second_BLD = first_BLD.view_as(first_BLD) if x2_BLD is x1_BLD else on_grid(x2_BLD, bits)
    y1_BLD, y2_BLD = run([[_GridHalf(half, bits) for half in layer] for layer in layers], first_BLD, second_BLD)
    # Every other sum was read by a half.
    check_on_grid(y2_BLD, bits)
    return y1_BLD, y2_BLD


def plain_sequence(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    """The same function as `reversible_sequence` by plain autograd, every activation kept.

    Args:
        layers: As in `reversible_sequence`, and so are the streams and the result.
        x1_BLD: See above.
        x2_BLD: See above.

    Returns:
        See above.
    """
    for layer in layers:
        x1_BLD, x2_BLD = run_layer(layer, x1_BLD, x2_BLD)
    return x1_BLD, x2_BLD


def checkpointed_sequence(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    """The same function by `torch.utils.checkpoint`, each layer's inputs kept and the rest recomputed.

    Random streams are not restored for that: as in `reversible_sequence`, a half repeats itself.

    Args:
        layers: As in `reversible_sequence`, and so are the streams and the result.
        x1_BLD: See above.
        x2_BLD: See above.

    Returns:
        See above.
    """
    for layer in layers:
        x1_BLD, x2_BLD = checkpoint(run_layer, layer, x1_BLD, x2_BLD, use_reentrant=False, preserve_rng_state=False)
    return x1_BLD, x2_BLD


def reversible_sequence(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    """Run reversible layers over two streams (paper, section 3, equations 7 and 8).

    The backward pass may run once for each forward pass, and the two results must not be changed in place before it.
    Gradients of gradients are refused. Where gradients are wanted, `torch.compile` leaves the layers as they are: what
    it makes of a half need not round alike with and without gradients.

    Args:
        layers: The halves of each layer, bound to this call: run again, a half gives the same values.
        x1_BLD: First stream.
        x2_BLD: Second stream, of the same shape.

    Returns:
        Both streams after the last layer, of that shape.

    Raises:
        RuntimeError: In the backward pass: it runs a second time, if only for the layers that the first left out; it
            leads through gradients that a first one made; the result, a parameter or a context tensor was changed in
            place or replaced after the forward pass; or a half reads a tensor that wants a gradient and is neither
            among its parameters nor its context.
    """
    if not torch.is_grad_enabled():
        return plain_sequence(layers, x1_BLD, x2_BLD)
    if torch.compiler.is_compiling():
        # Not a decorator: that would import the compiler, which takes two seconds, with this module.
        streams: Streams = torch.compiler.disable(_chained)(layers, x1_BLD, x2_BLD)
        return streams
    return _chained(layers, x1_BLD, x2_BLD)


def _chained(layers: Sequence[Layer], x1_BLD: Tensor, x2_BLD: Tensor) -> Streams:
    chain = _Chain()
    for depth, layer in enumerate(layers):
        inputs = (chain, depth, layer, x1_BLD, x2_BLD, *_contexts(layer), *_parameters(layer))
        x1_BLD, x2_BLD = _ReversibleLayer.apply(*inputs)  # type: ignore[no-untyped-call]
    return x1_BLD, x2_BLD


def _contexts(layer: Layer) -> list[Tensor]:
    return [tensor for half in layer for tensor in half.context]


def _parameters(layer: Layer) -> list[Parameter]:
    return [parameter for half in layer for parameter in half.parameters]


class _Chain:
    """Streams handed from layer to layer: forward its outputs, backward its rebuilt inputs. One for each call."""

    def __init__(self) -> None:
        self._depth = -1
        self._streams: tuple[Tensor, Tensor] | None = None
        self._versions: tuple[int, ...] = ()

    def put(self, depth: int, y1: Tensor, y2: Tensor) -> None:
        """Leave what stands above layer `depth`, in either direction."""
        # Detached: the outputs themselves will point to the autograd node, and the node to this chain.
        self._depth, self._streams = depth, (y1.detach(), y2.detach())
        self._versions = _versions((y1, y2))

    def take(self, depth: int) -> tuple[Tensor, Tensor]:
        """The outputs of layer `depth`, once."""
        if self._streams is None or self._depth != depth:
            raise RuntimeError(
                "A reversible stack rebuilds its activations once: its backward pass cannot run a second time, nor in "
                "part. Run the forward pass again, or use residual='standard'."
            )
        if _versions(self._streams) != self._versions:
            raise RuntimeError(
                "The output of a reversible stack was changed in place before its backward pass, which rebuilds "
                "activations from it. Change a copy instead."
            )
        streams, self._streams = self._streams, None
        return streams


class _Context(OnceContext):
    chain: _Chain
    depth: int
    layer: Layer
    inputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    autocast: AbstractContextManager[Any]


class _ReversibleLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context, chain: _Chain, depth: int, layer: Layer, x1: Tensor, x2: Tensor, *inputs: Tensor
    ) -> Streams:
        y1, y2 = run_layer(layer, x1, x2)
        chain.put(depth, y1, y2)
        ctx.chain, ctx.depth, ctx.layer, ctx.autocast = chain, depth, layer, _present_autocast(x1.device.type)
        ctx.inputs, ctx.versions, ctx.origin = inputs, _versions(inputs), origin_of(x1, x2, *inputs)
        return y1, y2

    @staticmethod
    @once_differentiable(
        "A reversible layer cannot be differentiated twice: it keeps no activations, and records nothing where it "
        "rebuilds them. Use residual='standard', or `plain_sequence` on the same layers."
    )
    def backward(ctx: _Context, d1: Tensor, d2: Tensor) -> tuple[Tensor | None, ...]:
        way_back = _WayBack(*ctx.chain.take(ctx.depth), d1, d2)
        _check_inputs(ctx)
        d_contexts: list[Tensor | None] = []
        d_parameters: list[Tensor | None] = []
        with ctx.autocast:
            for half in reversed(ctx.layer):
                pulled = _Pulled(half)
                way_back.undo(half, pulled)
                d_contexts[:0], d_parameters[:0] = pulled.d_context, pulled.d_parameters
        if ctx.depth > 0:
            ctx.chain.put(ctx.depth - 1, way_back.given, way_back.total)
        # A loss that is kept keeps this node, which need not keep buckets and an encoder's output.
        ctx.layer, ctx.inputs = (), ()
        return (None, None, None, way_back.d_given, way_back.d_total, *d_contexts, *d_parameters)


def _check_inputs(ctx: _Context) -> None:
    """Parameters and context are the tensors they were in the forward pass, and hold what they held."""
    now = (*_contexts(ctx.layer), *_parameters(ctx.layer))
    same = len(now) == len(ctx.inputs) and all(one is other for one, other in zip(now, ctx.inputs, strict=True))
    if not same or _versions(now) != ctx.versions:
        raise RuntimeError(
            "A parameter or context tensor of a reversible layer was changed in place or replaced between the forward "
            "and the backward pass, which rebuilds activations with it. Step the optimiser after the backward pass."
        )


def version_of(tensor: Tensor) -> int:
    """How often the tensor was changed in place; 0 for those made in inference mode, which nobody counts."""
    return 0 if tensor.is_inference() else tensor._version


def _versions(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(version_of(tensor) for tensor in tensors)


def _present_autocast(device_type: str, *, cache_enabled: bool | None = None) -> AbstractContextManager[Any]:
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(
        device_type,
        dtype=torch.get_autocast_dtype(device_type),
        enabled=torch.is_autocast_enabled(device_type),
        cache_enabled=torch.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled,
    )


class _WayBack:
    """Both streams and their gradients on the way back through a layer.

    Attributes:
        given: The stream that the half to be undone next has read, y1 after a whole layer.
        total: The stream that it was added to, y2 after a whole layer.
        d_given: The gradient of `given`, as far as it is known.
        d_total: The gradient of `total`.
    """

    def __init__(self, given: Tensor, total: Tensor, d_given: Tensor, d_total: Tensor) -> None:
        self.given, self.total, self.d_given, self.d_total = given, total, d_given, d_total

    def undo(self, half: Half, pulled: "_Pulled") -> None:
        """Undo `total = other + half(given)`, and pull the gradient back through it.

        Piece by piece, so that a branch that treats positions independently needs the memory of one piece only.
        """
        pieces = half.pieces(self.given.shape[1])
        if len(pieces) == 1:
            leaf, branch = pulled.recomputed(self.given, pieces[0])
            # Nobody needs the sum any more: it is let go here, before the gradients, where most is held.
            self.total = self.total - branch.detach()
            self.d_given = _plus(self.d_given, pulled.back(leaf, branch, self.d_total))
        else:
            results = (torch.empty_like(self.total), torch.empty_like(self.d_given))
            # In the order in which autograd goes back, so that sums over pieces round alike.
            for piece in reversed(pieces):
                self._undo_piece(piece, pulled, *results)
            self.total, self.d_given = results
        # The streams change places.
        self.given, self.total = self.total, self.given
        self.d_given, self.d_total = self.d_total, self.d_given

    def _undo_piece(self, piece: slice, pulled: "_Pulled", other: Tensor, d_given: Tensor) -> None:
        leaf, branch = pulled.recomputed(self.given[:, piece], piece)
        torch.sub(self.total[:, piece], branch.detach(), out=other[:, piece])
        d_given[:, piece] = _plus(self.d_given[:, piece], pulled.back(leaf, branch, self.d_total[:, piece]))


class _Pulled:
    """What the gradient of one half's value does to everything but the stream that it has read.

    Attributes:
        d_context: Of the half's context, in order; `None` where no gradient arrived or none is wanted.
        d_parameters: Of its parameters, likewise.
    """

    def __init__(self, half: Half) -> None:
        self._half = half
        self._context = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in half.context]
        self._wanted = [tensor for tensor in (*self._context, *half.parameters) if tensor.requires_grad]
        self._found: list[Tensor | None] = [None] * len(self._wanted)
        # Of those sums that were made here, and not by autograd, whose results may be other gradients' memory.
        self._ours = [False] * len(self._wanted)

    def recomputed(self, given_BLD: Tensor, piece: slice) -> Streams:
        """A leaf that holds this piece of the stream, and the branch's value on it."""
        leaf = given_BLD.detach().requires_grad_()
        with torch.enable_grad():
            branch = self._half(leaf, piece, *self._context)
        _check_leaves(branch, (leaf, *self._wanted))
        return leaf, branch

    def back(self, leaf: Tensor, branch: Tensor, d_branch: Tensor) -> Tensor | None:
        """The gradient of the leaf; those of context and parameters are added up."""
        if not branch.requires_grad:
            return None
        d_leaf: Tensor | None
        inputs = [leaf, *self._wanted]
        with _without_hooks(self._wanted):
            d_leaf, *found = torch.autograd.grad(branch, inputs, d_branch.to(branch.dtype), allow_unused=True)
        for index, new in enumerate(found):
            if new is not None:
                self._add(index, new)
        return d_leaf

    def _add(self, index: int, new: Tensor) -> None:
        old = self._found[index]
        if old is None:
            self._found[index] = new
        elif self._ours[index]:
            old += new
        else:
            self._found[index], self._ours[index] = old + new, True

    @property
    def d_context(self) -> list[Tensor | None]:
        return self._in_place_of(self._context)

    @property
    def d_parameters(self) -> list[Tensor | None]:
        return self._in_place_of(self._half.parameters)

    def _in_place_of(self, tensors: Sequence[Tensor]) -> list[Tensor | None]:
        found = {id(tensor): gradient for tensor, gradient in zip(self._wanted, self._found, strict=True)}
        return [found.get(id(tensor)) for tensor in tensors]


@contextmanager
def _without_hooks(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Hooks on these tensors do not fire meanwhile.

    They would for each half, and piece of it, that a gradient is found of, and again when the layer sends it on.
    """
    hooked = [(tensor, tensor._backward_hooks) for tensor in tensors if tensor._backward_hooks]
    try:
        for tensor, _ in hooked:
            tensor._backward_hooks = None
        yield
    finally:
        for tensor, hooks in hooked:
            tensor._backward_hooks = hooks


def _check_leaves(branch: Tensor, known: Sequence[Tensor]) -> None:
    """No gradient is lost: all tensors that the branch would send one to are known.

    A branch that reads a tensor it does not name would leave it without a gradient, in silence: one from a closure, or
    parameters that a wrapper put in place of the module's own.
    """
    names, seen, todo = {id(tensor) for tensor in known}, set(), [branch.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in names:
            raise RuntimeError(
                f"A half of a reversible layer reads a tensor of shape {tuple(variable.shape)} that wants a gradient "
                "but is neither among its parameters nor its context. Pass it as context; shard whole models, not "
                "parts of a layer."
            )
        todo += [following for following, _ in node.next_functions]


def _plus(old: Tensor, new: Tensor | None) -> Tensor:
    return old if new is None else old + new
