"""Every file of an export, as bytes; the same records give the same bytes."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ablations.export.bibliography import bibliography
from ablations.export.columns import DataTable
from ablations.export.columns_page import columns_page
from ablations.export.csv_text import csv_text
from ablations.export.data_tables import data_tables
from ablations.export.latex_table import latex_table
from ablations.export.markdown_table import markdown_table
from ablations.export.paper_figures import PaperFigure, paper_figures
from ablations.export.paper_tables import NamedTable, named_tables
from ablations.export.parquet_bytes import parquet_bytes
from ablations.export.readme import readme
from ablations.harness.store import MachineResults
from ablations.report.claims_table import ClaimRow
from ablations.report.pages import unique
from ablations.report.svg import slug
from ablations.report.views import experiment_results

Format = Literal["csv", "parquet", "markdown", "latex", "svg", "pdf", "bibtex"]
Files = Mapping[str, bytes]
"""Content by path within the export."""

DATA: Mapping[Format, Callable[[DataTable], bytes]] = MappingProxyType(
    {"csv": lambda table: csv_text(table).encode(), "parquet": parquet_bytes}
)
TABLES: Mapping[Format, tuple[str, Callable[[NamedTable], str]]] = MappingProxyType(
    {
        "markdown": ("md", lambda named: markdown_table(named.table)),
        "latex": ("tex", lambda named: latex_table(named.table, named.name)),
    }
)
FIGURES: Mapping[Format, Callable[[PaperFigure], bytes]] = MappingProxyType(
    {"svg": lambda figure: figure.svg, "pdf": lambda figure: figure.pdf}
)


@dataclass(frozen=True)
class Material:
    """What the files are made of; empty where no format asks for it."""

    data: tuple[DataTable, ...]
    tables: tuple[NamedTable, ...]
    figures: tuple[PaperFigure, ...]


def contents(machine: MachineResults, claims: Sequence[ClaimRow], formats: Collection[Format]) -> Files:
    """All files in these formats, and a `README.md` that says what each is.

    Args:
        machine: Its plan and records.
        claims: The paper's, as these records bear them out.
        formats: At least one.
    """
    material = _material(machine, claims, formats)
    files = dict(_files(material, formats))
    if "bibtex" in formats:
        files["reformer_suite.bib"] = bibliography(machine.records).encode()
    return {"README.md": readme(machine, material.tables, material.figures, files.keys()).encode(), **files}


def _material(machine: MachineResults, claims: Sequence[ClaimRow], formats: Collection[Format]) -> Material:
    return Material(
        data=data_tables(machine.records) if DATA.keys() & formats else (),
        tables=named_tables(machine, claims) if TABLES.keys() & formats else (),
        figures=tuple(_figures(machine)) if FIGURES.keys() & formats else (),
    )


def _figures(machine: MachineResults) -> Iterator[PaperFigure]:
    names = unique([slug(planned.name) for planned in machine.plan.experiments])
    for name, planned in zip(names, machine.plan.experiments, strict=True):
        yield from paper_figures(experiment_results(planned, machine.records), name)


def _files(material: Material, formats: Collection[Format]) -> Iterator[tuple[str, bytes]]:
    if material.data:
        yield "columns.md", columns_page(material.data).encode()
    for form, data in DATA.items():
        yield from ((f"{one.name}.{form}", data(one)) for one in material.data if form in formats)
    for form, (ending, table) in TABLES.items():
        yield from ((f"tables/{one.name}.{ending}", table(one).encode()) for one in material.tables if form in formats)
    for form, figure in FIGURES.items():
        yield from ((f"figures/{one.name}.{form}", figure(one)) for one in material.figures if form in formats)
