"""What is counted of a cell: bytes in a fresh process, operators and their operations in this one."""

from collections.abc import Sequence
from functools import cache

from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.measure.counters import counted
from ablations.harness.measurement import PeakBytes
from ablations.harness.runner import Runner
from ablations.harness.steps import build_trial
from ablations.harness.trial import Step
from ablations.report.lines import Fit, exponent
from ablations.report.statistics import of_readings
from tests.performance.kept import Counters

SECONDS = 200.0
GROWING = ("peak_bytes", "saved_bytes", "flops")


class Counting:
    """Counts each cell once, however often it is asked for."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.of = cache(self._count)

    def _count(self, cell: Cell) -> Counters:
        record = self._runner.run(cell, timeout_seconds=SECONDS)
        found = record.measurement
        assert isinstance(found, PeakBytes), record.reason
        assert found.saved_bytes is not None, found.saved_missing
        return {
            "peak_bytes": found.peak_bytes,
            "saved_bytes": found.saved_bytes,
            "held_bytes": found.parameter_bytes + found.gradient_bytes + found.optimiser_bytes,
            **counted(warm_step(cell))._asdict(),
        }

    def exponents(self, cells: Sequence[Cell]) -> Counters:
        """Of each counter that grows with the cells' length, the p of length**p."""
        return {f"{name}_exponent": self._exponent(cells, name) for name in GROWING}

    def _exponent(self, cells: Sequence[Cell], name: str) -> float:
        fit = exponent([(cell.length, of_readings([self.of(cell)[name]], exact=True)) for cell in cells])
        assert isinstance(fit, Fit), fit.reason
        return round(fit.slope.value, 4)


def warm_step(cell: Cell) -> Step:
    """The cell's step, taken once: what is made in the first one is there."""
    assert isinstance(cell.workload, PeakMemory), "counters are of steps whose memory is measured"
    step = build_trial(cell).step(cell.workload.mode)
    step()
    return step
