"""The history: one JSON line for each time that something was counted, oldest first."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ablations.harness.errors import UserError
from reformer.config import Frozen

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Entry(Frozen):
    """What was counted or measured of one commit.

    Attributes:
        schema_version: Of the line.
        commit: Of the code, or `None` outside a checkout.
        date: UTC, ISO 8601.
        torch: Version.
        cells: Instructions of one step, by the cell's name.
        series: Other numbers, by a name that says what they are.
    """

    schema_version: Literal[1] = 1
    commit: str | None
    date: str
    torch: str
    cells: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    series: dict[str, Positive] = Field(default_factory=dict)


def append(entry: Entry, path: Path) -> None:
    """Add a line.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(entry.model_dump_json() + "\n")
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Name another file.") from None


def read(path: Path) -> tuple[Entry, ...]:
    """All lines.

    Raises:
        UserError: The file cannot be read, has no line, or has one that is no entry.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {path}: {error}. Name a file that `instructions --out` has written.") from None
    if not lines:
        raise UserError(f"{path} has no line. Count first: python run_all.py instructions --out {path}")
    return tuple(_entry(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


def _entry(line: str, where: str) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise UserError(f"{where} is no entry of a history: {field}: {first['msg']}. Remove the line.") from None
