"""Figures for papers: vector drawings as wide as one column or two, with letters that can be read at that size."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, nan
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ablations.export.charts import Bars, Chart, Curves, Line, charts
from ablations.report.axes import axis_words
from ablations.report.capacity import SearchResult
from ablations.report.groups import Group
from ablations.report.style import Look, look
from ablations.report.units import BYTES, Unit
from ablations.report.views import ExperimentResults

ONE_COLUMN_INCHES = 3.25
TWO_COLUMNS_INCHES = 6.75
MOST_LINES = 8
"""In one column; a figure of more is two columns wide."""

DATA_INCHES = 1.9
LEGEND_ROW_INCHES = 0.135
FAILURE_ROW_INCHES = 0.07
NARROW_SPREAD = 5.0
"""Largest over smallest value below which powers make too few ticks."""

WIDE_SPREAD = 100.0
"""The same, above which powers of ten alone make enough."""

NEUTRAL = "#444444"
Dashes = Literal["-", "--", "-.", ":"]
DASHES: tuple[Dashes, ...] = ("-", "--", "-.", ":")

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": NEUTRAL,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    # Letters that an editor of PDF can find and change; outlines in SVG, so that it looks the same everywhere.
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class PaperFigure:
    """A drawn figure, in both forms.

    Attributes:
        name: A slug.
        caption: What is shown, in a sentence or two.
        svg: The whole file.
        pdf: The whole file, of one page.
    """

    name: str
    caption: str
    svg: bytes
    pdf: bytes


def paper_figures(results: ExperimentResults, name: str) -> tuple[PaperFigure, ...]:
    """One for each mode of each kind of workload that has a result, of training, and of searches for a length.

    Args:
        results: Of one experiment.
        name: A slug that every figure's name begins with.
    """
    return tuple(_drawn(chart, f"{name}-{chart.name}") for chart in charts(results))


def _drawn(chart: Chart | Curves | Bars, name: str) -> PaperFigure:
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        match chart:
            case Chart():
                canvas = _over_an_axis(chart) if chart.horizontal else _per_variant(chart)
            case Curves():
                canvas = _learning(chart)
            case Bars():
                canvas = _longest(chart)
        svg = _saved(canvas, "svg", {"Date": None, "Creator": None})
        pdf = _saved(canvas, "pdf", {"CreationDate": None, "Creator": None, "Producer": None})
    return PaperFigure(name, chart.caption, svg, pdf)


def _saved(canvas: Figure, form: str, metadata: dict[str, None]) -> bytes:
    drawn = io.BytesIO()
    canvas.savefig(drawn, format=form, metadata=metadata)
    return drawn.getvalue()


def _canvas(n_lines: int, inches: float = DATA_INCHES) -> tuple[Figure, Axes]:
    width = TWO_COLUMNS_INCHES if n_lines > MOST_LINES else ONE_COLUMN_INCHES
    canvas = Figure(figsize=(width, inches), layout="constrained", facecolor="white")
    return canvas, canvas.subplots()


def _over_an_axis(chart: Chart) -> Figure:
    canvas, axes = _canvas(len(chart.lines))
    # The first in the order of variants is drawn last, so that what coincides with it does not hide it.
    for line in reversed(chart.lines):
        _draw_line(axes, line)
    _scale_x(axes, str(chart.horizontal), chart.lines, canvas.get_figwidth())
    _scale_y(axes, chart.unit, chart.lines)
    rows = _mark_failures(canvas, axes, chart.lines)
    _legend(canvas, [*map(_handle, chart.lines), *_extra_handles(chart.lines, crosses=rows > 0)])
    return canvas


def _draw_line(axes: Axes, line: Line) -> None:
    """Points and the line through them, broken where something between has no result."""
    appearance, placed = look(line.variant), [(x, group) for x, group in line.groups if x is not None]
    for _, group in (pair for pair in line.groups if pair[0] is None):
        if group.estimate:
            axes.axhline(group.estimate.value, color=appearance.colour, linestyle=_dashes(line), linewidth=1.1)
    ys = [group.estimate.value if group.estimate else nan for _, group in placed]
    axes.plot([x for x, _ in placed], ys, color=appearance.colour, linestyle=_dashes(line))
    for x, group in placed:
        _draw_point(axes, appearance, x, group)


def _dashes(line: Line) -> Dashes:
    return DASHES[line.rank % len(DASHES)]


def _draw_point(axes: Axes, appearance: Look, x: float, group: Group) -> None:
    if group.estimate is None:
        return
    if interval := group.estimate.interval:
        axes.plot(
            [x, x], [interval.low, interval.high], color=appearance.colour, linewidth=0.8, marker="_", markersize=3
        )
    face = appearance.colour if group.steady else "white"
    axes.plot(
        [x], [group.estimate.value], color=appearance.colour, marker=appearance.marker, markerfacecolor=face, zorder=3
    )


def _scale_x(axes: Axes, horizontal: str, lines: Iterable[Line], inches: float) -> None:
    axes.set_xlabel(axis_words(horizontal).label)
    places = sorted({x for line in lines for x, _ in line.groups if x is not None})
    if not places:
        axes.set_xticks([])
        return
    if places[0] > 0:
        axes.set_xscale("log", base=2)
    letters = max(len(f"{x:.10g}") for x in places)
    most = int((inches - 0.8) / (0.058 * letters + 0.1))
    axes.xaxis.set_major_locator(FixedLocator(places[:: -ceil(len(places) / most)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}"))


def _scale_y(axes: Axes, unit: Unit, lines: Iterable[Line]) -> None:
    axes.set_ylabel(unit.axis)
    _logarithmic(axes, "y", unit, _drawn_values(lines))


def _drawn_values(lines: Iterable[Line]) -> list[float]:
    """Everything that stands in a figure, the ends of intervals among it."""
    estimates = [group.estimate for line in lines for _, group in line.groups if group.estimate]
    ends = [end for one in estimates if one.interval for end in (one.interval.low, one.interval.high)]
    return [*(one.value for one in estimates), *ends]


def _logarithmic(axes: Axes, which: str, unit: Unit, values: Sequence[float]) -> None:
    """A logarithmic axis whose ticks carry their units; a straight one where some value is no more than zero."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = min(values), max(values)
    if low > 0:
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(_locator(unit, low, high))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, unit)))


