"""What was learned against steps, seconds and memory."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ablations.harness.measurement import Evaluation, LearningCurve
from ablations.report import learning
from ablations.report.charts.chart import (
    DASHES,
    Axis,
    Chart,
    Dash,
    Point,
    Trace,
    View,
    estimated,
    exact,
    id_words,
    trace,
    value_words,
)
from ablations.report.groups import Attempt, Group
from ablations.report.statistics import Estimate
from ablations.report.units import BYTES, TRAINING_SECONDS, Unit, count
from ablations.report.views import MODE_WORDS, KindResults, Series


def learning_chart(kind: KindResults, name: str) -> Chart | None:
    """Held-out bits against what they cost; `None` where no run was evaluated.

    Args:
        kind: Of training runs.
        name: A slug, unique on the page.
    """
    # As in the figure: what differs in a setting is a line of its own.
    all_series = replace(kind, horizontal=None).series("learn")
    words, unit = learning.bits_words(kind.groups), learning.bits_unit(kind.groups)
    views = (
        _curves(all_series, unit, "against steps", "optimiser steps"),
        _curves(all_series, unit, "against seconds", "seconds of training"),
        _ends(all_series, unit),
    )
    shown = tuple(view for view in views if any(one.points for one in view.traces))
    title = f"Held-out {words} against what they cost"
    ends = " ".join(_in_words(series, unit) for series in all_series)
    return Chart(name, title, f"{title}. After the last step: {ends}", shown) if shown else None


def _curves(all_series: Sequence[Series], unit: Unit, quantity: str, title: str) -> View:
    traces = tuple(
        _curve(series, _dash(series, all_series), attempt, unit, quantity)
        for series in all_series
        for group in series.groups
        for attempt in group.attempts
        if attempt.record and isinstance(attempt.record.measurement, LearningCurve)
    )
    axis = Axis(title, (), False)
    return View(quantity, MODE_WORDS["learn"], axis, Axis(unit.axis, (), False), traces, _remarks(all_series))


def _dash(series: Series, all_series: Iterable[Series]) -> Dash:
    siblings = [one.others for one in all_series if one.variant == series.variant]
    return DASHES[siblings.index(series.others) % len(DASHES)]


def _curve(series: Series, dash: Dash, attempt: Attempt, unit: Unit, quantity: str) -> Trace:
    assert attempt.record is not None  # asked for only where there is one
    assert isinstance(attempt.record.measurement, LearningCurve)
    points = [
        _evaluated(series, attempt, one, unit, along=one.seconds if quantity == "against seconds" else one.step)
        for one in attempt.record.measurement.evaluations
    ]
    return trace(series.variant, series.label, points, dash=dash)


def _evaluated(series: Series, attempt: Attempt, one: Evaluation, unit: Unit, *, along: float) -> Point:
    words = (
        f"{series.label}, seed {attempt.cell.seed}",
        f"{unit.text(one.bits_per_token)} (exactly {exact(one.bits_per_token, unit)})",
        f"after {count(one.step, 'step')}, {TRAINING_SECONDS.text(one.seconds)}; n = 1 seed",
        id_words([attempt.cell.id]),
    )
    return Point(along, one.bits_per_token, None, None, words)


def _ends(all_series: Sequence[Series], unit: Unit) -> View:
    """The last evaluation against the peak of a step, median over seeds."""
    peaks = [peak.value for series in all_series for group in series.groups if (peak := _peak(group))]
    size, unit_name = BYTES.scale(max(peaks, default=1.0))
    traces = tuple(_end(series, unit, size) for series in all_series)
    axis = Axis(f"peak memory of a training step ({unit_name})", (), False)
    return View("against memory", MODE_WORDS["learn"], axis, Axis(unit.axis, (), False), traces, _remarks(all_series))


def _end(series: Series, unit: Unit, size: float) -> Trace:
    points = [
        estimated(
            peak.value / size,
            group.estimate,
            1.0,
            (
                series.label,
                *value_words(group.estimate, unit),
                f"peak {BYTES.text(peak.value)} (exactly {exact(peak.value, BYTES)})",
                id_words([one.cell.id for one in group.attempts if one.status == "ok"]),
            ),
        )
        for group in series.groups
        if group.estimate and (peak := _peak(group))
    ]
    return trace(series.variant, series.label, points, shape="marks")


def _peak(group: Group) -> Estimate | None:
    return learning.over_seeds(group, lambda curve: curve.peak_bytes)


def _remarks(all_series: Iterable[Series]) -> tuple[str, ...]:
    return tuple(
        f"{series.label}, seed {attempt.cell.seed}: {attempt.words}."
        for series in all_series
        for group in series.groups
        for attempt in group.attempts
        if attempt.status != "ok"
    )


def _in_words(series: Series, unit: Unit) -> str:
    ends = [unit.text(group.estimate.value) if group.estimate else group.failure_words for group in series.groups]
    return f"{series.label}: {', '.join(ends)}."
