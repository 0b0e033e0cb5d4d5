"""What the runner says to a cell's process, and what it hears back."""

from typing import Literal, Self

from pydantic import model_validator

from ablations.harness.cell import Cell
from ablations.harness.measurement import Measurement
from ablations.harness.training_files import TrainingFiles
from reformer.config import Frozen

OutcomeStatus = Literal["ok", "oom", "error", "unsupported", "not_run"]
"""How a cell can end that lived to say so."""


CANNOT_WRITE = 74
"""Exit code of a cell's process that found no room for what it had to write; of input and output in `sysexits.h`."""


class Request(Frozen):
    """One cell to measure.

    Attributes:
        cell: What to measure.
        data: Path of the data set that the cell's workload reads, if it reads one.
        outcome_path: Where to leave the outcome.
        log_path: Where whatever the process prints goes.
        training: Files of a training run; `None` keeps none.
    """

    cell: Cell
    data: str | None
    outcome_path: str
    log_path: str
    training: TrainingFiles | None = None


class Outcome(Frozen):
    """What a cell's process found, as far as it lived to say so; `seconds` by the wall clock it took for it."""

    status: OutcomeStatus
    reason: str | None
    measurement: Measurement | None
    seconds: float

    @model_validator(mode="after")
    def _status_and_content_agree(self) -> Self:
        if (self.status == "ok") != (self.measurement is not None) or (self.status == "ok") != (self.reason is None):
            raise ValueError(f"status {self.status!r} goes with a measurement if ok, with a reason otherwise")
        return self


class Started(Frozen):
    """The server's first answer to a request: the process that works on it."""

    pid: int


class Ended(Frozen):
    """The server's second answer: the process's exit code, negative for the signal that killed it."""

    exit_code: int
