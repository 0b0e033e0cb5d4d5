"""Tables as LaTeX that any document with booktabs, array, graphicx and longtable can take in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from ablations.export.latex_text import escaped
from ablations.report.table import Column, Row, Table

MOST_ROWS = 40
"""More do not fit on a page: such a table runs over several."""

MOST_LETTERS = 60
"""Of a text in one line of a table on one page; longer ones need to be broken, and their table may fill several."""

MOST_UNBROKEN = 28
"""Letters of a text that is left in one line where others are broken."""

LEAST_BROKEN = 0.16
"""Share of the text's width that broken texts are given at least."""


@dataclass(frozen=True)
class Size:
    """A size of letters: its command, half the gap between columns, and the share of a text's width of both.

    Attributes:
        command: Without the backslash.
        gap_points: Half of what stands between two columns.
        letter: Share of a text 6.5 inches wide that a letter takes, the bold and the wide ones among them.
        gap: The same of a column's gap.
    """

    command: str
    gap_points: int
    letter: float
    gap: float


SIZES = (
    Size("footnotesize", 3, 0.0093, 0.0128),
    Size("scriptsize", 3, 0.0083, 0.0128),
    Size("tiny", 1, 0.0066, 0.0043),
)
"""For tables over several pages, which cannot shrink as a whole; largest first."""

PREAMBLE = "% Needs \\usepackage{array}, {booktabs}, {graphicx} and {longtable}.\n"


def latex_table(table: Table, label: str) -> str:
    """A float as wide as the text at most; with too many rows or too long texts for one, a table over several pages.

    Args:
        table: What to show.
        label: To refer to it by; letters, digits, hyphens and underscores.
    """
    runs_on = len(table.rows) > MOST_ROWS or any(longest > MOST_LETTERS for longest in _longest(table))
    return PREAMBLE + (_long(table, label) if runs_on else _float(table, label))


def _float(table: Table, label: str) -> str:
    notes = "".join(f"  \\par\\smallskip\\footnotesize\\raggedright {escaped(note)}\n" for note in table.notes)
    return (
        "\\begin{table}[tbp]\n"
        "  \\centering\n"
        f"  \\caption{{{escaped(table.caption)}}}\n"
        f"  \\label{{tab:{label}}}\n"
        # Narrow tables keep their size; wide ones shrink to the text's width.
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"  \\begin{{tabular}}{{{''.join(map(_unbroken_alignment, table.columns))}}}\n"
        f"    \\toprule\n{_heading(table.columns)}    \\midrule\n{_rows(table.rows)}    \\bottomrule\n"
        "  \\end{tabular}}\n"
        f"{notes}"
        "\\end{table}\n"
    )


def _long(table: Table, label: str) -> str:
    notes = "".join(f"\\par\\smallskip\\noindent {escaped(note)}\n" for note in table.notes)
    heading = f"    \\toprule\n{_heading(table.columns)}    \\midrule\n"
    size = _size(table)
    return (
        "\\begingroup\n"
        f"\\{size.command}\\setlength{{\\tabcolsep}}{{{size.gap_points}pt}}\n"
        f"\\begin{{longtable}}{{{_alignments(table, size)}}}\n"
        f"  \\caption{{{escaped(table.caption)}}}\\label{{tab:{label}}} \\\\\n"
        f"{heading}  \\endfirsthead\n{heading}  \\endhead\n"
        "    \\bottomrule\n  \\endfoot\n"
        f"{_rows(table.rows)}"
        "\\end{longtable}\n"
        f"{notes}"
        "\\endgroup\n"
    )


def _size(table: Table) -> Size:
    """The largest letters at which the table is no wider than the text, or the smallest."""
    needed = LEAST_BROKEN if any(letters > MOST_UNBROKEN for letters in _longest(table)) else 0.0
    return next((size for size in SIZES if _unbroken(table, size) + needed <= 1), SIZES[-1])


def _unbroken(table: Table, size: Size) -> float:
    """Share of the text's width that everything but broken texts takes."""
    letters = sum(one for one in _longest(table) if one <= MOST_UNBROKEN)
    return size.letter * letters + size.gap * len(table.columns)


def _longest(table: Table) -> list[int]:
    """Letters of the longest text in each column."""
    texts = [[column.title for column in table.columns], *(row.cells for row in table.rows)]
    return [max(map(len, column)) for column in zip(*texts, strict=True)]


def _alignments(table: Table, size: Size) -> str:
    """As `_unbroken_alignment`, but long texts are broken in what width the others leave."""
    width = max(LEAST_BROKEN, 1 - _unbroken(table, size))
    weights = [sqrt(letters) if letters > MOST_UNBROKEN else 0.0 for letters in _longest(table)]
    return "".join(
        _broken(width * weight / sum(weights)) if weight else _unbroken_alignment(column)
        for column, weight in zip(table.columns, weights, strict=True)
    )


def _unbroken_alignment(column: Column) -> str:
    """Numbers right, words left."""
    return "r" if column.numeric else "l"


def _broken(share: float) -> str:
    return f">{{\\raggedright\\arraybackslash}}p{{{share:.3f}\\linewidth}}"


def _heading(columns: Sequence[Column]) -> str:
    return _line(column.title for column in columns)


def _rows(rows: Iterable[Row]) -> str:
    return "".join(_line(row.cells) for row in rows)


def _line(cells: Iterable[str]) -> str:
    return f"    {' & '.join(map(escaped, cells))} \\\\\n"
