"""Instructions of one commit held against those of another."""

from collections.abc import Collection
from dataclasses import dataclass

from ablations.harness import store
from ablations.harness.errors import UserError
from ablations.history.entries import Entry

TOLERANCE = 0.01


@dataclass(frozen=True)
class Change:
    """Instructions of a cell before and now."""

    cell: str
    before: int
    now: int

    @property
    def relative(self) -> float:
        """As a fraction of what was before."""
        return self.now / self.before - 1

    @property
    def too_many(self) -> bool:
        """Whether it is more than counting itself scatters by."""
        return self.now > (1 + TOLERANCE) * self.before

    @property
    def line(self) -> str:
        """For people."""
        verdict = f"more than {TOLERANCE:.1%} more" if self.too_many else "passes"
        return f"{self.cell}: {self.before:,} before, {self.now:,} now, {self.relative:+.2%}: {verdict}"


def newest_counted(entries: tuple[Entry, ...], where: str) -> Entry:
    """The last entry that has instructions.

    Raises:
        UserError: There is none.
    """
    counted = [entry for entry in entries if entry.cells]
    if not counted:
        raise UserError(f"{where} has no instructions. Count them: python run_all.py instructions --out {where}")
    return counted[-1]


def refuse_unlike(base: Entry, torch: str, cells: Collection[str]) -> None:
    """Say before anything is counted whether it can be held against the base.

    Args:
        base: Counted before.
        torch: Version that is to count.
        cells: Names of those to count.

    Raises:
        UserError: It cannot.
    """
    if base.torch != torch:
        raise UserError(
            f"The base was counted with torch {store.printable(base.torch)} and this is {torch}: count the base again "
            "with the same version."
        )
    if base.cells.keys() != set(cells):
        raise UserError(
            f"The base has the cells {store.printable(', '.join(base.cells))} and this {', '.join(cells)}: count the "
            "base again with the same cells."
        )


def changes(base: Entry, head: Entry) -> tuple[Change, ...]:
    """Of each cell; `refuse_unlike` has let the base pass."""
    return tuple(Change(name, base.cells[name], now) for name, now in head.cells.items())
