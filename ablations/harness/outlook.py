"""What a run would cost, experiment by experiment, before anything runs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ablations.harness.cell import Cell
from ablations.harness.estimate import estimate


class Cost(NamedTuple):
    """Of one experiment's cells that are left to do: minutes of the device, and bytes of the largest."""

    experiment: str
    n_cells: int
    minutes: float
    most_bytes: float

    @property
    def line(self) -> str:
        """For people."""
        return (
            f"{self.experiment:20} {self.n_cells:5} cells {self.minutes:8.1f} minutes, "
            f"up to {self.most_bytes / 2**30:7.2f} GiB"
        )


def costs(cells: Iterable[Cell]) -> tuple[Cost, ...]:
    """By estimate, in the order in which experiments first appear."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.experiment, []).append(cell)
    return tuple(_cost(name, members) for name, members in found.items())


def _cost(name: str, cells: Sequence[Cell]) -> Cost:
    needs = [estimate(cell) for cell in cells]
    return Cost(name, len(cells), sum(one.seconds for one in needs) / 60, max(one.held_bytes for one in needs))


def listing(planned: Sequence[Cell], done: Iterable[str]) -> Iterator[str]:
    """A line for each cell, then one for each experiment that has some left to do."""
    settled = frozenset(done)
    for cell in planned:
        needs, state = estimate(cell), "done " if cell.id in settled else "to do"
        yield f"{state} {needs.seconds:7.1f} s {needs.peak_bytes / 2**20:9.1f} MiB  {cell.id}  {cell.description}"
    for cost in costs(cell for cell in planned if cell.id not in settled):
        yield cost.line
