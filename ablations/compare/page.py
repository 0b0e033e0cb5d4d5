"""A comparison as one HTML page that needs nothing else, and as GitHub Markdown."""

from pathlib import Path

from ablations.compare.view import COLUMNS, Report, cells_of, heads, lists
from ablations.harness.writing import writing
from ablations.report.templating import templates


def write_html(report: Report, path: Path) -> None:
    """Write the page; the same records give the same bytes.

    Raises:
        UserError: The file cannot be written.
    """
    _write(report, "comparison.html.j2", path)


def write_markdown(report: Report, path: Path) -> None:
    """Write the same as GitHub Markdown.

    Raises:
        UserError: The file cannot be written.
    """
    _write(report, "comparison.md.j2", path)


def _write(report: Report, template: str, path: Path) -> None:
    text = (
        templates("ablations.compare")
        .get_template(template)
        .render(report=report, columns=COLUMNS, cells_of=cells_of, heads=heads, lists=lists)
    )
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")
