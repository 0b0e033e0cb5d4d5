"""Measure configurations on the GPU at hand and write the best to a file. Runs on request only."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from reformer.kernels import lsh
from reformer.kernels.configurations import (
    Configuration,
    Pass,
    Shape,
    configuration_for,
    instead,
    read_table,
    shape_of,
    write_table,
)
from reformer.kernels.requirements import interpreted

CANDIDATES = tuple(
    Configuration(rows, columns, n_warps, n_stages, n_registers)
    for rows in (32, 64, 128)
    for columns in (32, 64, 128)
    for n_warps in (4, 8)
    for n_stages in (2, 3)
    for n_registers in (None, 168)
)
"""Of which chunks of 64 allow 32: each has to be compiled, some seconds each."""


def tune(
    path: Path,
    *,
    length: int = 4096,
    batch: int = 8,
    heads: int = 8,
    d_head: int = 64,
    n_rounds: int = 4,
    chunk_len: int = 64,
    dtype: torch.dtype = torch.bfloat16,
) -> dict[Shape, Configuration]:
    """Time every candidate for one size of heads and chunks and write the fastest of each pass.

    Results of a tuned process differ from those of others by rounding: give all processes of one run the same file, by
    `REFORMER_KERNEL_TABLE`, which a process reads once, before its first call.

    Args:
        path: Where to write; entries that are there for other shapes are kept.
        length: L.
        batch: B.
        heads: H.
        d_head: K.
        n_rounds: R.
        chunk_len: W.
        dtype: Of queries and values.

    Returns:
        The new entries.

    Raises:
        RuntimeError: There is no GPU, or kernels are interpreted.
    """
    if not torch.cuda.is_available() or interpreted():
        raise RuntimeError("tuning measures on a CUDA device; there is none, or TRITON_INTERPRET is set: unset it")
    device = torch.device("cuda")
    generator = torch.Generator(device).manual_seed(0)
    query, value, d_out = (
        torch.randn(batch, length, heads, d_head, generator=generator, device=device).to(dtype).transpose(1, 2)
        for _ in range(3)
    )
    bucket = torch.randint(
        max(2, length // chunk_len), (batch, heads, n_rounds, length), generator=generator, device=device
    ).to(torch.int16)
    inputs = (query, value, bucket, None)
    options: tuple[Any, ...] = (1.0, chunk_len, 1, 0, "across_rounds", True, False, False, 0.0, 0)
    results = lsh.attend(*inputs, *options)
    calls: dict[Pass, Any] = {
        "forward": lambda: lsh.attend(*inputs, *options),
        "backward": lambda: lsh.attend_backward(d_out, *inputs, *results, *options),
    }
    best = {}
    for step, call in calls.items():
        shape = shape_of(step, device=device, chunk_len=chunk_len, d_head=d_head, dtype=dtype)
        best[shape] = _fastest(shape, call)
    kept = read_table(path) if path.exists() else {}
    write_table(path, kept | best)
    return best


def _fastest(shape: Shape, call: Any) -> Configuration:  # noqa: ANN401  (a call without arguments)
    from triton.runtime.errors import OutOfResources
    from triton.testing import do_bench

    times = {}
    for candidate in {configuration_for(shape), *CANDIDATES}:
        if max(candidate.rows, candidate.columns) > shape.chunk_tile:
            continue
        with instead({shape: candidate}), suppress(OutOfResources):
            times[candidate] = float(do_bench(call, return_mode="median"))
    return min(times, key=lambda one: times[one])
