"""What callers hand over, checked before any work is done. Every refusal names the argument, its value and a remedy."""

import operator
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

PARAMETER_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FUSED_ON_CUDA = (torch.float16, torch.bfloat16, torch.float32)


def check_is_tensor(name: str, value: object) -> None:
    """The value is a tensor.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; pass a tensor: torch.tensor({name})")


def check_seed(name: str, seed: object) -> None:
    """A seed is a whole number.

    Raises:
        ValueError: It is not.
    """
    try:
        operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name}={seed!r} is a {type(seed).__name__}; a seed is a whole number") from None


def check_tokens(name: str, token_BL: Tensor, *, vocab_size: int, max_len: int) -> None:
    """Token ids are int64 of shape [B, L], B at least 1, L from 1 to `max_len`, each from 0 to `vocab_size - 1`.

    Looking at the ids waits for the device, so a graph that is being captured or compiled is spared it.

    Raises:
        ValueError: Something of that does not hold.
    """
    check_is_tensor(name, token_BL)
    if token_BL.dim() != 2 or token_BL.dtype != torch.int64:
        raise ValueError(
            f"{name} is {token_BL.dtype} of shape {tuple(token_BL.shape)}; token ids are int64 of shape [batch, length]"
        )
    batch, length = token_BL.shape
    if batch == 0:
        raise ValueError(f"{name} has shape {tuple(token_BL.shape)}, an empty batch; give one sequence at least")
    if not 1 <= length <= max_len:
        raise ValueError(f"{name} has length {length}, which is not within 1..{max_len}; shorten it or raise max_len")
    if _values_can_be_seen(token_BL):
        low, high = (int(end) for end in token_BL.aminmax())
        if low < 0 or high >= vocab_size:
            raise ValueError(
                f"{name} holds token id {low if low < 0 else high}; ids run from 0 to vocab_size - 1 = {vocab_size - 1}"
            )


def check_mask(name: str, mask: Tensor | None, shape: Sequence[int]) -> None:
    """A mask is bool and of the given shape; `None` stands for all true.

    Raises:
        ValueError: It is not.
    """
    if mask is None:
        return
    check_is_tensor(name, mask)
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} is {mask.dtype}; masks are bool, true where a position counts: use {name}.bool()")
    if mask.shape != torch.Size(shape):
        raise ValueError(
            f"{name} has shape {tuple(mask.shape)}; it must be {tuple(shape)}, one entry for each position"
        )


def check_some(name: str, mask: Tensor | None) -> None:
    """At least one entry of the mask is true.

    Raises:
        ValueError: None is.
    """
    if mask is not None and _values_can_be_seen(mask) and not bool(mask.any()):
        raise ValueError(
            f"{name} is false everywhere, which leaves nothing to average over; mark one position at least"
        )


def check_parameter_type(dtype: torch.dtype) -> None:
    """Parameters are float16, bfloat16, float32 or float64.

    Raises:
        ValueError: They are not.
    """
    if dtype not in PARAMETER_TYPES:
        raise ValueError(
            f"the model's parameters are {dtype}, which backend 'eager' cannot compute with; "
            f"convert it to one of {', '.join(map(str, PARAMETER_TYPES))}"
        )


def check_state(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """A checkpoint's tensors have the shapes of the module's parameters; a hook for `load_state_dict`.

    Raises:
        ValueError: One has not; names it, its shape and the shape needed.
    """
    for name, parameter in module.named_parameters():
        found = state.get(prefix + name)
        if found is not None and found.shape != parameter.shape:
            raise ValueError(
                f"checkpoint tensor {prefix + name} has shape {tuple(found.shape)}, but the config makes it "
                f"{tuple(parameter.shape)}; use the config that belongs to the checkpoint"
            )


def check_fused_type(parameter: Tensor) -> None:
    """PyTorch has a fused attention kernel for this type on this device.

    Raises:
        ValueError: It has none.
    """
    if parameter.is_cuda and parameter.dtype not in FUSED_ON_CUDA:
        raise ValueError(
            f"attention kind 'dense_fused' has no kernel for {parameter.dtype} on {parameter.device}; convert the "
            f"model to one of {', '.join(map(str, FUSED_ON_CUDA))}, or use kind 'dense_query_chunked'"
        )


def _values_can_be_seen(tensor: Tensor) -> bool:
    if torch.compiler.is_compiling() or tensor.is_meta:
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
