"""Table 2 as a grid: models of the duplication task by the attention trained with and the attention evaluated with."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from ablations.report import learning
from ablations.report.figures import canvas
from ablations.report.figures.canvas import Figure
from ablations.report.groups import Group
from ablations.report.paper_figures import TABLE_2, TABLE_2_EVALUATED
from ablations.report.statistics import Floats
from ablations.report.units import setting
from ablations.report.views import KindResults

TITLE = "The duplication task, by attention trained with and evaluated with"
OURS = "this machine"

Grid = Mapping[str, Mapping[str, float]]
"""Accuracy in per cent: of each trained model, under each attention."""


def duplication_figures(kind: KindResults, prefix: str) -> tuple[Figure, ...]:
    """Ours beside the paper's and an earlier replication's; none where no accuracy under any condition is known.

    Args:
        kind: Of training runs, of whatever task.
        prefix: A slug, unique on the page, that the figure's name begins with.
    """
    groups = [group for group in kind.groups if learning.learn_of(group).task.kind == "duplication"]
    ours = {trained_as(kind, group): _accuracies(group) for group in groups}
    if not any(ours.values()):
        return ()
    grids: dict[str, Grid] = {OURS: ours}
    for source, rows in TABLE_2.items():
        grids[source] = {trained: dict(zip(TABLE_2_EVALUATED, values, strict=True)) for trained, values in rows.items()}
    return (_figure(grids, f"{prefix}-duplication"),)


def trained_as(kind: KindResults, group: Group) -> str:
    """The name of a row: `dense`, `lsh_4`, and whatever else tells the models of ours apart."""
    rounds = group.settings.get("n_hashes")
    others = [name for name in kind.independent if name != "n_hashes" and name in group.settings]
    first = group.variant if rounds is None else f"lsh_{setting(rounds)}"
    return ", ".join([first, *(f"{name}={setting(group.settings[name])}" for name in others)])


def _accuracies(group: Group) -> dict[str, float]:
    found = {
        name: learning.over_seeds(group, learning.accuracy_under(name)) for name in learning.conditions_of([group])
    }
    return {name: 100 * estimate.value for name, estimate in found.items() if estimate}


def _figure(grids: Mapping[str, Grid], name: str) -> Figure:
    # In the paper's order, whatever was measured first.
    rows = list(dict.fromkeys(row for grid in (TABLE_2["paper"], *grids.values()) for row in grid))
    columns = list(dict.fromkeys(column for grid in grids.values() for row in grid.values() for column in row))
    with canvas.styled(name):
        drawing, panels = canvas.side_by_side(len(grids), inches=0.6 + 0.5 * len(rows))
        for axes, (source, grid) in zip(panels, grids.items(), strict=True):
            _panel(axes, source, _matrix(grid, rows, columns), rows, columns)
        panels[0].set_ylabel("trained with")
        return canvas.finished(drawing, name, title=TITLE, caption=_caption(grids, rows, columns), values=_words(grids))


def _matrix(grid: Grid, rows: Sequence[str], columns: Sequence[str]) -> Floats:
    return np.array([[grid.get(row, {}).get(column, math.nan) for column in columns] for row in rows])


def _panel(axes: Axes, source: str, values: Floats, rows: Sequence[str], columns: Sequence[str]) -> None:
    texts = np.array([[f"{value:.3g}" for value in row] for row in values])
    sns.heatmap(
        values,
        ax=axes,
        vmin=0,
        vmax=100,
        cmap="cividis",
        cbar=False,
        annot=texts,
        fmt="",
        linewidths=1,
        xticklabels=list(columns),
        yticklabels=list(rows),
        annot_kws={"fontsize": 9},
    )
    axes.set_title(source, loc="left")
    axes.set_xlabel("evaluated with")
    axes.tick_params(axis="y", rotation=0)


def _caption(grids: Mapping[str, Grid], rows: Sequence[str], columns: Sequence[str]) -> str:
    ours = grids[OURS]
    gaps = any(column not in ours.get(row, {}) for row in rows for column in columns)
    return (
        f"{TITLE}: accuracy in per cent, of ours the median over seeds. Beside it the paper's Table 2, and an earlier "
        f"replication.{' Blank: not measured.' if gaps else ''}"
    )


def _words(grids: Mapping[str, Grid]) -> str:
    return " ".join(
        f"{source}, trained with {row}: {', '.join(f'{value:.3g} % with {name}' for name, value in found.items())}."
        for source, grid in grids.items()
        for row, found in grid.items()
        if found
    )
