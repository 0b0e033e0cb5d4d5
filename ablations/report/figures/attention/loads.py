"""How many positions each bucket holds, round by round and layer by layer."""

from collections.abc import Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.harness.measurement import AttentionPattern
from ablations.report import attention_pattern
from ablations.report.figures import canvas
from ablations.report.figures.attention.drawn import Drawn
from ablations.report.figures.attention.planes import round_colours, rounds_and_colours, squares
from ablations.report.figures.canvas import NEUTRAL, Figure, gid_of
from ablations.report.units import RATIO, count, listed

TITLE = "How full buckets are"

MOST_LAYERS = 4
"""Drawn side by side; more would be too narrow to read."""


def loads_figure(drawn: Drawn, name: str) -> Figure:
    """Of each layer, the buckets of each round from the fullest to the emptiest."""
    patterns = drawn.patterns[-MOST_LAYERS:]
    colours = round_colours(max(len(pattern.buckets) for pattern in patterns))
    with canvas.styled(name):
        drawing, panels = canvas.side_by_side(len(patterns), inches=2.4)
        for axes, pattern in zip(panels, patterns, strict=True):
            _draw_loads(axes, pattern, colours)
        panels[0].set_ylabel("positions in the bucket")
        mean = Line2D([], [], color=NEUTRAL, linewidth=1, linestyle="--", label="mean")
        canvas.legend(drawing, [*squares(rounds_and_colours(colours)), mean])
        caption = (
            f"{TITLE} ({drawn.model}; {_layers_in_words(drawn, patterns)}). Buckets of one sequence held out, of "
            "each round from the fullest to the emptiest, in the head whose dense attention is the sharpest of its "
            "layer. The dashed line is the mean, where all would lie if they were equally full."
        )
        values = " ".join(map(_loads_in_words, patterns))
        return canvas.finished(drawing, name, title=TITLE, caption=caption, values=values)


def _layers_in_words(drawn: Drawn, patterns: Sequence[AttentionPattern]) -> str:
    n_layers = count(len(patterns), "layer")
    return f"{n_layers} with LSH attention" if len(patterns) == len(drawn.patterns) else f"the last {n_layers} of them"


def _draw_loads(axes: Axes, pattern: AttentionPattern, colours: Sequence[str]) -> None:
    for number, load_N in enumerate(attention_pattern.loads(pattern)):
        fullest_first = sorted(load_N.tolist(), reverse=True)
        axes.plot(
            range(1, len(fullest_first) + 1),
            fullest_first,
            color=colours[number],
            linewidth=1.3,
            gid=gid_of("load", str(pattern.layer), number),
        )
    axes.axhline(pattern.length / pattern.n_buckets, color=NEUTRAL, linewidth=1, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_title(f"layer {pattern.layer}, head {pattern.head}")
    axes.set_xlabel("buckets, fullest first")
    sns.despine(ax=axes)


def _loads_in_words(pattern: AttentionPattern) -> str:
    load_RN = attention_pattern.loads(pattern)
    fullest = [RATIO.text(float(load_N.max() / load_N.mean())) for load_N in load_RN]
    empty = [f"{int((load_N == 0).sum())}" for load_N in load_RN]
    return (
        f"Layer {pattern.layer}, {count(pattern.n_buckets, 'bucket')}: the fullest over the mean in each round "
        f"{listed(fullest)}; empty buckets {listed(empty)}."
    )
