"""The history as a page of its own, which needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from ablations.harness.writing import writing
from ablations.history.change_points import LEAST_POINTS, LEAST_SIDE, STANDARD_ERRORS
from ablations.history.entries import Entry
from ablations.history.panels import HEIGHT, MARGIN, WIDTH, panels
from ablations.report.templating import templates


def render(entries: Sequence[Entry], reports: Path) -> Path:
    """Write `history.html`; the same entries give the same bytes.

    Args:
        entries: Oldest first.
        reports: Folder to write to, made if need be.

    Returns:
        The path of the page.

    Raises:
        UserError: The folder cannot be written.
    """
    text = (
        templates("ablations.history")
        .get_template("history.html.j2")
        .render(
            panels=panels(entries),
            width=WIDTH,
            height=HEIGHT,
            margin=MARGIN,
            standard_errors=STANDARD_ERRORS,
            least_points=LEAST_POINTS,
            least_side=LEAST_SIDE,
        )
    )
    path = reports / "history.html"
    with writing(path, "Choose another folder with --reports."):
        reports.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return path
