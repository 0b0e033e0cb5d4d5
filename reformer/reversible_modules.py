"""Reversible residual layers out of any PyTorch modules, without the Reformer around them.

layers = [(ReadsContext(attention), feed_forward) for _ in range(12)]
y1, y2 = ReversibleSequence(*layers)(x, x, memory)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.checkpoint import get_device_states, set_device_states

from reformer.reversible import (
    Layer,
    Run,
    Streams,
    on_grid_sequence,
    plain_sequence,
    reversible_sequence,
    run_half,
    run_layer,
    version_of,
)

GRID_BITS = range(1, 23)


class ReadsContext(nn.Module):
    """Marks a half that is called with the sequence's context tensors after its stream: `module(x, *context)`.

    Args:
        module: What is called. It maps x to a tensor of the same shape.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """The module's value, of the shape of `x`."""
        out: Tensor = self.module(x, *context)
        return out


class ReversibleSequence(nn.Module):
    """Layers of any modules over two streams, which keep no activation for the backward pass.

    Paper, section 3, equations 7 and 8:

        y1 = x1 + f(x2)        y2 = x2 + g(y1)

    Each layer is a sequence of halves: two as above, or any other number; each adds to one stream what it makes of the
    other, then the streams change places. A half maps a tensor to one of the same shape. Everything that a half needs
    to be run again as it was is kept for each call: the state of the random streams of the CPU and of every device
    involved, training mode, autocast. Several forward passes may come before one backward pass. Buffers that a half
    updates, such as the running statistics of batch normalisation, are updated once; a half whose value hangs on one
    must not update it through `.data`, which leaves no trace, so that it is not undone for the recomputation.

    Args:
        layers: The halves of each layer; those that read context tensors wrapped in `ReadsContext`.
        grid_bits: With it, streams and what is added to them are rounded to multiples of 2 ** -grid_bits, so that the
            layers are undone bit for bit, see `on_grid_sequence`: for float32 and float64 streams whose absolute values
            stay below 2 ** (24 - grid_bits) and 2 ** (53 - grid_bits). `None` rounds nothing.

    Raises:
        ValueError: A layer has no halves, or `grid_bits` is not from 1 to 22.
        TypeError: A layer is no sequence of modules.
    """

    def __init__(self, *layers: Sequence[nn.Module], grid_bits: int | None = None) -> None:
        super().__init__()
        if grid_bits is not None and grid_bits not in GRID_BITS:
            raise ValueError(
                f"grid_bits={grid_bits!r} is not a whole number from {GRID_BITS[0]} to {GRID_BITS[-1]}; "
                "12 suits streams below 4096"
            )
        for index, layer in enumerate(layers):
            if not layer:
                raise ValueError(f"layers[{index}] has no halves; give each layer at least one module")
        self.layers = nn.ModuleList(nn.ModuleList(layer) for layer in layers)
        self.grid_bits = grid_bits

    def forward(self, x1: Tensor, x2: Tensor, *context: Tensor) -> Streams:
        """Run the layers.

        Args:
            x1: First stream, [batch, ...], at least two dimensions, floating point.
            x2: Second stream, of the same shape and type.
            context: Tensors for the halves that read them, such as an encoder's output. They receive gradients, each
                once, whatever the number of layers.

        Returns:
            Both streams after the last layer. They must not be changed in place before the backward pass, which may run
            once.

        Raises:
            ValueError: The streams do not match, or are too narrow for a grid, context is missing or read by no half,
                or a half does not map its stream to another tensor of the same shape, or changes it in place.
            RuntimeError: A stream has left the range of the grid. In the backward pass: as of `reversible_sequence`, or
                a buffer of a half was changed since.
        """
        self.check(x1, x2, context)
        return self.summing(reversible_sequence)(self.bound(context, repeatable=torch.is_grad_enabled()), x1, x2)

    def summing(self, run: Run) -> Run:
        """`reversible_sequence`, or another way to run the layers, on this sequence's grid if it has one."""
        return run if self.grid_bits is None else on_grid_sequence(run, self.grid_bits)

    def bound(self, context: Sequence[Tensor], *, repeatable: bool = True) -> list[Layer]:
        """The layers tied to one call, as `reversible_sequence` takes them.

        Args:
            context: As in `forward`.
            repeatable: Whether a half that is run again gives the same values, for which it keeps the state it had.

        Returns:
            The halves of each layer.
        """
        return [
            [
                ModuleHalf(half, tuple(context) if isinstance(half, ReadsContext) else (), repeatable=repeatable)
                for half in cast(nn.ModuleList, layer)
            ]
            for layer in self.layers
        ]

    def check(self, x1: Tensor, x2: Tensor, context: Sequence[Tensor]) -> None:
        """The arguments are as `forward` takes them.

        Raises:
            ValueError: They are not; names the argument.
        """
        if x1.shape != x2.shape or x1.dtype != x2.dtype:
            raise ValueError(
                f"x2 is {x2.dtype} of shape {tuple(x2.shape)}, but must match x1, {x1.dtype} of shape {tuple(x1.shape)}"
            )
        if x1.dim() < 2 or not x1.is_floating_point():
            raise ValueError(
                f"x1 is {x1.dtype} of shape {tuple(x1.shape)}; a stream is floating point, [batch, ...], "
                "of at least two dimensions"
            )
        reads = any(isinstance(half, ReadsContext) for layer in self.layers for half in cast(nn.ModuleList, layer))
        if context and not reads:
            raise ValueError(
                f"context holds {len(context)} tensors that no half reads; wrap those that do in ReadsContext"
            )
        if reads and not context:
            raise ValueError("context is empty, but halves wrapped in ReadsContext read it; pass it after the streams")


