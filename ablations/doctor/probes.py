"""What happens inside the process of a probe: steps of known cost, taken by what takes those of models; and misconduct.

Stands in the place of `ablations.harness.worker` in the server of probes.
"""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

import torch

from ablations.doctor.cells import BLOCK_BYTES, BLOCKS, SLEEP_SECONDS
from ablations.harness import worker
from ablations.harness.cell import Cell
from ablations.harness.environment import cores
from ablations.harness.measure import memory
from ablations.harness.measure.time import sample_steps
from ablations.harness.measurement import Measurement, PeakBytes, StepTimes
from ablations.harness.request import Outcome, Request

GREEDY_BLOCK_BYTES = 2**28
UNLIMITED_BYTES = 2**44
"""16 TiB: who got so much was refused nothing."""


def warm_up_for(cell: Cell) -> None:
    """Nothing: a probe needs no peer's package."""
    del cell


def attempt(request: Request) -> Outcome:
    """Do what the probe does; whatever comes of it is told as it is of a cell."""
    return worker.attempt_by(_measure, request)


def _measure(request: Request) -> Measurement:
    return PROBED[request.cell.experiment](request.cell)


def known_memory(cell: Cell) -> PeakBytes:
    """The peak of a step that holds blocks of a known size, all of them written to."""
    memory.map_every_large_block()
    device = torch.device(cell.device)

    def step() -> None:
        blocks = [torch.ones(BLOCK_BYTES, dtype=torch.uint8, device=device) for _ in range(BLOCKS)]
        del blocks

    step()
    if device.type == "cuda":
        peaks = memory.peak_cuda_bytes(step)
        return _peak(peaks.allocated, "cuda_max_memory_allocated", reserved=peaks.reserved)
    seen, why_not = memory.peak_resident_bytes(step)
    return _peak(memory.peak_tensor_bytes(step), "profiler_allocation_events", seen=seen, why_not=why_not)


def known_sleep(cell: Cell) -> StepTimes:
    """Times of a step that sleeps."""
    samples = sample_steps(
        lambda: time.sleep(SLEEP_SECONDS),
        before=lambda: None,
        device=torch.device(cell.device),
        min_samples=7,
        seconds=0.1,
    )
    device = tuple(sample.device for sample in samples.timed if sample.device is not None)
    return StepTimes(
        wall_seconds=tuple(sample.wall for sample in samples.timed),
        cpu_seconds=tuple(sample.cpu for sample in samples.timed),
        device_seconds=device or None,
        warm_up_seconds=samples.warm_up,
        steady=samples.steady,
        tokens_per_step=1,
        threads=torch.get_num_threads(),
        cores=cores(),
        others_seconds=None,
        others_missing="of no interest",
        host_seconds=None,
        energy=None,
        energy_missing="of no interest",
    )


def out_of_memory(cell: Cell) -> NoReturn:
    """Ask for more and more until it is refused. On a CPU nothing is written to, so that nobody else goes short."""
    held = [
        torch.empty(GREEDY_BLOCK_BYTES, dtype=torch.uint8, device=cell.device)
        for _ in range(UNLIMITED_BYTES // GREEDY_BLOCK_BYTES)
    ]
    raise AssertionError(f"{len(held)} blocks of {GREEDY_BLOCK_BYTES} bytes were not refused")


def hang(cell: Cell) -> NoReturn:
    """Never end."""
    del cell
    while True:
        time.sleep(3600)


PROBED: Mapping[str, Callable[[Cell], Measurement]] = MappingProxyType(
    {"known memory": known_memory, "known sleep": known_sleep, "out of memory": out_of_memory, "hang": hang}
)


def _peak(
    peak: int, method: str, *, reserved: int | None = None, seen: int | None = None, why_not: str | None = None
) -> PeakBytes:
    values = {
        "peak_bytes": peak,
        "method": method,
        "parameter_bytes": 0,
        "gradient_bytes": 0,
        "optimiser_bytes": 0,
        "saved_bytes": None,
        "saved_missing": "of no interest",
        "ledger": None,
        "ledger_missing": "of no interest",
        "os_peak_bytes": seen,
        "os_peak_missing": why_not or (None if seen is not None else "the step's memory is on the GPU"),
        "reserved_bytes": reserved,
        "requested_bytes": None,
        "process_bytes": None,
        "process_missing": "of no interest",
    }
    return PeakBytes.model_validate(values)
