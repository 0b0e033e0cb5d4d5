"""What every launch needs: the right device, scratch memory, rows as a kernel can read them, and sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reformer.kernels.requirements import interpreted


def launch(
    kernel: Any,  # noqa: ANN401  (Triton is not typed)
    n_programs: int,
    arguments: Sequence[Tensor | float | None],
    **constants: int | str | None,
) -> None:
    """Run so many programs of a kernel on the device of its first argument, where all others are, too.

    Triton itself takes whichever device is the current one.
    """
    first = arguments[0]
    assert isinstance(first, Tensor), "every kernel reads something"
    with torch.cuda.device_of(first):
        kernel[(n_programs,)](*arguments, **constants)


def empty(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory that a kernel is to fill.

    With `reformer.fused.empty_heads` the only way kernels get any, so that a test can poison it all.
    """
    return torch.empty(shape, dtype=dtype, device=device)


def rows(x_BHLK: Tensor) -> Tensor:
    """The tensor with entries of a row side by side, otherwise strided as it is."""
    return x_BHLK if x_BHLK.stride(-1) == 1 else x_BHLK.contiguous()


def bytes_of(valid_BL: Tensor | None) -> Tensor | None:
    """A mask as kernels read it."""
    return None if valid_BL is None else valid_BL.contiguous().view(torch.uint8)


def padded(size: int) -> int:
    """The next power of two, 16 at least: sides of a tile that is multiplied."""
    return max(16, 1 << (size - 1).bit_length())


def strides(*tensors: Tensor) -> tuple[int, ...]:
    """How far entries lie apart in each tensor, along all dimensions but the last."""
    return tuple(stride for tensor in tensors for stride in tensor.stride()[:-1])


def ceil_div(size: int, by: int) -> int:
    """How many pieces of a size cover the whole."""
    return -(-size // by)


def precision(dtype: torch.dtype) -> str:
    """How products are taken: of float32 as three products of TF32, which errs about as float32 itself.

    Products in float32 proper run without tensor cores and do not fit the registers.
    """
    return "tf32x3" if dtype == torch.float32 else "tf32"


def upcasts(dtype: torch.dtype) -> bool:
    """Whether loads are to be widened: arithmetic in bfloat16 is wrong in the interpreter."""
    return dtype == torch.bfloat16 and interpreted()
