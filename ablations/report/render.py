"""Results in, report out: one HTML page that needs nothing else, the same in Markdown, and the figures as files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ablations.harness.errors import UserError
from ablations.harness.store import MachineResults
from ablations.report.claims_table import ClaimRow
from ablations.report.figures import Figure
from ablations.report.pages import MachinePart, machine_part, unique
from ablations.report.svg import MARK, slug

NO_CLAIMS: Mapping[str, Sequence[ClaimRow]] = MappingProxyType({})


def render(
    results: Sequence[MachineResults], reports: Path, claims: Mapping[str, Sequence[ClaimRow]] = NO_CLAIMS
) -> Path:
    """Write `index.html` (self-contained), `index.md` and `figures/*.svg`; the same results give the same bytes.

    Args:
        results: One per machine, at least one of them with records.
        reports: Folder to write to, made if need be. Figures of an earlier report that are no longer drawn are removed.
        claims: Of the paper, as each machine's records bear them out, by the machine's name. Without, none are shown.

    Returns:
        The path of `index.html`.

    Raises:
        UserError: There are no records, or the folder cannot be written.
    """
    if not any(machine.records for machine in results):
        raise UserError("There are no records to report on. Measure something first: python run_all.py")
    machines = _machine_parts(results, claims)
    templates = _templates()
    try:
        _write_figures(
            [figure for machine in machines for part in machine.experiments for figure in part.figures], reports
        )
        for name in ("index.html", "index.md"):
            text = templates.get_template(f"{name}.j2").render(machines=machines)
            (reports / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"Cannot write the report to {reports}: {error.strerror}. Choose another folder.") from None
    return reports / "index.html"


def _machine_parts(results: Sequence[MachineResults], claims: Mapping[str, Sequence[ClaimRow]]) -> list[MachinePart]:
    ordered = sorted(results, key=lambda machine: machine.environment.machine)
    anchors = unique([slug(machine.environment.machine) for machine in ordered])
    return [
        machine_part(machine, anchor, claims.get(machine.environment.machine, ()))
        for machine, anchor in zip(ordered, anchors, strict=True)
    ]


def _write_figures(figures: Sequence[Figure], reports: Path) -> None:
    folder = reports / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        if MARK in old.read_text(encoding="utf-8", errors="replace"):
            old.unlink()
    for figure in figures:
        (folder / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8", newline="\n")


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("ablations.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["markdown"] = markdown
    # Drawn by `figures`, which escapes what it takes from records.
    templates.filters["drawing"] = lambda figure: Markup(figure.svg)
    return templates


_SIGNS = re.compile(r"([\\`*\[\]~$|])|(?<![^\W_])_|_(?![^\W_])")


def markdown(text: str) -> Markup:
    """Text as GitHub Markdown that shows it unchanged, in a table's cell too: no HTML, no cell borders, one line."""
    one_line = " ".join(str(text).split())
    marked = _SIGNS.sub(lambda found: f"&#{ord(found[0])};", str(escape(one_line)).replace("&#39;", "'"))
    return Markup(marked)
