"""What a machine can do at most: the rate of large matrix products, and of copying a large tensor."""

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from ablations.harness.cell import Ceiling
from ablations.harness.measure.time import Sample, timed
from ablations.harness.measurement import Ceilings, MatrixProducts
from reformer.randomness import derived_seed

ENOUGH_SECONDS = 10.0
"""For all repeats of one thing; then no more begin. A processor without bfloat16 multiplies at width 2048 for 18 s."""
LEAST = 2
"""Repeats, the first of them to warm up."""


def measure_ceilings(workload: Ceiling, device: torch.device, dtype: torch.dtype, *, seed: int) -> Ceilings:
    """Every width's product and the copy, each so many times, into memory that is there already.

    What takes longer than `ENOUGH_SECONDS` for all is repeated fewer times: as many as began before, at least `LEAST`.

    Args:
        workload: What to multiply and to copy.
        device: Where.
        dtype: Of the matrices.
        seed: Of what stands in them; the random stream of the process is left alone.
    """
    gc.collect()
    generator = torch.Generator(device).manual_seed(derived_seed(seed, "ceilings"))
    return Ceilings(
        products=tuple(_products(width, workload.repeats, generator, dtype) for width in workload.widths),
        copy_bytes=workload.copy_bytes,
        copy_seconds=_copies(workload.copy_bytes, workload.repeats, device),
        threads=torch.get_num_threads(),
    )


def _products(width: int, repeats: int, generator: torch.Generator, dtype: torch.dtype) -> MatrixProducts:
    device = generator.device
    left, right = (torch.randn(width, width, generator=generator, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return MatrixProducts(width=width, seconds=_repeated(lambda: torch.mm(left, right, out=out), repeats, device))


def _copies(size: int, repeats: int, device: torch.device) -> tuple[float, ...]:
    source: Tensor = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return _repeated(lambda: target.copy_(source), repeats, device)


def _repeated(once: Callable[[], object], repeats: int, device: torch.device) -> tuple[float, ...]:
    def step() -> None:
        once()

    samples: list[Sample] = []
    while len(samples) < repeats and (len(samples) < LEAST or sum(one.wall for one in samples) < ENOUGH_SECONDS):
        samples.append(timed(step, device))
    return tuple(sample.wall if sample.device is None else sample.device for sample in samples[1:])
