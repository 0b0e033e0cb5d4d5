"""Data tables as CSV (RFC 4180 but for the line ends, which are bare newlines)."""

import re
from collections.abc import Iterable

from ablations.export.columns import DataTable, Value

_QUOTED = re.compile(r'[",\r\n]|^$')


def csv_text(table: DataTable) -> str:
    """A heading and a line per row. Null is nothing at all, an empty text `""`; numbers read back as they were."""
    return "".join(_line(row) for row in ([heading.name for heading in table.headings], *table.rows))


def _line(row: Iterable[Value]) -> str:
    return ",".join(map(_field, row)) + "\n"


def _field(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            # The standard writer leaves a lone carriage return bare, and the standard reader ends the line there.
            return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value
        case _:
            return repr(value)
