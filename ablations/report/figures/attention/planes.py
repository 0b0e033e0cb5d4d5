"""Colours of pairs and rounds, and planes of queries and keys in these colours."""

from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.lines import Line2D

UNSEEN, HIDDEN, MISSED, REST = "#ffffff", "#f0f0f0", "#c1272d", "#c4c4c4"
"""Pairs that never meet; that may not; what dense attention would see and is missed; what was not noted."""

SAME, OTHER = "#0072b2", "#f0c050"
"""Pairs that meet, of one bucket and of two."""

EDGE = "#888888"

FEW_TICKS = 4
"""Each is half a kilobyte of the page."""

Plane = npt.NDArray[np.int64]
"""A whole number for each query and key."""


def show(axes: Axes, plane: Plane, colours: Sequence[str], name: str) -> None:
    """Whole numbers as colours: one small picture, where a rectangle for each pair would be a megabyte."""
    # Its own pixels, which the page enlarges without blurring.
    axes.imshow(
        plane, cmap=ListedColormap(list(colours)), vmin=-0.5, vmax=len(colours) - 0.5, interpolation="none"
    ).set_gid(name)


def label(axes: Axes, title: str, of: str) -> None:
    """Say what a plane shows and what its rows and columns are numbers of."""
    axes.set_title(title)
    axes.set_xlabel(f"key, {of}")
    axes.set_ylabel(f"query, {of}")
    axes.locator_params(nbins=FEW_TICKS)
    axes.grid(visible=False)


def round_colours(n_rounds: int) -> list[str]:
    """Dark to light, none of them near white."""
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, n_rounds) if n_rounds > 1 else [0.3])
    return [to_hex(shade) for shade in shades]


def rounds_and_colours(colours: Sequence[str]) -> list[tuple[str, str]]:
    """The legend's words for the colours of rounds."""
    return [(f"round {number}", colour) for number, colour in enumerate(colours, start=1)]


def squares(words: Iterable[tuple[str, str]]) -> list[Line2D]:
    """The legend's entries: a square in each colour beside its words."""
    return [_square(label, colour) for label, colour in words]


def _square(label: str, colour: str) -> Line2D:
    square = Line2D([], [], linestyle="none", marker="s", markersize=9, color=colour, label=label)
    # White ones need an edge.
    square.set_markeredgecolor(EDGE)
    square.set_markeredgewidth(0.6)
    return square
