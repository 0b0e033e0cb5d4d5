"""What all figures share: the style, the panels, the look of a series, the legend, and the finished SVG."""

import io
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from ablations.report import svg
from ablations.report.groups import Group
from ablations.report.statistics import Estimate
from ablations.report.style import look
from ablations.report.units import Unit, setting
from ablations.report.views import MODE_WORDS, KindResults, Series

WIDTH_INCHES = 10.0
"""960 CSS pixels: an inch is 96 of them."""

DATA_INCHES = 3.3
"""Height of the part of a panel that shows data; what stands above and below comes on top, so that it never shrinks."""

TITLE_AND_TICKS_INCHES = 0.85

LEGEND_ROW_INCHES = 0.21

LineStyle = Literal["-", "--", "-.", ":", "none"]

LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")
"""For series of one variant that differ in a further setting."""

REFERENCE_STYLES: tuple[tuple[int, tuple[int, ...]], ...] = ((0, (6, 3)), (0, (2, 2)), (0, (8, 2, 2, 2)), (0, (1, 4)))
"""For a variant that has one value, drawn across; as many as there are line styles."""

NEUTRAL = "#444444"
"""For what the legend says of all variants alike."""


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        name: Slug, unique on the page, and the file's name without its ending.
        title: A few words.
        caption: What is shown and how to read it, as plain text.
        svg: The `<svg>` element.
        n_panels: Side by side.
    """

    name: str
    title: str
    caption: str
    svg: str
    n_panels: int


@dataclass(frozen=True)
class Quantity:
    """What a figure shows of each group."""

    key: str
    unit: Unit
    of: Callable[[Group], Estimate | None]


def styled(name: str) -> AbstractContextManager[None]:
    """The one style, with ids in the SVG that follow from the figure's name."""
    return mpl.rc_context({**sns.axes_style("whitegrid"), **_STYLE, "svg.hashsalt": name})


_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.edgecolor": "#888888",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.7,
    "lines.markersize": 6,
    # Letters as outlines, so that the figure looks the same wherever it is opened.
    "svg.fonttype": "path",
}


def side_by_side(
    count: int, *, extra_inches: float = 0.0, inches: float = DATA_INCHES, shared: bool = True
) -> tuple[Canvas, list[Axes]]:
    """Panels, higher by `extra_inches` than what data and ticks need.

    Args:
        count: Of panels.
        extra_inches: See above.
        inches: Height of the data.
        shared: Whether the panels share their vertical axis.
    """
    width = WIDTH_INCHES if count > 1 else 0.72 * WIDTH_INCHES
    height = inches + TITLE_AND_TICKS_INCHES + extra_inches
    canvas = Canvas(figsize=(width, height), layout="constrained", facecolor="white")
    return canvas, list(canvas.subplots(1, count, sharey=shared, squeeze=False)[0])


def line_style(series: Series, siblings: Sequence[Series]) -> LineStyle:
    """Tells series of one variant in one mode apart by their place among each other."""
    others = [one.others for one in siblings if one.variant == series.variant]
    return LINE_STYLES[others.index(series.others) % len(LINE_STYLES)]


def gid(what: str, series: Series, where: object = "") -> str:
    """Names a drawn thing in the SVG."""
    return gid_of(what, series.label, series.mode, where)


def gid_of(what: str, name: str, *where: object) -> str:
    """The same of what is no series."""
    return "-".join(part for part in (what, svg.slug(name), *map(str, where)) if part)


def variant_handles(kind: KindResults) -> list[Line2D]:
    """The legend's entries of all series, each label once."""
    handles = {
        series.label: _handle(series, line_style(series, kind.series(mode)))
        for mode in kind.modes
        for series in kind.series(mode)
    }
    return list(handles.values())


def _handle(series: Series, style: LineStyle) -> Line2D:
    colour, marker = look(series.variant).colour, look(series.variant).marker
    if series.is_reference:
        label = f"{series.label} (no {series.horizontal})"
        return Line2D([], [], color=colour, linestyle=REFERENCE_STYLES[LINE_STYLES.index(style)], label=label)
    drawn_line: LineStyle = "none" if series.horizontal is None and series.mode != "learn" else style
    return Line2D([], [], color=colour, marker=marker, linestyle=drawn_line, label=series.label)


def legend(canvas: Canvas, handles: Sequence[Line2D]) -> None:
    """One legend below all panels, in as many columns as its longest label leaves room for; the figure grows by it."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    # About 0.075 inch per letter at this size, and the sample of line beside it.
    columns = max(1, min(len(handles), int(canvas.get_figwidth() / (0.075 * longest + 0.6))))
    canvas.set_figheight(canvas.get_figheight() + LEGEND_ROW_INCHES * (math.ceil(len(handles) / columns) + 0.5))
    canvas.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def finished(canvas: Canvas, name: str, *, title: str, caption: str, values: str) -> Figure:
    """The figure as text; `values` says what it shows to those who cannot see it."""
    drawn = io.StringIO()
    canvas.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    element = svg.finished(drawn.getvalue(), name=name, title=title, description=values)
    return Figure(name, title, caption, element, len(canvas.axes))


def values_in_words(kind: KindResults, quantity: Quantity) -> str:
    """Every value of a figure, as text."""
    return " ".join(_in_words(series, quantity) for mode in kind.modes for series in kind.series(mode))


def _in_words(series: Series, quantity: Quantity) -> str:
    parts = []
    for group in series.groups:
        estimate, x = quantity.of(group), series.place(group)
        words = quantity.unit.text(estimate.value) if estimate else group.failure_words
        parts.append(words if x is None else f"{words} at {setting(x)}")
    return f"{series.label}, {MODE_WORDS[series.mode]}: {', '.join(parts)}."
