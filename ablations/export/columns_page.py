"""What each column of the data files is, for those who read them."""

from collections.abc import Sequence

from ablations.export.columns import DataTable

_HEAD = """\
# Columns

Null means that there is no such number, or that it is not known; it is never written as 0. In CSV a null is nothing
between two commas, an empty text is `""`, truths are `true` and `false`, and numbers have all their digits. Units stand
at the end of a column's name; a byte is a byte, and GiB are nowhere. Texts stand as they were recorded: a spreadsheet
should read them as texts.

Not all that a record holds is here. Left out are: of timed steps the warm-up, the host's share and what others took of
the processors; each kernel's own time; each sample of the machine's ceilings; of training the loss of each step on its
batch, the results under other conditions, what each LSH layer recalls and one pattern of its attention; and the
readings of the GPU's clocks and heat. They are in the results folder, a JSON line per record.
"""


def columns_page(tables: Sequence[DataTable]) -> str:
    """A section per data file, a line per column. Written from the columns themselves."""
    return _HEAD + "".join(_section(table) for table in tables)


def _section(table: DataTable) -> str:
    lines = "".join(f"| `{one.name}` | {one.kind} | {one.says} |\n" for one in table.headings)
    return f"\n## {table.name}\n\n{table.says}\n\n| column | kind | what it is |\n| --- | --- | --- |\n{lines}"
