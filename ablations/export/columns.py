"""What a column is: its name, its kind, what it says, and how its value is read off a row's source."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Source = TypeVar("Source")
Kind = Literal["text", "integer", "number", "truth"]
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Column(Generic[Source]):
    """One column of one data file.

    Attributes:
        name: Its heading; of a quantity the unit stands at its end.
        kind: Of its values; each may be null besides.
        says: What it is, as a sentence or two.
        of: Its value in the row of a source; `None` where there is none, which is never written as 0.
    """

    name: str
    kind: Kind
    says: str
    of: Callable[[Source], Value]


@dataclass(frozen=True)
class Heading:
    """What remains of a column once the rows are made."""

    name: str
    kind: Kind
    says: str


@dataclass(frozen=True)
class DataTable:
    """Rows of plain values.

    Attributes:
        name: Of its files, without their endings.
        says: What a row is.
        headings: One per column.
        rows: One value per column each.
    """

    name: str
    says: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Value, ...], ...]


def data_table(name: str, says: str, columns: Sequence[Column[Source]], sources: Iterable[Source]) -> DataTable:
    """A row per source, in the same order."""
    headings = tuple(Heading(one.name, one.kind, one.says) for one in columns)
    return DataTable(name, says, headings, tuple(tuple(one.of(source) for one in columns) for source in sources))
