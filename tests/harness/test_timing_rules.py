"""Rules that keep times comparable: one place that takes them, and none that counts what is not part of a step."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ablations
from ablations.data.enwik8 import Split
from ablations.harness.cell import Learn
from ablations.harness.measurement import Evaluation
from ablations.harness.workloads import learn as learning
from reformer.model import ReformerLM
from tests.harness.cells import learning_cell

PACKAGE = Path(ablations.__file__).parent
TIMER = "harness/measure/time.py"
EXCEPTIONS = {
    # Seconds of training are no step's time: they go on from step to step, and each waits for its loss.
    "harness/workloads/learn.py",
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


def test_evaluation_takes_no_time_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hours()

    def train(*_: object) -> float:
        clock.now += 1
        return 8.0

    def evaluate(_model: ReformerLM, _split: Split, _cell: object, _workload: Learn, step: int, s: float) -> Evaluation:
        clock.now += 3600
        return Evaluation(step=step, seconds=s, bits_per_byte=8.0, n_bytes=1)

    text = np.zeros(400, dtype=np.uint8)
    monkeypatch.setattr(learning, "read_split", lambda _: Split(train=text, validation=text, test=text))
    monkeypatch.setattr(learning, "time", clock)
    monkeypatch.setattr(learning, "_train", train)
    monkeypatch.setattr(learning, "_evaluate", evaluate)
    one = learning_cell("dense", steps=7)
    assert isinstance(one.workload, Learn)
    curve = learning.learn(one, one.workload, Path("unused"))
    assert [point.seconds for point in curve.points] == [1, 2, 3, 4, 5, 6, 7]
    assert [(one.step, one.seconds) for one in curve.evaluations] == [(2, 2), (4, 4), (6, 6), (7, 7)]
