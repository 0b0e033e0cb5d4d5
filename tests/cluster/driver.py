"""Sixty small cells, measured into a folder by an engine: `python -m tests.cluster.driver RESULTS [ADDRESS]`."""

import sys
from pathlib import Path

from rich.console import Console

from ablations.cli import _measure, _place
from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.store import Plan, PlannedExperiment
from reformer.config import VARIANTS
from tests.harness.cells import cell

LENGTHS = (8, 16, 24, 40, 56)


def cells() -> tuple[Cell, ...]:
    """Four variants, five lengths, three rounds."""
    peak = PeakMemory(mode="forward_backward", resident=False)
    return tuple(
        cell(variant, length=length, seed=seed, workload=peak)
        for seed in range(3)
        for length in LENGTHS
        for variant in VARIANTS
    )


def main(results: Path, address: str | None) -> None:
    """Measure what is missing."""
    experiment = PlannedExperiment(profile="smoke", name="trial", title="t", question="?", cells=cells())
    place = _place("ray" if address else "local", address, 60.0)
    with place.engine("cpu") as engine:
        _measure(Plan(experiments=(experiment,)), results, Console(), engine, retry_failed=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
