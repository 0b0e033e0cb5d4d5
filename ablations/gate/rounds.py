"""What a gate measured: for every cell rounds of a base and a head, as they were taken."""

from typing import Literal, NamedTuple, Self

from ablations.harness.cell import Cell
from ablations.harness.measurement import PacedTimes
from ablations.harness.record import Environment, Record
from reformer.config import Frozen


class Side(Frozen):
    """One of the two states of the code.

    Attributes:
        name: Which.
        revision: Of the repository that it is a state of.
        dirty: Whether files differ from that revision.
    """

    name: Literal["base", "head"]
    revision: str
    dirty: bool = False

    @property
    def words(self) -> str:
        """As people read it."""
        return self.revision[:12] + (", modified" if self.dirty else "")


class Taken(Frozen):
    """What became of one cell on one side in one round: times, or why there are none."""

    times: PacedTimes | None
    reason: str | None

    @classmethod
    def of(cls, record: Record) -> Self:
        """What the gate keeps of a record."""
        times = record.measurement if isinstance(record.measurement, PacedTimes) else None
        return cls(times=times, reason=None if times else f"{record.status}: {record.reason}")


class Round(Frozen):
    """One turn of two sides: `head` against `base`, or in a control the base against itself."""

    base: Taken
    head: Taken


class CellRounds(Frozen):
    """All rounds of one cell."""

    cell: Cell
    rounds: tuple[Round, ...] = ()

    def with_round(self, taken: Round) -> Self:
        """The same with one more."""
        return self.model_copy(update={"rounds": (*self.rounds, taken)})


class Gate(Frozen):
    """A whole gate, as it is kept in a file: what was measured and where, and nothing that follows from it.

    Attributes:
        base: What it is measured against.
        head: What is judged.
        environment: Of the machine.
        started: UTC, ISO 8601.
        seconds: That all of it took.
        cells: Head against base.
        control: Base against base.
    """

    base: Side
    head: Side
    environment: Environment
    started: str
    seconds: float
    cells: tuple[CellRounds, ...]
    control: CellRounds


class Pair(NamedTuple):
    """The pace of either side in one round, the head's first."""

    head: tuple[float]
    base: tuple[float]


def pairs_of(measured: CellRounds) -> tuple[Pair, ...]:
    """Rounds in which both sides were measured."""
    return tuple(
        Pair((one.head.times.pace,), (one.base.times.pace,))
        for one in measured.rounds
        if one.head.times and one.base.times
    )
