"""Learning curves: one thin line per seed, the variant's colour."""

from collections.abc import Iterable, Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.harness.measurement import LearningCurve
from ablations.report.figures import canvas
from ablations.report.figures.canvas import Figure, LineStyle, Quantity, gid
from ablations.report.style import look
from ablations.report.units import BITS_PER_BYTE
from ablations.report.views import KindResults, Series

LEARNED = Quantity("learning", BITS_PER_BYTE, lambda group: group.estimate)


def learning_figure(kind: KindResults, name: str) -> Figure:
    """Held-out bits per byte against steps, and against seconds of training; at least one run has a result."""
    with canvas.styled(name):
        drawing, panels = canvas.side_by_side(2)
        all_series = kind.series("learn")
        for series in all_series:
            curves = [curve for group in series.groups for curve in group.curves]
            for number, curve in enumerate(curves):
                _draw(panels, series, curve, number, canvas.line_style(series, all_series))
        _label(panels)
        canvas.legend(drawing, [*canvas.variant_handles(kind), *_lost_handles(all_series)])
        title, values = "Held-out bits per byte while training", canvas.values_in_words(kind, LEARNED)
        caption = f"{title}: one thin line per seed; left against optimiser steps, right against seconds of training."
        return canvas.finished(drawing, name, title=title, caption=caption, values=values)


def _draw(panels: Sequence[Axes], series: Series, curve: LearningCurve, number: int, style: LineStyle) -> None:
    against_steps, against_seconds = panels
    bits = [one.bits_per_byte for one in curve.evaluations]
    _draw_one(against_steps, series, [one.step for one in curve.evaluations], bits, f"step-{number}", style)
    _draw_one(against_seconds, series, [one.seconds for one in curve.evaluations], bits, f"second-{number}", style)


def _draw_one(
    axes: Axes, series: Series, xs: Sequence[float], ys: Sequence[float], where: str, style: LineStyle
) -> None:
    colour, marker = look(series.variant).colour, look(series.variant).marker
    axes.plot(
        xs,
        ys,
        color=colour,
        marker=marker,
        markersize=3.5,
        linewidth=0.9,
        linestyle=style,
        gid=gid("curve", series, where),
    )


def _label(panels: Sequence[Axes]) -> None:
    against_steps, against_seconds = panels
    against_steps.set_xlabel("optimiser steps")
    against_steps.set_ylabel("held-out bits per byte")
    against_seconds.set_xlabel("seconds of training")
    for axes in panels:
        axes.set_xlim(left=0)
        sns.despine(ax=axes)


def _lost_handles(all_series: Iterable[Series]) -> list[Line2D]:
    """Runs without a curve have no place in these axes; the legend names them instead."""
    return [
        Line2D([], [], linestyle="none", label=f"{series.label}, seed {attempt.cell.seed}: {words}")
        for series in all_series
        for group in series.groups
        for attempt in group.attempts
        if (words := attempt.words) != "ok"
    ]
