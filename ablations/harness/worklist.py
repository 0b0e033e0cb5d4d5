"""What is left to measure, handed out cell by cell."""

from collections import deque
from collections.abc import Iterable

from ablations.harness.cell import Cell
from ablations.harness.record import Record


class Worklist:
    """The cells of a run, in order, as engines take them and give back their records."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._ready = deque(cells)
        self._out: set[str] = set()

    def take(self) -> Cell | None:
        """The next cell to measure, or `None` if none is ready."""
        if not self._ready:
            return None
        cell = self._ready.popleft()
        self._out.add(cell.id)
        return cell

    def give(self, record: Record) -> None:
        """Say that a cell which was taken has its record."""
        self._out.discard(record.cell.id)

    @property
    def remaining(self) -> tuple[Cell, ...]:
        """Those that were not taken yet, as far as they are known."""
        return tuple(self._ready)

    @property
    def done(self) -> bool:
        """Whether every cell has its record."""
        return not self._ready and not self._out