def _locator(unit: Unit, low: float, high: float) -> Any:  # noqa: ANN401  (one of matplotlib's, untyped)
    if high < NARROW_SPREAD * low:
        size, _ = unit.scale(low)
        ticks = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(0.8 * low / size, 1.2 * high / size)
        return FixedLocator([float(tick) * size for tick in ticks if tick > 0])
    if unit is BYTES:
        return LogLocator(base=2, numticks=7)
    return LogLocator(base=10, subs=(1.0,) if high > WIDE_SPREAD * low else (1.0, 2.0, 5.0))


def _tick(value: float, unit: Unit) -> str:
    size, name = unit.scale(value)
    return f"{value / size:,.6g} {name}".rstrip()


def _mark_failures(canvas: Figure, axes: Axes, lines: Sequence[Line]) -> int:
    """A row of crosses above the frame for each line with gaps, each at its place; how many rows there are."""
    failed = [line for line in lines if any(group.estimate is None and group.failures for _, group in line.groups)]
    height = canvas.get_figheight()
    for row, line in enumerate(failed, start=1):
        xs = [x for x, group in line.groups if group.estimate is None and x is not None]
        y = 1 + row * FAILURE_ROW_INCHES / (height - 0.5)
        axes.plot(
            xs,
            [y] * len(xs),
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            linestyle="none",
            marker="x",
            color=look(line.variant).colour,
            markeredgewidth=0.9,
        )
    canvas.set_figheight(height + len(failed) * FAILURE_ROW_INCHES)
    return len(failed)


def _handle(line: Line) -> Line2D:
    appearance = look(line.variant)
    marker = appearance.marker if any(x is not None for x, _ in line.groups) else "none"
    return Line2D([], [], color=appearance.colour, marker=marker, linestyle=_dashes(line), label=_plain(line.label))


