"""Causal or full dense attention with separate queries and keys: PyTorch's fused kernels, each pinned, and our chunks.

PyTorch chooses among the backends of `scaled_dot_product_attention` in silence; here each is asked for by itself, and
one that cannot run is refused with PyTorch's reason. The paper's baseline takes a chunk of queries at a time.
"""

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from ablations.harness.cell import Cell, PeakMemory, TimeStep
from ablations.harness.errors import UnsupportedError
from ablations.harness.implementations.inputs import vectors
from ablations.harness.trial import Trial
from reformer.config import QueryChunkedAttention
from reformer.functional.dense import query_chunked_attention

BACKENDS: Mapping[str, SDPBackend] = MappingProxyType(
    {
        "sdpa_math": SDPBackend.MATH,
        "sdpa_flash": SDPBackend.FLASH_ATTENTION,
        "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
        "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    }
)

REFUSALS = (
    "No available kernel",
    "No viable backend for scaled_dot_product_attention",
    "FlexAttention does not support backward on",
)
"""What PyTorch says where a backend does not serve a device, type or pass; anything else that it says is a failure."""

PROBE_LEN = 128
"""Positions on which a backend is tried before the real thing."""

FLEX_BLOCK = 128

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def sdpa_trial(cell: Cell, name: Literal["sdpa_math", "sdpa_flash", "sdpa_efficient", "sdpa_cudnn"]) -> Trial:
    """One backend of `scaled_dot_product_attention`.

    Raises:
        UnsupportedError: It does not run here.
    """

    def attend(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor) -> Tensor:
        with sdpa_kernel([BACKENDS[name]]):
            return torch.nn.functional.scaled_dot_product_attention(
                query_BHLK, key_BHLK, value_BHLK, is_causal=cell.config.causal
            )

    return _trial(cell, attend, attend)


def query_chunked_trial(cell: Cell) -> Trial:
    """Our dense attention a chunk of queries at a time, recomputed in the backward pass (paper, section 2)."""
    scale = float(cell.config.d_head**-0.5)

    def attend(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor) -> Tensor:
        return query_chunked_attention(
            query_BHLK,
            key_BHLK * scale,
            value_BHLK,
            causal=cell.config.causal,
            exclude_self=False,
            query_chunk_len=QueryChunkedAttention().query_chunk_len,
        )

    return _trial(cell, attend, attend)


def flex_trial(cell: Cell) -> Trial:
    """FlexAttention, compiled, its block mask made before the first step.

    Raises:
        UnsupportedError: It does not run here, or the length is no multiple of a block.
    """
    if cell.length % FLEX_BLOCK:
        raise UnsupportedError(f"FlexAttention is measured at multiples of {FLEX_BLOCK} only, not at {cell.length}")
    # Imported here: it takes a second that no other cell needs.
    from torch._inductor import config as compiler

    # The one kernel that there is to compile needs no pool of compilers.
    compiler.compile_threads = 1
    compiled = torch.compile(flex_attention, dynamic=False)

    def attend_within(length: int) -> Attend:
        mask = causal_block_mask(length, cell.device) if cell.config.causal else None
        return lambda query, key, value: compiled(query, key, value, block_mask=mask)

    probed = min(cell.length, PROBE_LEN)
    return _trial(cell, attend_within(cell.length), attend_within(probed))


def causal_block_mask(length: int, device: str) -> BlockMask:
    """Each position sees itself and the past. Made block by block: all pairs would be too many."""
    n_blocks = -(-length // FLEX_BLOCK)
    block_N = torch.arange(n_blocks, dtype=torch.int32, device=device)
    on_diagonal = block_N[:, None].expand(n_blocks, n_blocks)
    return BlockMask.from_kv_blocks(
        torch.ones_like(block_N)[None, None],
        on_diagonal[None, None].contiguous(),
        block_N[None, None],
        block_N.expand(n_blocks, n_blocks)[None, None].contiguous(),
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=lambda _batch, _head, query, key: query >= key,
        seq_lengths=(length, length),
    )


def _trial(cell: Cell, attend: Attend, probed: Attend) -> Trial:
    query, key, value, gradient = vectors(cell, 4)
    wanted = tuple(tensor.requires_grad_() for tensor in (query, key, value))
    _probe(probed, wanted, backward=_has_backward(cell))

    def output() -> Tensor:
        return attend(*wanted)

    return Trial(output, output, gradient, wanted, query.device, cell.batch * cell.length, cell.batch)


def _has_backward(cell: Cell) -> bool:
    return isinstance(cell.workload, TimeStep | PeakMemory) and cell.workload.mode != "forward"


def _probe(attend: Attend, wanted: tuple[Tensor, ...], *, backward: bool) -> None:
    """Run on a few positions.

    Raises:
        UnsupportedError: PyTorch refuses to; repeats its reasons.
    """
    few = tuple(tensor[:, :, :PROBE_LEN].detach().requires_grad_(backward) for tensor in wanted)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            out = attend(*few)
            if backward:
                out.sum().backward()
        except RuntimeError as error:
            if not _is_refusal(error):
                raise
            raise UnsupportedError(_reasons(error, told)) from error


def _is_refusal(error: RuntimeError) -> bool:
    return isinstance(error, NotImplementedError) or any(words in str(error) for words in REFUSALS)


def _reasons(error: RuntimeError, told: list[warnings.WarningMessage]) -> str:
    words = [str(error), *(str(warning.message) for warning in told)]
    return "; ".join(dict.fromkeys(text.strip().splitlines()[0].split(" (Triggered internally")[0] for text in words))
