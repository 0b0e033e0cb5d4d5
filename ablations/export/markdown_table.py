"""Tables as GitHub Markdown."""

from collections.abc import Iterable

from ablations.report.table import Table
from ablations.report.templating import markdown


def markdown_table(table: Table) -> str:
    """Caption, table and notes; whatever stands in them is shown as it is."""
    heading = _line(column.title for column in table.columns)
    rule = "".join(f"| {'---:' if column.numeric else '---'} " for column in table.columns) + "|\n"
    rows = "".join(_line(row.cells) for row in table.rows)
    notes = "".join(f"\n{markdown(note)}\n" for note in table.notes)
    return f"**{markdown(table.caption)}**\n\n{heading}{rule}{rows}{notes}"


def _line(cells: Iterable[str]) -> str:
    return "".join(f"| {markdown(text)} " for text in cells) + "|\n"
