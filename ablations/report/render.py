"""Results in, report out: one HTML page that needs nothing else, the same in Markdown, and the figures as files."""

import base64
import gzip
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from markupsafe import Markup

from ablations.harness.errors import UserError
from ablations.harness.store import MachineResults
from ablations.report.claims_table import ClaimRow
from ablations.report.figures import Figure
from ablations.report.pages import MachinePart, machine_part, unique
from ablations.report.sorting import sort_value
from ablations.report.svg import MARK, on_one_page, slug
from ablations.report.templating import templates
from ablations.report.what_if import page as what_if_page

PACKAGE = "ablations.report"
NO_CLAIMS: Mapping[str, Sequence[ClaimRow]] = MappingProxyType({})


def render(
    results: Sequence[MachineResults], reports: Path, claims: Mapping[str, Sequence[ClaimRow]] = NO_CLAIMS
) -> Path:
    """Write `index.html`, `what_if.html`, `index.md` and `figures/*.svg`; the same results give the same bytes.

    Each page needs nothing but itself.

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
    figures = [figure for machine in machines for part in machine.experiments for figure in part.figures]
    texts = {
        "index.html": _page(machines, figures),
        "index.md": _markdown_page(machines),
        "what_if.html": what_if_page(results),
    }
    try:
        _write_figures(figures, reports)
        for name, text in texts.items():
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


def _page(machines: Sequence[MachinePart], figures: Sequence[Figure]) -> str:
    letters, drawn = on_one_page([(figure.name, figure.svg) for figure in figures])
    own = templates(PACKAGE)
    own.filters["sort_value"] = sort_value
    # Drawn by `figures`, which escapes what it takes from records.
    own.filters["drawing"] = lambda figure: Markup(drawn[figure.name])
    has_charts = any(one.chart for machine in machines for part in machine.experiments for one in part.drawings)
    return own.get_template("index.html.j2").render(
        machines=machines, letters=Markup(letters), plotting_library=Markup(_plotting_library()) if has_charts else ""
    )


def _markdown_page(machines: Sequence[MachinePart]) -> str:
    return templates(PACKAGE).get_template("index.md.j2").render(machines=machines)


def _plotting_library() -> str:
    """The script that draws charts, compressed: the same bytes each time."""
    # Read without importing the package, whose Python part takes a second and is not needed.
    package = importlib.util.find_spec("plotly")
    if package is None or not package.submodule_search_locations:
        raise UserError("The package plotly, whose script the report embeds, is not installed. Run pip install plotly.")
    script = Path(package.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(script.read_bytes(), compresslevel=9, mtime=0)).decode()