def _plain(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _extra_handles(lines: Iterable[Line], *, crosses: bool) -> list[Line2D]:
    groups = [group for line in lines for _, group in line.groups]
    handles = []
    if crosses:
        words = dict.fromkeys(group.failure_words for group in groups if group.estimate is None and group.failures)
        handles.append(Line2D([], [], color=NEUTRAL, marker="x", linestyle="none", label=", ".join(words)))
    if not all(group.steady for group in groups):
        label = "warm-up not settled"
        handles.append(
            Line2D([], [], color=NEUTRAL, marker="o", markerfacecolor="white", linestyle="none", label=label)
        )
    return handles


def _legend(canvas: Figure, handles: Sequence[Line2D]) -> None:
    """Below, in as many columns as its longest label leaves room for; the figure grows by it."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(canvas.get_figwidth() / (0.053 * longest + 0.38))))
    canvas.set_figheight(canvas.get_figheight() + LEGEND_ROW_INCHES * (ceil(len(handles) / columns) + 0.6))
    canvas.legend(handles=list(handles), loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=2.4)


def _per_variant(chart: Chart) -> Figure:
    """A row per line: where no number varies there is nothing to draw over."""
    canvas, axes = _canvas(0, 0.55 + 0.17 * len(chart.lines))
    for row, line in enumerate(chart.lines):
        for _, group in line.groups:
            _draw_in_row(axes, look(line.variant), row, group)
    _name_rows(axes, [line.label for line in chart.lines])
    axes.set_xlabel(chart.unit.axis)
    _logarithmic(axes, "x", chart.unit, _drawn_values(chart.lines))
    return canvas


def _draw_in_row(axes: Axes, appearance: Look, row: int, group: Group) -> None:
    if group.estimate is None:
        at_the_right = axes.get_yaxis_transform()
        axes.text(0.98, row, group.failure_words, transform=at_the_right, va="center", ha="right", color=NEUTRAL)
        return
    if interval := group.estimate.interval:
        axes.plot([interval.low, interval.high], [row, row], color=appearance.colour, linewidth=0.8)
    axes.plot([group.estimate.value], [row], color=appearance.colour, marker=appearance.marker, linestyle="none")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(map(_plain, names)))
    axes.set_ylim(len(names) - 0.5, -0.5)


def _learning(chart: Curves) -> Figure:
    canvas, axes = _canvas(len(chart.lines))
    for line in reversed(chart.lines):
        for curve in (curve for _, group in line.groups for curve in group.curves):
            steps = [one.step for one in curve.evaluations]
            bits = [one.bits_per_token for one in curve.evaluations]
            appearance = look(line.variant)
            axes.plot(
                steps,
                bits,
                color=appearance.colour,
                marker=appearance.marker,
                markersize=2.2,
                linewidth=0.7,
                linestyle=_dashes(line),
            )
    axes.set_xlim(left=0)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel(chart.vertical)
    _legend(canvas, [_curve_handle(line) for line in chart.lines])
    return canvas


def _curve_handle(line: Line) -> Line2D:
    appearance = look(line.variant)
    return Line2D(
        [],
        [],
        color=appearance.colour,
        marker=appearance.marker,
        markersize=2.2,
        linewidth=0.7,
        linestyle=_dashes(line),
        label=_plain(line.label),
    )


def _longest(chart: Bars) -> Figure:
    """A bar per search, its length written at its end; where the longest is not known, an open one."""
    canvas, axes = _canvas(0, 0.55 + 0.19 * len(chart.results))
    lengths = [one.finding.fits for one in chart.results if one.finding.fits]
    start = min(lengths) / 2
    for row, one in enumerate(chart.results):
        _draw_bar(axes, row, one, start)
    _name_rows(axes, [one.variant for one in chart.results])
    axes.set_xscale("log", base=2)
    # Room for the number behind the longest bar.
    axes.set_xlim(start, max(lengths) * (max(lengths) / start) ** 0.4)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=4))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}"))
    axes.set_xlabel("longest sequence (tokens, logarithmic)")
    axes.grid(visible=False, axis="y")
    return canvas


def _draw_bar(axes: Axes, row: int, result: SearchResult, start: float) -> None:
    colour, fits = look(result.variant).colour, result.finding.fits
    if fits:
        face = colour if result.exact else "white"
        axes.barh(row, fits - start, left=start, height=0.62, color=face, edgecolor=colour, linewidth=0.8)
    axes.annotate(result.longest, (fits or start, row), (3, 0), textcoords="offset points", va="center", color=NEUTRAL)
