"""Whether steps fit into a budget: the limit holds, nothing else is taken for it, and the same answer comes again."""

import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from ablations.harness.cell import Capacity, Cell
from ablations.harness.errors import UnsupportedError
from ablations.harness.measure import budget
from ablations.harness.measurement import Trained
from ablations.harness.record import Record
from ablations.harness.request import Request
from ablations.harness.runner import Runner
from ablations.harness.worker import attempt
from reformer.config import SinusoidalPositions
from tests.harness.cells import cell, config, here

BUDGET = 48 * 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is limited on Linux only")


def probe(length: int, *, budget_bytes: int | None = BUDGET, variant: str = "dense") -> Cell:
    model = config(variant, length=length, positions=SinusoidalPositions())
    return cell(config=model, length=length, workload=Capacity(budget_bytes=budget_bytes))


@pytest.fixture(scope="module")
def measured() -> Iterator[Callable[[Cell], Record]]:
    with Runner(here()) as runner:
        yield lambda one: runner.run(one, timeout_seconds=60)


def test_what_fits_is_trained_and_says_which_budget_applied(measured: Callable[[Cell], Record]) -> None:
    record = measured(probe(256))
    assert (record.status, record.reason) == ("ok", None)
    assert isinstance(record.measurement, Trained)
    assert record.measurement.budget_bytes == BUDGET
    assert record.measurement.seconds > 0


def test_what_needs_more_than_the_budget_runs_out_of_memory_and_within_a_larger_one_it_fits(
    measured: Callable[[Cell], Record],
) -> None:
    # Scores alone: two heads of 1,024 x 1,024 numbers of four bytes make 8 MiB, and three such live at once.
    assert measured(probe(1024, budget_bytes=24 * 2**20)).status == "oom"
    assert measured(probe(1024, budget_bytes=96 * 2**20)).status == "ok"


@pytest.mark.parametrize(
    ("variant", "lengths"), [("dense", range(384, 1025, 128)), ("reformer", range(2048, 22529, 2048))]
)
def test_the_same_answer_comes_again_but_for_a_step_that_needs_the_budget_to_two_mebibytes(
    measured: Callable[[Cell], Record], variant: str, lengths: range
) -> None:
    # What is no tensor differs between processors: with AMX the longest that fits is less than half as long. From run
    # to run, too, by how threads meet: in 80 runs a step of the Reformer of 14,336 fit into 24.1 MiB once, and once did
    # not fit into 24.6.
    mebibytes = (22, 24, 24, 26)
    answers = [
        [measured(probe(length, budget_bytes=size * 2**20, variant=variant)).status for size in mebibytes]
        for length in lengths
    ]
    assert {answer for row in answers for answer in row} == {"ok", "oom"}
    assert answers[0] == ["ok"] * 4
    assert answers[-1] == ["oom"] * 4
    for less, once, again, more in answers:
        assert less == "oom" or (once, again, more) == ("ok", "ok", "ok")
        assert more == "ok" or (less, once, again) == ("oom", "oom", "oom")


def test_without_a_budget_what_is_free_applies(measured: Callable[[Cell], Record]) -> None:
    found = measured(probe(64, budget_bytes=None)).measurement
    assert isinstance(found, Trained)
    assert 0 < found.budget_bytes < here().memory_bytes


def test_a_budget_that_no_such_machine_has_is_unsupported_and_names_both(measured: Callable[[Cell], Record]) -> None:
    record = measured(probe(64, budget_bytes=2**50))
    assert record.status == "unsupported"
    assert record.reason
    assert f"{2**50:,}" in record.reason
    assert f"{here().memory_bytes:,}"[:5] in record.reason


def test_a_budget_that_is_not_free_now_is_an_error_and_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match=r"budget of 700 bytes .* 500 bytes .* free now.*--retry-failed"):
        budget._checked(700, free=500, total=900, what="this machine")
    with pytest.raises(UnsupportedError, match="budget of 901 bytes is more than the 900 bytes of this machine"):
        budget._checked(901, free=500, total=900, what="this machine")
    assert budget._checked(500, free=500, total=900, what="this machine") == 500
    assert budget._checked(None, free=500, total=900, what="this machine") == 500


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("could not create a primitive", "oom"),
        ("could not create a primitive descriptor for the eltwise backward propagation primitive", "error"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes.", "oom"),
        ("the budget of 700 bytes is more than the 500 bytes of this machine that are free now", "error"),
        ("the output of what was measured is not finite", "error"),
    ],
)
def test_only_a_lack_of_memory_is_one(words: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> Trained:  # noqa: ANN401  (in place of any workload)
        raise RuntimeError(words)

    monkeypatch.setattr("ablations.harness.worker.limit_memory", lambda: None)
    monkeypatch.setattr("ablations.harness.worker.measure_capacity", refuses)
    outcome = attempt(Request(cell=probe(64), data=None, outcome_path="", log_path=""))
    assert outcome.status == status


def test_a_second_limit_may_lie_above_the_first() -> None:
    # A limit that only the superuser may raise would make every search of an ordinary user an error.
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        budget.allow(2**33)
        budget.allow(2**34)
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        assert soft > 2**34
        assert hard == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_on_a_gpu_the_budget_is_a_share_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (60 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: shares.append(share))
    device = torch.device("cuda")
    assert budget.apply_budget(16 * 2**30, device) == 16 * 2**30
    assert budget.apply_budget(None, device) == 60 * 2**30
    assert shares == [0.2, 0.75]
    with pytest.raises(UnsupportedError, match="of this GPU"):
        budget.apply_budget(81 * 2**30, device)
