"""Measure configurations on the GPU at hand and write the best to a file. Runs on request only."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

from reformer.kernels import lsh
from reformer.kernels.configurations import (
    TABLE,
    Configuration,
    Pass,
    Shape,
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

MARGIN = 1.03
"""How many times as fast as the default another configuration must be: less is noise, and would differ every time."""

Call = Callable[[], object]
Timer = Callable[[Call], float]
"""A call to how long it takes, in milliseconds."""


class Tuned(NamedTuple):
    """What measuring one shape gave.

    Attributes:
        best: The default, unless another configuration is `MARGIN` times as fast.
        default: What the table has.
        milliseconds: Of every configuration that could be measured.
        skipped: Why the others could not be.
    """

    best: Configuration
    default: Configuration
    milliseconds: Mapping[Configuration, float]
    skipped: Mapping[Configuration, str]

    @property
    def gain(self) -> float | None:
        """How many times as long the default takes; `None` if it could not be measured."""
        if self.default in self.skipped:
            return None
        return self.milliseconds[self.default] / self.milliseconds[self.best]

    def __str__(self) -> str:
        """The best, its time and its gain, and what was skipped."""
        gain = "the default was skipped" if self.gain is None else f"the default takes {self.gain:.3f} times as long"
        skipped = (f"  skipped {configuration}: {reason}" for configuration, reason in self.skipped.items())
        return "\n".join([f"{self.best}: {self.milliseconds[self.best]:.4f} ms, {gain}", *skipped])


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
    report: Callable[[str], object] = print,
) -> dict[Shape, Tuned]:
    """Time every candidate for one size of heads and chunks and write the best of each pass, as soon as it is known.

    Passes that the file lacks are measured first: where time ran out, run it again with the same file.

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
        report: Gets the times and the gain of each pass, as soon as they are known.

    Returns:
        What was measured of each pass.

    Raises:
        RuntimeError: There is no GPU, or kernels are interpreted, or none of the candidates runs.
        ValueError: The file is there and is no table.
    """
    if not torch.cuda.is_available() or interpreted():
        raise RuntimeError("tuning measures on a CUDA device; there is none, or TRITON_INTERPRET is set: unset it")
    from triton.testing import do_bench

    device = torch.device("cuda")
    shapes = {
        step: shape_of(step, device=device, chunk_len=chunk_len, d_head=d_head, dtype=dtype) for step in get_args(Pass)
    }
    calls = _calls((batch, length, heads, d_head), n_rounds=n_rounds, chunk_len=chunk_len, dtype=dtype, device=device)
    passes = {shapes[step]: call for step, call in calls.items()}
    return _tuned(path, passes, lambda call: float(do_bench(call, return_mode="median")), report)


def _calls(
    shape_BLHK: tuple[int, int, int, int], *, n_rounds: int, chunk_len: int, dtype: torch.dtype, device: torch.device
) -> dict[Pass, Call]:
    batch, length, heads, _ = shape_BLHK
    generator = torch.Generator(device).manual_seed(0)
    query, value, d_out = (
        torch.randn(shape_BLHK, generator=generator, device=device).to(dtype).transpose(1, 2) for _ in range(3)
    )
    shape_BHRL = (batch, heads, n_rounds, length)
    bucket = torch.randint(max(2, length // chunk_len), shape_BHRL, generator=generator, device=device).short()
    inputs = (query, value, bucket, None)
    options: tuple[Any, ...] = (1.0, chunk_len, 1, 0, "across_rounds", True, False, False, 0.0, 0)
    results = lsh.attend(*inputs, *options)
    return {
        "forward": lambda: lsh.attend(*inputs, *options),
        "backward": lambda: lsh.attend_backward(d_out, *inputs, *results, *options),
    }


def _tuned(path: Path, calls: Mapping[Shape, Call], time: Timer, report: Callable[[str], object]) -> dict[Shape, Tuned]:
    table = read_table(path) if path.exists() else {}
    found = {}
    # What an earlier run, cut short, did not come to is first.
    for shape in sorted(calls, key=lambda shape: shape in table):
        found[shape] = _measured(shape, calls[shape], time)
        table[shape] = found[shape].best
        # Written now, so that whoever runs out of time in the next pass keeps this one.
        write_table(path, table)
        report(f"{shape} {found[shape]}")
    return found


def _measured(shape: Shape, call: Call, time: Timer) -> Tuned:
    default, milliseconds, skipped = TABLE[shape], {}, {}
    for candidate in dict.fromkeys((default, *CANDIDATES)):
        if max(candidate.rows, candidate.columns) > shape.chunk_tile:
            continue
        try:
            with instead({shape: candidate}):
                milliseconds[candidate] = time(call)
        except Exception as error:
            if not _never_ran(error):
                raise
            skipped[candidate] = f"{type(error).__name__}: {error}".splitlines()[0]
    if not milliseconds:
        raise RuntimeError(f"no configuration of {shape} could be measured: {skipped}; use backend='blocked' for it")
    return Tuned(_best(milliseconds, default), default, milliseconds, skipped)


def _never_ran(error: Exception) -> bool:
    """Whether there is no such kernel, for whatever reason of Triton's; some have no type of their own."""
    from triton.errors import TritonError

    reasons = ("PassManager", "PTX", "ptxas", "out of resource")
    return isinstance(error, TritonError) or any(reason in str(error) for reason in reasons)


def _best(milliseconds: Mapping[Configuration, float], default: Configuration) -> Configuration:
    fastest = min(milliseconds, key=lambda one: milliseconds[one])
    enough = milliseconds.get(default, float("inf")) / MARGIN
    return fastest if milliseconds[fastest] <= enough else default
