"""What of a forward pass is kept for the backward pass, told apart: residual streams, and whole numbers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from gc import collect, get_objects
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from reformer.layers import StreamNorm


class Kept(NamedTuple):
    """Bytes that are kept for a backward pass, and what they are; whatever else is kept is neither.

    Attributes:
        streams: Residual streams: what a `StreamNorm` has read and autograd keeps, and what of the same shape an object
            of Python's keeps, as reversible layers do.
        integers: Whole numbers of any type; masks are none.
    """

    streams: int
    integers: int


def kept_by_kind(forward: Callable[[], Tensor], device: torch.device) -> Kept:
    """Run a forward pass of a model of ours, and look at every tensor that is there afterwards and was not before.

    Two sources together see them all: what autograd keeps passes a hook when it is saved, and what Python objects hold
    is known to the garbage collector. Memory that several tensors stand in is counted once, by its address.

    Args:
        forward: The pass; gradients are recorded, and no backward pass is run.
        device: Whose tensors count.
    """
    sighted = _Sighted(device)
    with sighted.watching():
        held = forward()
    sighted.look_around()
    del held
    return Kept(streams=sum(sighted.streams.values()), integers=sum(sighted.integers.values()))


class _Sighted:
    """Memory that was seen, by address.

    Attributes:
        streams: Bytes of residual streams.
        integers: Bytes of whole numbers.
    """

    def __init__(self, device: torch.device) -> None:
        self.streams: dict[int, int] = {}
        self.integers: dict[int, int] = {}
        self._device = device
        self._known = {_address(tensor) for tensor in self._alive()}
        self._shapes: set[torch.Size] = set()
        self._reading: int | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See what is saved, and what norms read, meanwhile."""
        before = register_module_forward_pre_hook(self._begins)
        after = register_module_forward_hook(self._ends)
        try:
            # Detached: a result that its own node would keep in this form could never be freed.
            with saved_tensors_hooks(lambda tensor: self._saved(tensor).detach(), lambda tensor: tensor):
                yield
        finally:
            before.remove()
            after.remove()

    def look_around(self) -> None:
        """See what Python objects hold that was not there in the beginning, and was not saved."""
        for tensor in self._alive():
            if _address(tensor) not in self._known:
                self._note(tensor, is_stream=tensor.is_floating_point() and tensor.shape in self._shapes)

    def _alive(self) -> list[Tensor]:
        collect()
        # Of these types alone: other tensors, such as the fake ones that tracing leaves in a process, have no memory.
        tensors = [one for one in get_objects() if type(one) in (Tensor, nn.Parameter)]
        return [one for one in tensors if one.device == self._device and one.layout == torch.strided]

    def _begins(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if isinstance(module, StreamNorm):
            self._shapes.add(arguments[0].shape)
            self._reading = _address(arguments[0])

    def _ends(self, module: nn.Module, *_: object) -> None:
        if isinstance(module, StreamNorm):
            self._reading = None

    def _saved(self, tensor: Tensor) -> Tensor:
        # What was seen as a stream stays one, whoever saves it too.
        if tensor.device == self._device and _address(tensor) not in self._known:
            self._note(tensor, is_stream=_address(tensor) == self._reading)
        return tensor

    def _note(self, tensor: Tensor, *, is_stream: bool) -> None:
        address, size = _address(tensor), tensor.untyped_storage().nbytes()
        self._known.add(address)
        if is_stream:
            self.streams[address] = size
        elif not (tensor.is_floating_point() or tensor.dtype == torch.bool):
            self.integers[address] = size


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
