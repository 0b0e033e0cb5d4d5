"""What the kernels need of tensors: of one device, shapes that belong together, and types that they can read.

Kernels compute addresses from shapes. Where one is not what it should be they read memory that is not the tensor's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reformer.fused import Inputs
from reformer.kernels.requirements import check_can_run

ID_TYPES = (torch.int32, torch.int16, torch.int8, torch.int64, torch.uint8, torch.uint16, torch.uint32)
"""Bucket ids that int64 holds: kernels that compare them need negative numbers for buckets that there are not."""


def check_inputs(inputs: Inputs) -> None:
    """The kernels serve attention among these tensors.

    Raises:
        RuntimeError: This machine cannot run them, see `check_machine`.
        ValueError: They do not serve such tensors, or the tensors do not belong together.
    """
    query_BHLK, value_BHLK, bucket_BHRL, valid_BL = inputs
    main = _Main.of("query_BHLK", query_BHLK)
    main.check("value_BHLK", value_BHLK, query_BHLK.shape, query_BHLK.dtype)
    batch, heads, length, _ = query_BHLK.shape
    main.check("bucket_BHRL", bucket_BHRL, (batch, heads, _rounds(bucket_BHRL, at=2), length), *ID_TYPES)
    main.check_valid(valid_BL)


def check_results(inputs: Inputs, d_out_BHLK: Tensor, out_BHLK: Tensor, lse_BHL: Tensor, position_BHRS: Tensor) -> None:
    """What the backward pass gets beside its inputs, which are checked, belongs to them.

    Raises:
        ValueError: It does not.
    """
    main, bucket_BHRL = _Main("query_BHLK", inputs.query_BHLK), inputs.bucket_BHRL
    shape, dtype = inputs.query_BHLK.shape, inputs.query_BHLK.dtype
    main.check("d_out_BHLK", d_out_BHLK, shape, dtype)
    main.check("out_BHLK", out_BHLK, shape, dtype)
    main.check("lse_BHL", lse_BHL, shape[:3], torch.float32)
    main.check("position_BHRS", position_BHRS, bucket_BHRL.shape, torch.int32)


def check_hashing(
    vector_BHLK: Tensor, rotation_HRKN: Tensor, n_buckets: Sequence[int], valid_BL: Tensor | None
) -> None:
    """The kernels can hash these vectors by rotations that are already on their device and of their type.

    Raises:
        RuntimeError: This machine cannot run them, see `check_machine`.
        ValueError: They do not serve such tensors, or the tensors do not belong together.
    """
    main = _Main.of("vector_BHLK", vector_BHLK)
    for factor in n_buckets:
        if factor < 2 or factor % 2:
            raise ValueError(
                f"backend='triton': n_buckets={tuple(n_buckets)} has the factor {factor}; give even factors, 2 or more"
            )
    _, heads, _, width = vector_BHLK.shape
    shape = (heads, _rounds(rotation_HRKN, at=1), width, sum(n_buckets) // 2)
    main.check("rotation_HRKN", rotation_HRKN, shape, vector_BHLK.dtype)
    main.check_valid(valid_BL)


class _Main(NamedTuple):
    """The tensor of one row per head and position that all others of a call are measured by, and its name."""

    name: str
    rows_BHLK: Tensor

    @classmethod
    def of(cls, name: str, rows_BHLK: Tensor) -> "_Main":
        shape = tuple(rows_BHLK.shape)
        if len(shape) != 4 or shape[2] < 1:
            raise ValueError(
                f"backend='triton': {name} has shape {shape}, it must be [batch, heads, length, d_head], length 1 or "
                "more; cut heads out of a projection with x.unflatten(-1, (heads, d_head)).transpose(1, 2)"
            )
        check_can_run(rows_BHLK.device, d_head=shape[3], dtype=rows_BHLK.dtype)
        return cls(name, rows_BHLK)

    def check(self, name: str, x: Tensor, shape: Sequence[int], *types: torch.dtype) -> None:
        """Another tensor lies on the same device and has this shape and one of these types."""
        rows_BHLK = self.rows_BHLK
        if x.device != rows_BHLK.device:
            raise ValueError(
                f"backend='triton': {name} is on {x.device}, {self.name} is on {rows_BHLK.device}; move one to the "
                f"other: {name}.to({self.name}.device)"
            )
        if tuple(x.shape) != tuple(shape):
            raise ValueError(
                f"backend='triton': {name} has shape {tuple(x.shape)}, beside {self.name} of shape "
                f"{tuple(rows_BHLK.shape)} it must be {tuple(shape)}; pass the one that belongs to it"
            )
        if x.dtype not in types:
            raise ValueError(
                f"backend='triton': {name} is {x.dtype}, beside {self.name} of {rows_BHLK.dtype} it must be "
                f"{' or '.join(map(str, types))}; cast it: {name}.to({types[0]})"
            )

    def check_valid(self, valid_BL: Tensor | None) -> None:
        """There is no padding, or one truth value for each position."""
        if valid_BL is not None:
            batch, _, length, _ = self.rows_BHLK.shape
            self.check("valid_BL", valid_BL, (batch, length), torch.bool)


def _rounds(x: Tensor, *, at: int) -> int:
    """Rounds that a tensor has, but one at least, so that a shape without any is refused."""
    return max(1, x.shape[at]) if x.dim() > at else 1
