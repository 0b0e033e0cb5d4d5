"""The first file that one opens: what lies in an export, where it comes from, and how to cite it."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from ablations.export.bibliography import commits
from ablations.export.latex_table import PREAMBLE
from ablations.export.paper_figures import ONE_COLUMN_INCHES, TWO_COLUMNS_INCHES, PaperFigure
from ablations.export.paper_tables import NamedTable
from ablations.harness.store import MachineResults
from ablations.report.templating import markdown
from ablations.report.units import count

_DATA = """
## Data

One row per record in `records`, per timed step in `samples`, and per evaluation of a training run in `curves`; they
belong together by `cell_id`. [`columns.md`](columns.md) says what each column is, how nulls are written, and what of
the records is not here.
"""

_LATEX = f"""
In LaTeX: `\\input{{tables/NAME}}`, with `{PREAMBLE.removeprefix("% Needs ").strip().removesuffix(".")}`. A table too
long for a page is a `longtable`, which two columns have no place for: put it where there is one.
"""

_FIGURES = f"""
## Figures

{ONE_COLUMN_INCHES:g} inches wide, one column of a paper, or {TWO_COLUMNS_INCHES:g} inches, two columns, where there are
many lines; letters of 7 points and more. Include them unscaled: `\\includegraphics{{figures/NAME}}`.
"""

_CITE = """
## How to cite

`reformer_suite.bib` has an entry for the suite, with the commit that these records come from, and one for the paper:
`\\cite{reformer_suite,kitaev2020reformer}`.
"""


def readme(
    machine: MachineResults, tables: Sequence[NamedTable], figures: Sequence[PaperFigure], paths: Collection[str]
) -> str:
    """Sections on what there is; none on what was not asked for."""
    endings = {PurePosixPath(path).suffix for path in paths}
    return "".join(
        (
            _head(machine),
            _DATA if "columns.md" in paths else "",
            _tables(tables) if tables else "",
            _LATEX if ".tex" in endings else "",
            _FIGURES + _listed([(f"figures/{one.name}", one.caption) for one in figures]) if figures else "",
            _CITE if ".bib" in endings else "",
        )
    )


def _head(machine: MachineResults) -> str:
    here, found = machine.environment, commits(machine.records)
    started = sorted(record.started for record in machine.records)
    when = f", measured from {started[0]} to {started[-1]}" if started else ""
    hardware = (
        f"{here.processor}, {count(here.cores, 'logical core')}{', ' + here.accelerator if here.accelerator else ''}"
    )
    return (
        "# Results of the Reformer suite\n\n"
        f"- Machine: {markdown(here.machine)} ({markdown(hardware)})\n"
        f"- Records: {count(len(machine.records), 'record')}{markdown(when)}\n"
        f"- Commit: {markdown(', '.join(found) or 'unknown')}\n"
    )


def _tables(tables: Sequence[NamedTable]) -> str:
    return "\n## Tables\n" + _listed([(f"tables/{one.name}", one.table.caption) for one in tables])


def _listed(entries: Sequence[tuple[str, str]]) -> str:
    return "\n" + "".join(f"- `{name}`: {markdown(words)}\n" for name, words in entries)