class ModuleHalf:
    """A module as a half of a reversible layer, tied to one call."""

    def __init__(self, module: nn.Module, context: tuple[Tensor, ...], *, repeatable: bool) -> None:
        self._module = module
        self._context = context
        self._repeatable = repeatable
        self._moment: _Moment | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of the module."""
        return tuple(self._module.parameters())

    @property
    def context(self) -> tuple[Tensor, ...]:
        """What the module reads beside its stream."""
        return self._context

    def pieces(self, length: int) -> Sequence[slice]:
        """One piece: what the module does is not known."""
        return (slice(0, length),)

    def __call__(self, x: Tensor, piece: slice, *context: Tensor) -> Tensor:
        """The module's value; from the second time on, as it was the first time."""
        del piece
        if not self._repeatable:
            return self._run(x, *context)
        if self._moment is not None:
            with self._moment.again():
                return self._run(x, *context)
        moment = _Moment(self._module, x, *context)
        out = self._run(x, *context)
        moment.keep_only_what_changed()
        self._moment = moment
        return out

    def _run(self, x: Tensor, *context: Tensor) -> Tensor:
        version = version_of(x)
        out: Tensor = self._module(x, *context)
        name = type(self._module).__name__
        if not isinstance(out, Tensor) or out.shape != x.shape or torch.promote_types(out.dtype, x.dtype) != x.dtype:
            found = f"{out.dtype} of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise ValueError(
                f"layers hold a half, {name}, that made {found} of a stream, {x.dtype} of shape {tuple(x.shape)}; "
                "a half returns one tensor of its stream's shape, no wider in type"
            )
        if version_of(x) != version:
            raise ValueError(
                f"layers hold a half, {name}, that changed its stream in place, from which activations are rebuilt; "
                "leave out inplace=True, or have it work on a copy"
            )
        return out


Place = tuple[nn.Module, str]
"""Where a buffer is registered."""

Buffers = dict[Place, Tensor | None]
"""What is registered there; `None` stands for a buffer that is still to come."""


class _Moment:
    """The state that a module's value depends on, besides parameters and inputs: as it is when this is made."""

    def __init__(self, module: nn.Module, *inputs: Tensor) -> None:
        self._cpu_stream = torch.get_rng_state()
        self._devices, self._device_streams = get_device_states(*inputs)
        self._device_type = min({tensor.device.type for tensor in inputs} - {"cpu", "meta"}, default="cuda")
        self._training = {one: one.training for one in module.modules()}
        self._buffers: Buffers = {
            (one, name): buffer for one in module.modules() for name, buffer in one._buffers.items()
        }
        self._versions = {place: version_of(buffer) for place, buffer in self._buffers.items() if buffer is not None}
        # All of them: which ones the module will write shows when it has, and what they held is gone by then; nor can
        # writes be caught on their way, since batch normalisation and compiled code announce none. It costs a pass over
        # the buffers here and another in `again`, 0.1 to 6 % of training steps on a CPU (most with a float32 mask of
        # 4096 x 4096), and their memory while the module runs.
        self._copies = _copies(self._buffers)

    def keep_only_what_changed(self) -> None:
        """Keep copies of those buffers only that the module has updated since."""
        for place in self._buffers:
            if not self._changed(place):
                del self._copies[place]

    @contextmanager
    def again(self) -> Iterator[None]:
        """The same state, for a while; random streams, training mode and buffers are afterwards as they were before.

        The module has buffers of its own meanwhile: one that was written and put back would look changed to autograd,
        which keeps some for the backward pass, and batch normalisation writes some without anyone being told.
        """
        if any(self._changed(place) for place in self._buffers if place not in self._copies):
            raise RuntimeError(
                "A buffer of a reversible layer was changed between the forward and the backward pass, which rebuilds "
                "activations with it. Run the backward pass before another call changes buffers."
            )
        training = {one: one.training for one in self._training}
        buffers: Buffers = {(module, name): getattr(module, name) for module, name in self._buffers}
        with torch.random.fork_rng(self._devices, device_type=self._device_type):
            torch.set_rng_state(self._cpu_stream)
            set_device_states(self._devices, self._device_streams, device_type=self._device_type)
            try:
                _set(self._training, _copies(self._buffers | self._copies))
                yield
            finally:
                _set(training, buffers)

    def _changed(self, place: Place) -> bool:
        module, name = place
        then, now = self._buffers[place], getattr(module, name)
        if then is None or now is not then:
            return now is not then
        # Changes to tensors that were made in inference mode are counted by nobody.
        return then.is_inference() or version_of(then) != self._versions[place]


