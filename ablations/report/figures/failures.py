"""Attempts that failed: marks in a strip at the top edge, each at the place where its result would stand."""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from ablations.report.figures.canvas import DATA_INCHES, NEUTRAL, gid
from ablations.report.figures.scales import places
from ablations.report.groups import Group
from ablations.report.style import STATUS_WORDS, look
from ablations.report.views import KindResults, Series

STATUS_MARKERS: Mapping[str, str] = {"oom": "x", "killed": "+", "timeout": "1", "error": "2"}
"""Line markers, so that they look like no variant's."""

ROW_INCHES = 0.19
"""Height of a line of marks."""


def failed(series: Iterable[Series]) -> list[Series]:
    """Those with at least one attempt that failed."""
    return [one for one in series if any(_failures(group) for group in one.groups)]


def _failures(group: Group) -> list[str]:
    return [status for status, _ in group.failures if status in STATUS_MARKERS]


def strip_inches(kind: KindResults) -> float:
    """Height of the strip: a line per series that failed in any mode, nothing without one."""
    rows = len(_failed_labels(kind))
    return ROW_INCHES * rows + 0.06 if rows else 0.0


def _failed_labels(kind: KindResults) -> list[str]:
    return list(dict.fromkeys(one.label for mode in kind.modes for one in failed(kind.series(mode))))


def mark_failures(panels: Sequence[Axes], kind: KindResults) -> None:
    """Make room above the data and fill it, one line per series that failed anywhere, the same in all panels."""
    labels = _failed_labels(kind)
    if not labels:
        return
    inches = strip_inches(kind) + DATA_INCHES
    limit = _make_room(panels[0], strip_inches(kind) / inches)
    for axes, mode in zip(panels, kind.modes, strict=True):
        _draw_strip(axes, limit)
        all_series = kind.series(mode)
        for index, series in enumerate(all_series):
            if series.label in labels:
                y = 1 - ROW_INCHES / inches * (labels.index(series.label) + 0.65)
                _mark(axes, series, places(all_series) or [float(index)], y)


def _make_room(axes: Axes, height: float) -> float:
    """Raise the top so far that `height` of the axes lies above what was the top, which is returned."""
    bottom, top = axes.get_ylim()
    warp, unwarp = (math.log, math.exp) if axes.get_yscale() == "log" else (float, float)
    axes.set_ylim(bottom, unwarp(warp(bottom) + (warp(top) - warp(bottom)) / (1 - height)))
    return top


def _draw_strip(axes: Axes, limit: float) -> None:
    """A pale band over the grid; no tick in it, since height in it means nothing."""
    bottom, top = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in axes.get_yticks() if bottom <= tick <= limit]))
    axes.axhspan(limit, top, color="#f1f1f1", zorder=0.6, linewidth=0)


def _mark(axes: Axes, series: Series, ticks: Sequence[float], y: float) -> None:
    for group in series.groups:
        place = series.place(group)
        # What lacks the setting on the horizontal axis has no place of its own: its mark stands in the middle.
        x = ticks[len(ticks) // 2] if place is None else place
        for status in _failures(group):
            axes.plot(
                [x],
                [y],
                transform=axes.get_xaxis_transform(),
                color=look(series.variant).colour,
                marker=STATUS_MARKERS[status],
                markersize=7,
                markeredgewidth=2,
                gid=gid(status, series, f"{x:g}"),
            )


def status_handles(groups: Iterable[Group]) -> list[Line2D]:
    """The legend's entries for statuses that occur."""
    present = {status for group in groups for status, _ in group.failures}
    return [
        Line2D([], [], color=NEUTRAL, marker=marker, markeredgewidth=2, linestyle="none", label=STATUS_WORDS[status])
        for status, marker in STATUS_MARKERS.items()
        if status in present
    ]
