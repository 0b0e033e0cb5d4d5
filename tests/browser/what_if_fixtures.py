"""A page of two machines with planted records, and what Python makes of the same fits, the long way round."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ablations.harness.cell import PeakMemory, TimeStep, Workload
from ablations.harness.store import MachineResults
from ablations.report.what_if.fit import Fit
from ablations.report.what_if.fitted_variants import FittedVariant, fitted_variants
from ablations.report.what_if.page import LIMIT_STEPS
from ablations.report.what_if.sizes import STATE_BYTES, value
from reformer.config import LSHAttention
from tests.harness.cells import cell, config
from tests.report import records

HOSTILE = "</script><script>document.title='taken'</script><b>\"'&amp;"
WORKLOADS: tuple[Workload, ...] = (TimeStep(mode="forward_backward"), PeakMemory(mode="forward_backward"))
End = Literal["value", "low", "high"]
Sizes = Mapping[str, int]


def results(name: str, *, chunks: tuple[int, ...], gibibytes: int) -> MachineResults:
    """Of four variants; `dense_fused` at two lengths only, which is too few for a fit of its own."""
    lsh = [("reformer", LSHAttention(chunk_len=chunk, n_hashes=n)) for chunk in chunks for n in (1, 4)]
    lsh += [("lsh_only", attention) for _, attention in lsh]
    grid: list[tuple[str, dict[str, Any], int, int]] = [
        (variant, {"attention": attention}, length, layers)
        for (variant, attention), length, layers in itertools.product(lsh, (512, 1024, 4096), (1, 3))
    ]
    grid += [("dense", {}, length, layers) for length, layers in itertools.product((512, 1024, 4096), (1, 3))]
    grid += [("reversible_only", {}, length, 2) for length in (512, 1024, 2048, 4096)]
    grid += [("dense_fused", {}, length, 2) for length in (512, 1024)]
    cells = [
        cell(variant, length=length, workload=workload, config=config(variant, length=length, n_layers=layers, **more))
        for variant, more, length, layers in grid
        for workload in WORKLOADS
    ]
    here = records.environment(name, memory_bytes=gibibytes * 2**30)
    return records.machine({}, where=here).model_copy(update={"records": records.records(cells, where=here)})


def by_label(of: MachineResults) -> dict[str, FittedVariant]:
    return {one.label: one for one in fitted_variants(of.records)}


def at(found: Fit | None, sizes: Sizes, end: End, before: float = 0.0) -> float:
    """The prediction or an end of its interval."""
    assert found is not None
    assert found.bounds is not None
    return before + found.at(sizes) * {"value": 1.0, "low": found.bounds.low, "high": found.bounds.high}[end]


def seconds(one: FittedVariant, sizes: Sizes, end: End) -> float:
    return at(one.time, {**sizes, **one.constants}, end)


def peak(one: FittedVariant, sizes: Sizes, end: End) -> float:
    everything = {**sizes, **one.constants}
    return at(one.memory, everything, end, value(STATE_BYTES, everything))


def longest(one: FittedVariant, sizes: Sizes, budget: float, end: End) -> int:
    """By trying one multiple of two chunks after the other."""
    step = 2 * sizes["chunk_len"]
    length = 0
    while peak(one, {**sizes, "length": length + step}, end) <= budget:
        length += step
    return length


Quantity = Callable[[FittedVariant, Sizes, End], float]


def crossover(
    quantity: Quantity, below: tuple[FittedVariant, End], above: tuple[FittedVariant, End], sizes: Sizes
) -> int | None:
    """The length after the last at which the one is not below the other."""
    step = 2 * sizes["chunk_len"]
    lengths = [step * (place + 1) for place in range(LIMIT_STEPS)]
    behind = [
        length
        for length in lengths
        if quantity(below[0], {**sizes, "length": length}, below[1])
        >= quantity(above[0], {**sizes, "length": length}, above[1])
    ]
    after = max(behind, default=0) + step
    return after if after <= lengths[-1] else None