def _copies(buffers: Buffers) -> Buffers:
    """A copy of each buffer that there is; one that is registered in two places stays one."""
    copies = {id(buffer): None if buffer is None else buffer.detach().clone() for buffer in buffers.values()}
    return {place: copies[id(buffer)] for place, buffer in buffers.items()}


def _set(training: dict[nn.Module, bool], buffers: Buffers) -> None:
    for one, mode in training.items():
        one.training = mode
    for (module, name), buffer in buffers.items():
        setattr(module, name, buffer)


class Inversion(NamedTuple):
    """How exactly reversible layers are undone.

    Attributes:
        layer_errors: For each layer, first to last, the error of its inputs as rebuilt from the last layer's outputs,
            relative to the inputs' norm.
        gradient_error: Difference of all gradients from plain autograd's, relative to the latter's norm.
    """

    layer_errors: tuple[float, ...]
    gradient_error: float


def check_inversion(sequence: ReversibleSequence, x1: Tensor, x2: Tensor, *context: Tensor) -> Inversion:
    """Undo the layers and compare what comes back with what went in, and the gradients with plain autograd's.

    Rounding leaves about 1e-6 in float32 and 1e-15 in float64, growing with depth, and nothing at all on a grid. Errors
    near 1, or any on a grid, mean that a half does not give the same values twice, for example because it draws from a
    random stream that PyTorch does not know.

    Args:
        sequence: The layers, whose parameters' gradients are left alone.
        x1: As in `ReversibleSequence.forward`, and so are `x2` and `context`.
        x2: See above.
        context: See above.

    Returns:
        The errors. What is small enough depends on the precision and is left to the caller.

    Raises:
        ValueError: As in `ReversibleSequence.forward`.
        RuntimeError: A stream has left the range of the grid.
    """
    sequence.check(x1, x2, context)
    moment = _Moment(sequence, x1, x2, *context)
    with moment.again():
        reversible = _gradients(sequence, sequence.summing(reversible_sequence), x1, x2, context)
    with moment.again():
        plain = _gradients(sequence, sequence.summing(plain_sequence), x1, x2, context)
    with moment.again():
        return Inversion(undoing_errors(sequence.summing, sequence.bound(context), x1, x2), relative(reversible, plain))


def _gradients(sequence: ReversibleSequence, run: Run, x1: Tensor, x2: Tensor, context: Sequence[Tensor]) -> Tensor:
    x1, x2, *context = (tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in (x1, x2, *context))
    leaves = [leaf for leaf in (x1, x2, *context, *sequence.parameters()) if leaf.requires_grad]
    with torch.enable_grad():
        y1, y2 = run(sequence.bound(context), x1, x2)
        found = torch.autograd.grad(y1.square().sum() + y2.cos().sum(), leaves, allow_unused=True)
    return torch.cat([gradient.flatten().double() for gradient in found if gradient is not None])


@torch.no_grad()
def undoing_errors(summing: Callable[[Run], Run], layers: Sequence[Layer], x1: Tensor, x2: Tensor) -> tuple[float, ...]:
    """Run the layers, undo them, and compare: `Inversion.layer_errors`. `summing` says on which grid, if any."""
    errors: list[float] = []

    def there_and_back(layers: Sequence[Layer], x1: Tensor, x2: Tensor) -> Streams:
        inputs = []
        for layer in layers:
            inputs.append((x1, x2))
            x1, x2 = run_layer(layer, x1, x2)
        for layer, given in zip(reversed(layers), reversed(inputs), strict=True):
            for half in reversed(layer):
                x1, x2 = x2 - run_half(half, x1), x1
            errors.append(relative(torch.stack((x1, x2)), torch.stack(given)))
        return x1, x2

    summing(there_and_back)(layers, x1, x2)
    return tuple(reversed(errors))


def relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of what was expected."""
    difference, size = (found.double() - expected.double()).norm(), expected.double().norm()
    return float(difference / size) if size else float(difference)
