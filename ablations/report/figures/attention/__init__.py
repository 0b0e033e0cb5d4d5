"""Attention of a trained model drawn: who meets whom in sorted chunks and over rounds, and how full buckets are."""

from collections.abc import Iterator
from dataclasses import replace

from ablations.harness.measurement import LearningCurve
from ablations.report.figures.attention.drawn import Drawn
from ablations.report.figures.attention.pixels import with_palettes
from ablations.report.figures.attention.rounds import rounds_figure
from ablations.report.figures.attention.sorted_chunks import sorted_figure
from ablations.report.figures.canvas import Figure
from ablations.report.views import KindResults

__all__ = ["attention_figures"]


def attention_figures(kind: KindResults, prefix: str) -> tuple[Figure, ...]:
    """Two figures of one trained model; none where no pattern was noted.

    Args:
        kind: Of training runs.
        prefix: A slug, unique on the page, that every figure's name begins with.
    """
    # Those with the most rounds; of several the first.
    drawn = max(_candidates(kind), key=lambda one: len(one.last.buckets), default=None)
    if drawn is None:
        return ()
    found = (sorted_figure(drawn, f"{prefix}-sorted"), rounds_figure(drawn, f"{prefix}-met"))
    return tuple(replace(one, svg=with_palettes(one.svg)) for one in found)


def _candidates(kind: KindResults) -> Iterator[Drawn]:
    """Of each setting the first seed that has patterns."""
    for series in replace(kind, horizontal=None).series("learn"):
        for group in series.groups:
            for attempt in group.attempts:
                curve = attempt.record.measurement if attempt.record else None
                if isinstance(curve, LearningCurve) and curve.patterns:
                    yield Drawn(f"{series.label}, seed {attempt.cell.seed}", attempt.cell.length, curve.patterns)
                    break
