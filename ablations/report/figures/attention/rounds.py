"""In which round a query first meets dense attention's heaviest keys, and what that leaves of its weight."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ablations.harness.measurement import AttentionPattern
from ablations.report import attention_pattern
from ablations.report.attention_pattern import Mass
from ablations.report.figures import canvas
from ablations.report.figures.attention.drawn import Drawn
from ablations.report.figures.attention.planes import MISSED, REST, round_colours, rounds_and_colours, squares
from ablations.report.figures.canvas import Figure, gid_of
from ablations.report.units import PERCENT, count, listed

TITLE = "Keys met over hash rounds"

Line = tuple[tuple[float, float], tuple[float, float]]
"""From a point to another."""


def rounds_figure(drawn: Drawn, name: str) -> Figure:
    """In which round the heaviest keys of some queries are first met, and what dense attention's weight becomes."""
    pattern = drawn.last
    masses, colours = attention_pattern.masses(pattern), round_colours(len(pattern.buckets))
    with canvas.styled(name):
        drawing, (keys, shares) = canvas.side_by_side(2, shared=False, inches=3.3)
        _draw_keys(keys, pattern, [*colours, MISSED])
        _draw_shares(shares, masses, [*colours, MISSED, REST])
        beyond = _beyond(pattern)
        others = (("never met", MISSED), (beyond, REST))
        canvas.legend(drawing, squares([*rounds_and_colours(colours), *others]))
        caption = (
            f"{TITLE} ({drawn.where}). Left: for some queries the heaviest keys of dense attention with the same "
            "queries and keys, each as high as its weight over the row's largest, in the colour of the round in which "
            f"LSH attention first meets it. Right: that weight added up. The rest lies {beyond}, of which nothing was "
            "noted: where attention is even it can be most, on keys as heavy as those drawn. So what is never met is "
            "at least as much as is shown."
        )
        values = " ".join(_mass_in_words(mass, beyond) for mass in masses)
        return canvas.finished(drawing, name, title=TITLE, caption=caption, values=values)


def _beyond(pattern: AttentionPattern) -> str:
    n_noted = max(len(one.keys) for one in pattern.dense)
    return f"beyond the {count(n_noted, 'heaviest key')}"


def _draw_keys(axes: Axes, pattern: AttentionPattern, colours: Sequence[str]) -> None:
    """A row for each query, a stem for each key; `NEVER` takes the last colour."""
    round_LL = attention_pattern.first_met(pattern)
    stems: list[list[tuple[int, float, float]]] = [[] for _ in colours]
    for row, one in enumerate(pattern.dense):
        for key, weight in zip(one.keys, one.weights, strict=True):
            stems[round_LL[one.query, key]].append((key, row + 0.45, row + 0.45 - 0.85 * weight / max(one.weights)))
        axes.plot([0, one.query], [row + 0.45] * 2, color=REST, linewidth=0.6)
    for number, (found, colour) in enumerate(zip(stems, colours, strict=True)):
        _draw_broken(
            axes, [((x, bottom), (x, top)) for x, bottom, top in found], colour, 1.3, gid_of("keys", str(number))
        )
    axes.set_xlim(-3, pattern.length + 2)
    _label_rows(axes, [one.query for one in pattern.dense])
    axes.set_title("dense attention's heaviest keys")
    axes.set_xlabel("position of the key")


def _draw_shares(axes: Axes, masses: Sequence[Mass], colours: Sequence[str]) -> None:
    """A bar for each query, its row that of the keys, a part for each colour."""
    parts = np.array([(*mass.by_round, mass.missed, mass.rest) for mass in masses])
    ends = parts.cumsum(axis=1)
    for number, colour in enumerate(colours):
        lines = [
            ((end - part, row), (end, row))
            for row, (part, end) in enumerate(zip(parts[:, number], ends[:, number], strict=True))
            if part > 0
        ]
        _draw_broken(axes, lines, colour, 13, gid_of("share", str(number)))
    axes.set_xlim(0, 1.01)
    axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    # Rows stand beside those of the panel before.
    _place_rows(axes, len(masses))
    axes.set_title("where its weight goes")
    axes.set_xlabel("share of dense attention's weight")


def _draw_broken(axes: Axes, lines: Sequence[Line], colour: str, width: float, name: str) -> None:
    """Many short lines as one path: a path for each would make a large file."""
    points = [point for start, end in lines for point in (start, end, (np.nan, np.nan))]
    if points:
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, color=colour, linewidth=width, solid_capstyle="butt", gid=name)


def _mass_in_words(mass: Mass, beyond: str) -> str:
    shares = listed([PERCENT.text(share) for share in mass.by_round])
    return (
        f"Query at {mass.query}: of dense attention's weight first met round by round {shares}; "
        f"never met at least {PERCENT.text(mass.missed)}, {beyond} {PERCENT.text(mass.rest)}."
    )


def _label_rows(axes: Axes, queries: Sequence[int]) -> None:
    _place_rows(axes, len(queries))
    axes.set_yticks(range(len(queries)), list(map(str, queries)))
    axes.set_ylabel("query at position")


def _place_rows(axes: Axes, n_rows: int) -> None:
    axes.set_yticks(range(n_rows), [""] * n_rows)
    axes.set_ylim(n_rows - 0.4, -0.6)
    axes.grid(visible=False)
