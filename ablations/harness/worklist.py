"""What is left to measure, handed out cell by cell."""

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ablations.harness.cell import Cell
from ablations.harness.record import Record, Status
from ablations.harness.search import Search, found


class Worklist:
    """The cells of a run, in order, as engines take them and give back their records.

    First come the cells of grids, then the probes of searches, of each search one in turn. Any number of cells may be
    out at once. Different searches then run beside each other, but of one search only one probe is out at a time: which
    comes next depends on it. So `take` may have nothing while there is more to come; it has once a record is given.

    Everything happens in the calls of one thread; it must not be used from several without a lock.

    Args:
        cells: To measure, in order.
        searches: Whose probes to measure, as far as they are not settled.
        settled: What became of cells in earlier runs, by id; only what no run shall measure again.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        searches: Iterable[Search] = (),
        settled: Mapping[str, Status] = MappingProxyType({}),
    ) -> None:
        self._ready = deque(cells)
        self._out: set[str] = set()
        self._statuses = dict(settled)
        self._searches = deque((search, found(search, settled)) for search in searches)
        self._asked: dict[str, Search] = {}

    def take(self) -> Cell | None:
        """The next cell to measure, or `None` if none is ready."""
        cell = self._ready.popleft() if self._ready else self._next_probe()
        if cell is not None:
            self._out.add(cell.id)
        return cell

    def _next_probe(self) -> Cell | None:
        for _ in range(len(self._searches)):
            search, finding = self._searches[0]
            self._searches.rotate(-1)
            if finding.next and finding.next.id not in self._out:
                self._asked[finding.next.id] = search
                return finding.next
        return None

    def give(self, record: Record) -> None:
        """Say that a cell which was taken has its record; where it gets several, the last one counts."""
        cell_id = record.cell.id
        self._out.discard(cell_id)
        self._statuses[cell_id] = record.status
        if search := self._asked.get(cell_id):
            self._searches = deque(
                (one, found(one, self._statuses) if one == search else finding) for one, finding in self._searches
            )

    @property
    def remaining(self) -> tuple[Cell, ...]:
        """Those that were not taken yet, as far as they are known: of each search the next probe."""
        return (*self._ready, *(cell for cell in self._next_probes() if cell.id not in self._out))

    @property
    def done(self) -> bool:
        """Whether every cell has its record, and every search has come to its end."""
        return not self._ready and not self._out and not self._next_probes()

    def _next_probes(self) -> list[Cell]:
        return [finding.next for _, finding in self._searches if finding.next]
