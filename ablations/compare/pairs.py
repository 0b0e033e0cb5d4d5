"""The same cell in A and in B: what became of it in each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from ablations.harness.cell import Cell
from ablations.harness.store import MachineResults
from ablations.report.groups import Attempt, attempts_of

Fate = Literal["measured", "lost", "gained", "new", "missing", "neither"]
"""Measured in both; only A has a result although B tried, and the reverse; only B tried, only A did; and neither has a
result, tried or not."""


@dataclass(frozen=True)
class Pair:
    """A cell in A and in B; `None` where it is neither planned nor measured."""

    before: Attempt | None
    after: Attempt | None

    @property
    def cell(self) -> Cell:
        """Which."""
        attempt = self.before or self.after
        assert attempt is not None, "a pair is made of at least one attempt"
        return attempt.cell

    @property
    def fate(self) -> Fate:
        """What became of it."""
        match _state(self.before), _state(self.after):
            case "ok", "ok":
                return "measured"
            case "ok", "failed":
                return "lost"
            case "failed", "ok":
                return "gained"
            case "absent", "ok" | "failed":
                return "new"
            case "ok" | "failed", "absent":
                return "missing"
            case _:
                return "neither"


def _state(attempt: Attempt | None) -> Literal["ok", "failed", "absent"]:
    """What is not run for want of something, as a data set, was not tried."""
    if attempt is None or attempt.status in ("missing", "not_run"):
        return "absent"
    return "ok" if attempt.status == "ok" else "failed"


def pairs_of(before: MachineResults, after: MachineResults, without: Collection[str]) -> tuple[Pair, ...]:
    """Every cell that is planned or measured in either, in the order of A.

    Args:
        before: A.
        after: B.
        without: Ids of cells to leave out.
    """
    one, other = _attempts(before), _attempts(after)
    return tuple(Pair(one.get(name), other.get(name)) for name in {**one, **other} if name not in without)


def grouped(pairs: Collection[Pair]) -> tuple[tuple[Pair, ...], ...]:
    """Pairs whose cells differ in nothing but their seed, in the order of their seeds."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.cell.model_copy(update={"seed": 0}).id, []).append(pair)
    return tuple(tuple(sorted(group, key=lambda pair: pair.cell.seed)) for group in groups.values())


def _attempts(machine: MachineResults) -> Mapping[str, Attempt]:
    planned = (cell for experiment in machine.plan.experiments for cell in experiment.cells)
    cells = {cell.id: cell for cell in (*planned, *(record.cell for record in machine.records))}
    return {attempt.cell.id: attempt for attempt in attempts_of(cells.values(), machine.records)}
