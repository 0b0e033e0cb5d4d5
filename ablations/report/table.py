"""What a table is, and what all tables of results have in common: leading columns, gaps in words, marks and notes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ablations.report.axes import Setting
from ablations.report.groups import Group
from ablations.report.units import setting
from ablations.report.views import KindResults

NOTHING = "—"
PARTIAL = "‡"
CAUTIONS: Mapping[str, tuple[Callable[[Group], bool], str]] = MappingProxyType(
    {
        "†": (
            lambda group: not group.steady,
            "In at least one process the warm-up had not settled when sampling began: read with caution.",
        ),
        "§": (
            lambda group: group.contended,
            "In at least one process others took more than a twentieth of the processors' time while samples were "
            "taken: read with caution.",
        ),
        "¶": (
            lambda group: group.host_bound,
            "The GPU waited for the host: by the clock a step takes longer than by the device's events, which the "
            "figure is of.",
        ),
        "‖": (
            lambda group: group.throttled,
            "Heat or power supply slowed the device down, in every attempt at one cell at least: read with caution.",
        ),
    }
)
"""Marks of results that are to be read with care: which groups bear them, and what they mean."""
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
    columns = (*leading_columns(kind), *map(Column, titles))
    rows = tuple(_row(kind, group, results, len(titles)) for group in groups)
    return Table(caption, columns, rows, (*notes(), *notes_on_marks(groups)))


def leading_columns(kind: KindResults) -> tuple[Column, ...]:
    """Headings of the settings, and of the variant."""
    return (*setting_columns(kind.columns, [group.settings for group in kind.groups]), Column("variant", numeric=False))


def setting_columns(names: Sequence[str], settings: Sequence[Mapping[str, Setting]]) -> tuple[Column, ...]:
    """A heading for each of these settings; words stand under those of which a row has a word."""
    return tuple(Column(name, numeric=not any(isinstance(one.get(name), str) for one in settings)) for name in names)


def leading_cells(kind: KindResults, group: Group) -> tuple[str, ...]:
    """Where a group stands: a cell for each of the leading columns."""
    found = group.settings
    return (*(setting(found[name]) if name in found else NOTHING for name in kind.columns), group.variant)


def _row(kind: KindResults, group: Group, results: Results, width: int) -> Row:
    leading = leading_cells(kind, group)
    if group.estimate:
        first, *others = results(group)
        return Row((*leading, first + marks_of(group), *others))
    return Row((*leading, group.failure_words, *[NOTHING] * (width - 1)), ok=False)


def marks_of(group: Group) -> str:
    """What stands behind a result that is to be read with care."""
    cautions = [mark for mark, (applies, _) in CAUTIONS.items() if applies(group)]
    return "".join(f" {mark}" for mark in [*cautions, *([PARTIAL] if group.failures else [])])


def notes_on_marks(groups: Sequence[Group]) -> tuple[str, ...]:
    """What the marks of these groups mean."""
    notes = [f"{mark} {words}" for mark, (applies, words) in CAUTIONS.items() if any(map(applies, groups))]
    if partial := [group for group in groups if group.failures and group.estimate]:
        lost = "; ".join(_lost(group) for group in partial)
        notes.append(f"{PARTIAL} From those processes alone that have a result. Without one: {lost}.")
    return tuple(notes)


def _lost(group: Group) -> str:
    seeds = ", ".join(f"seed {a.cell.seed} {a.words}" for a in group.attempts if a.status != "ok")
    return f"{group.variant} at length {group.cell.length}, {seeds}"
