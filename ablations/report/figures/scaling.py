"""Time, memory and throughput over whatever the experiment varies."""

import math

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.report.axes import axis_words
from ablations.report.figures import canvas, failures, scales
from ablations.report.figures.canvas import Figure, LineStyle, Quantity, gid
from ablations.report.groups import Group
from ablations.report.statistics import Estimate
from ablations.report.style import look
from ablations.report.views import MODE_WORDS, KindResults, Series


def scaling_figure(kind: KindResults, quantity: Quantity, name: str) -> Figure:
    """A panel per mode, a line per series; at least one group has a result."""
    with canvas.styled(name):
        drawing, panels = canvas.side_by_side(len(kind.modes), extra_inches=_extra_inches(kind))
        for axes, mode in zip(panels, kind.modes, strict=True):
            _panel(axes, kind, mode, quantity)
        scales.scale_y(panels, kind, quantity)
        failures.mark_failures(panels, kind)
        canvas.legend(
            drawing, [*canvas.variant_handles(kind), *failures.status_handles(kind.groups), *_steadiness_handles(kind)]
        )
        title, values = _title(kind, quantity), canvas.values_in_words(kind, quantity)
        return canvas.finished(drawing, name, title=title, caption=_caption(kind, quantity), values=values)


def _extra_inches(kind: KindResults) -> float:
    """Room for the strip of failures, and for the names that stand aslant where no number is on the horizontal axis."""
    return failures.strip_inches(kind) + (1.0 if kind.horizontal is None else 0.0)


def _panel(axes: Axes, kind: KindResults, mode: str, quantity: Quantity) -> None:
    axes.set_title(MODE_WORDS[mode], loc="left")
    all_series = kind.series(mode)
    scales.scale_x(axes, kind.horizontal, all_series)
    # The corners come first in the table and last here, so that what coincides with them does not hide them.
    for index, series in reversed(list(enumerate(all_series))):
        if kind.horizontal is None:
            _draw_alone(axes, series, quantity, float(index))
        else:
            _draw_line(axes, series, quantity, canvas.line_style(series, all_series))
    sns.despine(ax=axes)


def _draw_alone(axes: Axes, series: Series, quantity: Quantity, x: float) -> None:
    for group in series.groups:
        if estimate := quantity.of(group):
            _draw_point(axes, series, group, x, estimate)


def _draw_line(axes: Axes, series: Series, quantity: Quantity, style: LineStyle) -> None:
    """Points and the line through them, broken where something between has no result."""
    xs, ys = [], []
    for group in series.groups:
        estimate, x = quantity.of(group), series.place(group)
        if x is None:
            _draw_reference(axes, series, estimate, style)
            continue
        xs.append(x)
        ys.append(estimate.value if estimate else math.nan)
        if estimate:
            _draw_point(axes, series, group, x, estimate)
    axes.plot(xs, ys, color=look(series.variant).colour, linestyle=style, gid=gid("series", series))


def _draw_point(axes: Axes, series: Series, group: Group, x: float, estimate: Estimate) -> None:
    colour, marker = look(series.variant).colour, look(series.variant).marker
    if interval := estimate.interval:
        axes.plot([x, x], [interval.low, interval.high], color=colour, linewidth=4, alpha=0.35)
    face = colour if group.steady else "white"
    where = gid("point", series, f"{x:g}")
    axes.plot([x], [estimate.value], linestyle="none", marker=marker, color=colour, markerfacecolor=face, gid=where)


def _draw_reference(axes: Axes, series: Series, estimate: Estimate | None, style: LineStyle) -> None:
    """What lacks the setting on the horizontal axis: one value, drawn across."""
    if estimate:
        colour = look(series.variant).colour
        dashes = canvas.REFERENCE_STYLES[canvas.LINE_STYLES.index(style)]
        axes.axhline(estimate.value, color=colour, linestyle=dashes, gid=gid("reference", series))


def _steadiness_handles(kind: KindResults) -> list[Line2D]:
    if all(group.steady for group in kind.groups):
        return []
    label = "warm-up not settled"
    return [Line2D([], [], color=canvas.NEUTRAL, marker="o", markerfacecolor="white", linestyle="none", label=label)]


def _title(kind: KindResults, quantity: Quantity) -> str:
    over = "per variant" if kind.horizontal is None else f"against {axis_words(kind.horizontal).plain}"
    return f"{quantity.unit.axis.capitalize()} {over}"


def _caption(kind: KindResults, quantity: Quantity) -> str:
    sentences = [f"{_title(kind, quantity)}."]
    intervals = [estimate.interval for group in kind.groups if (estimate := quantity.of(group))]
    if any(interval and interval.low < interval.high for interval in intervals):
        sentences.append("Pale bars: the intervals of the table; where they are narrow the markers hide them.")
    if failures.failed(one for mode in kind.modes for one in kind.series(mode)):
        sentences.append("In the strip at the top edge: attempts without a result, each at its place.")
    if any(status in ("missing", "not_run", "unsupported") for g in kind.groups for status, _ in g.failures):
        sentences.append("Cells that are missing, not run or unsupported have no mark; they are listed below.")
    return " ".join(sentences)
