"""What several tests of the harness start from."""

from collections.abc import Callable

import pytest
import torch

from ablations.harness import worker
from ablations.harness.cell import Cell
from ablations.harness.request import Outcome, Request

Attempt = Callable[[Cell], Outcome]


@pytest.fixture
def attempted(monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Measures a cell in this process, whose memory and threads are left as they are."""
    monkeypatch.setattr(worker, "limit_memory", lambda: None)
    monkeypatch.setattr(worker, "cores", lambda: torch.get_num_threads())

    def attempt(one: Cell) -> Outcome:
        return worker.attempt(Request(cell=one, data=None, outcome_path="unused", log_path="unused"))

    return attempt
