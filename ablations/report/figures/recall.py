"""What LSH attention sees of dense attention: recall against rounds, and how full the fullest bucket is."""

from collections.abc import Iterator
from dataclasses import replace

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from ablations.report import learning
from ablations.report.figures import canvas
from ablations.report.figures.canvas import Figure, LineStyle, gid
from ablations.report.groups import Group
from ablations.report.statistics import of_readings
from ablations.report.style import look
from ablations.report.units import PERCENT, RATIO
from ablations.report.views import KindResults, Series

TITLE = "What LSH attention sees of dense attention"
CAPTION = (
    f"{TITLE}, in trained models; numbers at lines are layers, counted from 0; medians over seeds. "
    "Left: the share of dense attention's weight that lies on keys which a query meets in so many rounds. Right: "
    "positions in the fullest bucket over the mean of all buckets; 1 is an even load."
)


def recall_figures(kind: KindResults, prefix: str) -> tuple[Figure, ...]:
    """One figure for all models whose attention was looked at; none without any.

    Args:
        kind: Of training runs.
        prefix: A slug, unique on the page, that the figure's name begins with.
    """
    kind = replace(kind, groups=tuple(group for group in kind.groups if learning.layers_seen(group)), horizontal=None)
    if not kind.groups:
        return ()
    name, all_series = f"{prefix}-recall", kind.series("learn")
    with canvas.styled(name):
        drawing, (recall, load) = canvas.side_by_side(2, shared=False, inches=2.6)
        for series, group, layer in _layers(kind):
            _draw_recall(recall, series, group, layer, canvas.line_style(series, all_series))
        for series in all_series:
            _draw_load(load, series, canvas.line_style(series, all_series))
        _label(recall, load)
        canvas.legend(drawing, canvas.variant_handles(kind))
        words = " ".join(_in_words(series, group, layer) for series, group, layer in _layers(kind))
        return (canvas.finished(drawing, name, title=TITLE, caption=CAPTION, values=words),)


def _layers(kind: KindResults) -> Iterator[tuple[Series, Group, int]]:
    for series in kind.series("learn"):
        for group in series.groups:
            for layer in learning.layers_seen(group):
                yield series, group, layer


def recall_in(group: Group, layer: int) -> list[float]:
    """The median over seeds after each number of rounds that all seeds have."""
    seen = learning.seen_in(layer, group.curves)
    return [of_readings(values, exact=False).value for values in zip(*(one.recall for one in seen), strict=False)]


def load_of(group: Group, layer: int) -> float:
    """The fullest bucket over the mean, median over seeds."""
    seen = learning.seen_in(layer, group.curves)
    return of_readings([one.largest_bucket for one in seen], exact=False).value


def _draw_recall(axes: Axes, series: Series, group: Group, layer: int, style: LineStyle) -> None:
    colour, shares = look(series.variant).colour, recall_in(group, layer)
    axes.plot(
        range(1, len(shares) + 1),
        shares,
        color=colour,
        marker=look(series.variant).marker,
        markersize=4,
        linestyle=style,
        linewidth=1.1,
        gid=gid("recall", series, layer),
    )
    # Where lines lie apart most.
    axes.annotate(
        str(layer),
        (1, shares[0]),
        (-7, 0),
        textcoords="offset points",
        fontsize=8.5,
        color=colour,
        ha="right",
        va="center",
    )


def _draw_load(axes: Axes, series: Series, style: LineStyle) -> None:
    for group in series.groups:
        layers = learning.layers_seen(group)
        axes.plot(
            layers,
            [load_of(group, layer) for layer in layers],
            color=look(series.variant).colour,
            marker=look(series.variant).marker,
            linestyle=style,
            linewidth=1.1,
            gid=gid("load", series),
        )


def _label(recall: Axes, load: Axes) -> None:
    recall.set_xlabel("hash rounds")
    recall.set_ylabel("share of dense attention's weight")
    recall.set_ylim(0, 1.02)
    recall.margins(x=0.08)
    recall.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    load.set_xlabel("layer")
    load.set_ylabel("fullest bucket over the mean")
    load.set_ylim(bottom=0)
    load.margins(x=0.15)
    recall.xaxis.set_major_locator(FixedLocator([1, 2, 4, 8, 16, 32]))
    load.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    for axes in (recall, load):
        sns.despine(ax=axes)


def _in_words(series: Series, group: Group, layer: int) -> str:
    shares = ", ".join(PERCENT.text(share) for share in recall_in(group, layer))
    return f"{series.label}, layer {layer}: recall {shares}; fullest bucket {RATIO.text(load_of(group, layer))}."
