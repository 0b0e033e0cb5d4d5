"""Rules that keep times comparable: one place that takes them, and none that counts what is not part of a step."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import ablations
from ablations.harness.training import Learn
from ablations.harness.workloads.learning import run as learning
from ablations.harness.workloads.learning.batches import Batch
from ablations.harness.workloads.learning.evaluation import Score
from tests.harness.cells import learning_cell

PACKAGE = Path(ablations.__file__).parent
TIMER = "harness/measure/time.py"
EXCEPTIONS = {
    # Seconds of training are no step's time: they go on from step to step, and each waits for its loss.
    "harness/workloads/learning/run.py",
}
CLOCKS = {
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.process_time",
    "time.process_time_ns",
    "time.thread_time",
    "time.thread_time_ns",
    "timeit.default_timer",
    "timeit.timeit",
    "timeit.repeat",
    "torch.cuda.Event",
    "torch.Event",
}
"""What a step could be timed with. `time.monotonic` is for time limits and for what a whole attempt took."""


def clocks_in(source: str) -> Iterator[str]:
    """Every mention of a clock, whatever it was imported as."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, *rest = ast.unparse(node).split(".")
            full = ".".join([names.get(first, first), *rest])
            if full in CLOCKS:
                yield full


def test_no_other_module_reads_a_clock_that_steps_are_timed_with() -> None:
    reading = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if [*clocks_in(path.read_text())]}
    assert reading == {TIMER, *EXCEPTIONS}


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.perf_counter()",
        "import time as t\nnow = t.process_time",
        "from time import perf_counter as now\nnow()",
        "from torch import cuda\ncuda.Event(enable_timing=True)",
        "import torch\ntorch.cuda.Event()",
        "from torch.cuda import Event\nEvent()",
        "import timeit\ntimeit.timeit('1')",
    ],
)
def test_a_clock_is_found_under_any_name(source: str) -> None:
    assert len([*clocks_in(source)]) == 1


def test_what_only_looks_like_a_clock_is_none() -> None:
    harmless = "import threading, time\nthreading.Event().set()\ntime.monotonic()\ntime.sleep(1)\nself.perf_counter = 3"
    assert [*clocks_in(harmless)] == []


class Hours:
    """A clock on which a training step takes one second and an evaluation an hour."""

    def __init__(self) -> None:
        self.now = 5.0

    def perf_counter(self) -> float:
        return self.now


class Blank:
    """Material without content."""

    description = "nothing"
    asks_for_accuracy = False

    def training(self, _step: int) -> Batch:
        return Batch((torch.zeros(2, 24, dtype=torch.int64),), torch.zeros(2, 24, dtype=torch.int64))

    def held_out(self, _windows: int) -> Iterator[Batch]:
        yield self.training(0)


def test_evaluation_takes_no_time_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hours()

    def take_step(*_: object, **__: object) -> float:
        clock.now += 1
        return 8.0

    def score(*_: object, **__: object) -> Score:
        clock.now += 3600
        return Score(8.0, 1, None)

    monkeypatch.setattr(learning, "build_material", lambda *_: Blank())
    monkeypatch.setattr(learning, "time", clock)
    monkeypatch.setattr(learning, "take_step", take_step)
    monkeypatch.setattr(learning, "score", score)
    one = learning_cell("dense", steps=7)
    assert isinstance(one.workload, Learn)
    curve = learning.learn(one, one.workload, None)
    assert [point.seconds for point in curve.points] == [1, 2, 3, 4, 5, 6, 7]
    assert [(one.step, one.seconds) for one in curve.evaluations] == [(2, 2), (4, 4), (6, 6), (7, 7)]
