"""What a table is, and what all tables of results have in common: leading columns, gaps in words, marks and notes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ablations.report.groups import Group
from ablations.report.units import setting
from ablations.report.views import KindResults

NOTHING = "—"
NOT_STEADY = "†"
PARTIAL = "‡"
N_TITLE = "n (processes)"


@dataclass(frozen=True)
class Column:
    """A heading, and whether numbers stand under it (aligned right)."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """One text per column; `ok` is false where there is no result."""

    cells: tuple[str, ...]
    ok: bool = True


@dataclass(frozen=True)
class Table:
    """A table; `notes` explain the marks in it."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


Results = Callable[[Group], tuple[str, ...]]
"""The cells of a group that has an estimate, one per title."""


def results_table(
    kind: KindResults,
    mode: str,
    *,
    caption: str,
    titles: Sequence[str],
    results: Results,
    notes: Callable[[], Sequence[str]],
) -> Table:
    """A row per group: where it stands, then its results, or in their place what became of it.

    Args:
        kind: Whose groups.
        mode: Which of them.
        caption: Of the table.
        titles: Headings of the results.
        results: Their cells.
        notes: What to say below; asked for once all rows are written.
    """
    groups = kind.ordered(mode)
    columns = (*map(Column, kind.columns), Column("variant", numeric=False), *map(Column, titles))
    rows = tuple(_row(kind, group, results, len(titles)) for group in groups)
    return Table(caption, columns, rows, (*notes(), *notes_on_marks(groups)))


def _row(kind: KindResults, group: Group, results: Results, width: int) -> Row:
    found = group.settings
    leading = (*(setting(found[name]) if name in found else NOTHING for name in kind.columns), group.variant)
    if group.estimate:
        first, *others = results(group)
        return Row((*leading, first + marks_of(group), *others))
    return Row((*leading, group.failure_words, *[NOTHING] * (width - 1)), ok=False)


def marks_of(group: Group) -> str:
    """What stands behind a result that is to be read with care."""
    return ("" if group.steady else f" {NOT_STEADY}") + (f" {PARTIAL}" if group.failures else "")


def notes_on_marks(groups: Sequence[Group]) -> tuple[str, ...]:
    """What the marks of these groups mean."""
    notes = []
    if not all(group.steady for group in groups):
        notes.append(
            f"{NOT_STEADY} In at least one process the warm-up had not settled when sampling began: read with caution."
        )
    if partial := [group for group in groups if group.failures and group.estimate]:
        lost = "; ".join(_lost(group) for group in partial)
        notes.append(f"{PARTIAL} From those processes alone that have a result. Without one: {lost}.")
    return tuple(notes)


def _lost(group: Group) -> str:
    seeds = ", ".join(f"seed {a.cell.seed} {a.words}" for a in group.attempts if a.status != "ok")
    return f"{group.variant} at length {group.cell.length}, {seeds}"
