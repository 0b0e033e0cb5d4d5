"""What was learned against what it cost: steps, seconds, and memory."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.harness.measurement import LearningCurve
from ablations.report import learning
from ablations.report.figures import canvas, scales
from ablations.report.figures.canvas import Figure, LineStyle, Quantity, gid
from ablations.report.groups import Group
from ablations.report.statistics import Estimate
from ablations.report.style import look
from ablations.report.units import setting
from ablations.report.views import KindResults, Series


def learning_figure(kind: KindResults, name: str) -> Figure:
    """Held-out bits against steps and seconds of training, and the last of them against peak memory where it is known.

    Args:
        kind: Of training runs, at least one of which has a result.
        name: Of the figure.
    """
    # No number is on the horizontal axis: what differs in a setting is a line of its own.
    kind = replace(kind, horizontal=None)
    all_series, words = kind.series("learn"), learning.bits_words(kind.groups)
    with_memory = any(peak_of(group) for group in kind.groups)
    with canvas.styled(name):
        drawing, panels = canvas.side_by_side(3 if with_memory else 2, shared=False)
        for series in all_series:
            style = canvas.line_style(series, all_series)
            for number, curve in enumerate(curve for group in series.groups for curve in group.curves):
                _draw_curve(panels, series, curve, number, style)
        _label(panels, words)
        if with_memory:
            _draw_memory(panels[2], all_series)
        canvas.legend(drawing, [*canvas.variant_handles(kind), *_lost_handles(all_series)])
        return canvas.finished(
            drawing,
            name,
            title=f"Held-out {words} against what they cost",
            caption=_caption(words, with_memory=with_memory),
            values=canvas.values_in_words(kind, Quantity("learning", learning.bits_unit(kind.groups), _last_bits)),
        )


def _last_bits(group: Group) -> Estimate | None:
    return group.estimate


def peak_of(group: Group) -> Estimate | None:
    """Peak memory of a training step, median over seeds."""
    return learning.over_seeds(group, lambda curve: curve.peak_bytes)


def _draw_curve(panels: Sequence[Axes], series: Series, curve: LearningCurve, number: int, style: LineStyle) -> None:
    bits = [one.bits_per_token for one in curve.evaluations]
    for axes, what, xs in (
        (panels[0], "step", [one.step for one in curve.evaluations]),
        (panels[1], "second", [one.seconds for one in curve.evaluations]),
    ):
        axes.plot(
            xs,
            bits,
            color=look(series.variant).colour,
            marker=look(series.variant).marker,
            markersize=3.5,
            linewidth=0.9,
            linestyle=style,
            gid=gid("curve", series, f"{what}-{number}"),
        )


def _label(panels: Sequence[Axes], words: str) -> None:
    against_steps, against_seconds = panels[:2]
    against_steps.set_xlabel("optimiser steps")
    against_steps.set_title("while training", loc="left")
    against_steps.set_ylabel(f"held-out {words}")
    against_seconds.set_xlabel("seconds of training")
    against_seconds.sharey(against_steps)
    against_seconds.tick_params(labelleft=False)
    for axes in (against_steps, against_seconds):
        axes.set_xlim(left=0)
        sns.despine(ax=axes)


def _draw_memory(axes: Axes, all_series: Sequence[Series]) -> None:
    """One mark per model; its place in height is its own, since the ends of training lie close together."""
    peaks = []
    for series in all_series:
        for group in series.groups:
            bits, peak = group.estimate, peak_of(group)
            if bits and peak:
                _mark(axes, series, bits, peak)
                peaks.append(peak.value)
    scales.memory_along_x(axes, peaks)
    axes.set_title("after the last step (own scale)", loc="left")
    axes.margins(y=0.12)
    sns.despine(ax=axes)


def _mark(axes: Axes, series: Series, bits: Estimate, peak: Estimate) -> None:
    colour, marker = look(series.variant).colour, look(series.variant).marker
    if interval := bits.interval:
        axes.plot([peak.value] * 2, [interval.low, interval.high], color=colour, linewidth=0.9)
    axes.plot(
        [peak.value], [bits.value], linestyle="none", color=colour, marker=marker, gid=gid("end", series), zorder=3
    )
    if series.others:
        words = ", ".join(setting(value) for _, value in series.others)
        axes.annotate(words, (peak.value, bits.value), (5, 3), textcoords="offset points", fontsize=8, color=colour)


def _caption(words: str, *, with_memory: bool) -> str:
    first = f"Held-out {words}, one thin line per seed: left against optimiser steps, then against seconds of training."
    if not with_memory:
        return first
    return (
        f"{first} Right, on a scale of its own: after the last step, against the peak memory of a training step; "
        "median over seeds, and a thin line over their range. Further down is learned better, further left is cheaper."
    )


def _lost_handles(all_series: Iterable[Series]) -> list[Line2D]:
    """Runs without a curve have no place in these axes; the legend names them instead."""
    return [
        Line2D([], [], linestyle="none", label=f"{series.label}, seed {attempt.cell.seed}: {words}")
        for series in all_series
        for group in series.groups
        for attempt in group.attempts
        if (words := attempt.words) != "ok"
    ]
