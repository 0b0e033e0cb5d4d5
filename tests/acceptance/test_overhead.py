"""What the harness itself costs: between cells, and while one is measured."""

import io
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from ablations import cli
from ablations.harness import store
from ablations.harness.cell import TimeStep
from ablations.harness.engine import LocalEngine
from ablations.harness.runner import Runner
from ablations.harness.store import Plan, PlannedExperiment
from tests.harness.cells import cell, config, here

pytestmark = pytest.mark.quiet

N_CELLS = 100
MOST_SECONDS_PER_CELL = 0.15
MOST_SHARE = 0.02


def test_a_sweep_of_a_hundred_cells_costs_little_beside_what_the_cells_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = tuple(cell("reformer", length=64, seed=seed) for seed in range(N_CELLS))
    plan = Plan(experiments=(PlannedExperiment(profile="cpu", name="trial", title="t", question="?", cells=cells),))
    engine = LocalEngine(here(), timeout_seconds=None)
    began = time.monotonic()
    failed = cli._measure(plan, tmp_path, Console(file=io.StringIO()), engine, retry_failed=False)
    seconds = time.monotonic() - began
    records = store.load(tmp_path / here().machine)
    assert not failed
    assert len(records) == N_CELLS
    inside = sum(record.worker_seconds or 0.0 for record in records)
    start = records[0].seconds - (records[0].worker_seconds or 0.0)
    each = (seconds - inside) / N_CELLS
    with capsys.disabled():
        print(
            f"\n{N_CELLS} cells in {seconds:.2f} s, {inside:.2f} s of them inside cells: {each:.4f} s per cell beside; "
            f"the start of the server, {start:.2f} s, is among it"
        )
    assert each <= MOST_SECONDS_PER_CELL


def test_while_a_cell_is_measured_the_harness_computes_next_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    long = cell(length=2048, config=config(length=2048), workload=TimeStep(mode="forward", seconds=5.0))
    with Runner(here()) as runner:
        assert runner.run(cell(), timeout_seconds=100).status == "ok"
        assert runner._server is not None
        began, spent = time.monotonic(), _processor_seconds(os.getpid(), runner._server.pid)
        assert runner.run(long, timeout_seconds=100).status == "ok"
        seconds, spent = time.monotonic() - began, _processor_seconds(os.getpid(), runner._server.pid) - spent
    with capsys.disabled():
        print(f"\nrunner and server computed {spent:.3f} s of {seconds:.2f} s: {spent / seconds:.2%}")
    assert seconds > 5
    assert spent / seconds < MOST_SHARE


def _processor_seconds(*pids: int) -> float:
    """Of these processes alone, their children not counted."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
