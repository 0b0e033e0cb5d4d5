"""What the kernels need of machine and options, checked before any work is done; nothing here needs Triton."""

import importlib.util
import os
from typing import get_args

import torch

from reformer.config import TRITON_HEADS
from reformer.functional.windows import Wrap
from reformer.fused import Options

TYPES = (torch.bfloat16, torch.float16, torch.float32)
CAPABILITY = (8, 0)
ELSEWHERE = "use backend='blocked', which runs on CPU and CUDA alike, or backend='eager'"


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, on the CPU: slow, and for tests only."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def check_can_run(device: torch.device, *, d_head: int, dtype: torch.dtype) -> None:
    """The kernels serve heads of this width and type on this device.

    Raises:
        RuntimeError: This machine cannot run them, see `check_machine`.
        ValueError: They do not serve such tensors.
    """
    check_machine(device)
    if d_head not in TRITON_HEADS:
        raise ValueError(
            f"backend='triton': d_head={d_head} is not within {TRITON_HEADS[0]}..{TRITON_HEADS[-1]}, which the kernels "
            f"serve; {ELSEWHERE}"
        )
    if dtype not in TYPES:
        raise ValueError(
            f"backend='triton': {dtype} is not one of {', '.join(map(str, TYPES))}, which the kernels serve; "
            f"{ELSEWHERE}"
        )


def check_machine(device: torch.device) -> None:
    """Kernels can run on this device.

    Raises:
        RuntimeError: There is no Triton, or the device is no GPU that is recent enough.
    """
    if importlib.util.find_spec("triton") is None:
        raise RuntimeError(f"backend='triton': the package triton is not installed; install it, or {ELSEWHERE}")
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < CAPABILITY:
            raise RuntimeError(
                f"backend='triton': {device} has compute capability {_dotted(capability)}, the kernels need "
                f"{_dotted(CAPABILITY)} or more; {ELSEWHERE}"
            )
    elif not (device.type == "cpu" and interpreted()):
        raise RuntimeError(
            f"backend='triton': the kernels run on CUDA devices, the tensors are on {device}; move them, or {ELSEWHERE}"
        )


def check_options(options: Options) -> None:
    """The kernels serve these options: chunks of any length, though the work is that of the next multiple of 16.

    Raises:
        ValueError: They do not.
    """
    for name, least in (("chunk_len", 1), ("n_before", 0), ("n_after", 0)):
        value = getattr(options, name)
        if value < least:
            raise ValueError(f"backend='triton': {name}={value} is less than {least}; give {least} or more")
    if options.wrap not in get_args(Wrap):
        known = ", ".join(get_args(Wrap))
        raise ValueError(f"backend='triton': wrap={options.wrap!r} is not one of {known}; give one of them")
    check_no_dropout(options.drop)


def check_no_dropout(drop: object) -> None:
    """No attention weight is dropped.

    Raises:
        ValueError: Some are, or may be.
    """
    if getattr(drop, "rate", None) != 0.0:
        raise ValueError(
            f"backend='triton': dropout={getattr(drop, 'rate', drop)} of attention weights is not served; "
            f"set it to 0, or {ELSEWHERE}"
        )


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
