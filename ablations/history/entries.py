"""The history: one JSON line for each time that something was counted, oldest first."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ablations.harness.errors import UserError
from ablations.harness.writing import writing
from reformer.config import Frozen

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Entry(Frozen):
    """What was counted or measured of one commit.

    Attributes:
        schema_version: Of the line.
        commit: Of the code, or `None` outside a checkout.
        dirty: Whether the code differed from that commit; lines from before this was noted say that it did not.
        date: UTC, ISO 8601.
        torch: Version.
        cells: Instructions of one step, by the cell's name.
        series: Other numbers, by a name that says what they are.
    """

    schema_version: Literal[1] = 1
    commit: str | None
    dirty: bool = False
    date: str
    torch: str
    cells: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    series: dict[str, Positive] = Field(default_factory=dict)


def append(entry: Entry, path: Path) -> None:
    """Add a line, unless the file has it: what was measured once is one value, however often it is added.

    Raises:
        UserError: The file cannot be read or written.
    """
    line = entry.model_dump_json()
    if path.exists() and line in _lines(path):
        return
    with writing(path), path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(line + "\n")


def read(path: Path) -> tuple[Entry, ...]:
    """All lines.

    Raises:
        UserError: The file cannot be read, has no line, or has one that is no entry.
    """
    lines = _lines(path)
    if not lines:
        raise UserError(f"{path} has no line. Count first: python run_all.py instructions --out {path}")
    return tuple(_entry(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {path}: {error}. Name a file that `instructions --out` has written.") from None
    # Not `splitlines`: JSON may hold characters that end a line there, as U+2028.
    return text.removesuffix("\n").split("\n") if text else []


def _entry(line: str, where: str) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise UserError(f"{where} is no entry of a history: {field}: {first['msg']}. Remove the line.") from None
