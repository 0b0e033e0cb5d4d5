"""Contenders over length, one panel for each block's further setting, with the floor drawn in."""

from collections.abc import Mapping, Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.harness.work import Ceiling
from ablations.report.comparison import Block, blocks
from ablations.report.comparison_tables import SCOPE_WORDS
from ablations.report.figures import canvas, scales
from ablations.report.figures.canvas import Figure
from ablations.report.floor import floor_seconds
from ablations.report.groups import Group
from ablations.report.style import look, rank
from ablations.report.svg import slug
from ablations.report.units import BYTES, SECONDS, Unit, setting
from ablations.report.views import MODE_WORDS, KindResults

Lines = Mapping[str, Sequence[Group]]
"""Groups of each contender along the lengths."""

FLOOR_COLOUR = "#888888"


def comparison_figures(kind: KindResults, prefix: str, ceiling: Ceiling | None) -> tuple[Figure, ...]:
    """A figure for each mode and type of number in which something has a result."""
    dtypes = dict.fromkeys(group.cell.dtype for group in kind.groups)
    found = [(mode, dtype, _panels(kind, mode, dtype)) for mode in kind.modes for dtype in dtypes]
    return tuple(
        _figure(kind, mode, dtype, panels, ceiling, f"{prefix}-{kind.scope}-{kind.kind}-{slug(mode)}-{dtype}")
        for mode, dtype, panels in found
        if any(group.estimate for lines in panels.values() for groups in lines.values() for group in groups)
    )


def _panels(kind: KindResults, mode: str, dtype: str) -> dict[str, Lines]:
    """Lines by what tells panels apart: hash rounds, and our backend where there are several."""
    panels: dict[str, dict[str, list[Group]]] = {}
    for block in blocks(kind, mode):
        for group in block.groups:
            if group.cell.dtype == dtype:
                panels.setdefault(_panel_title(kind, block), {}).setdefault(group.variant, []).append(group)
    return {title: panels[title] for title in sorted(panels)}


def _panel_title(kind: KindResults, block: Block) -> str:
    names = [name for name in ("n_hashes", "backend", "n_layers", "batch") if name in kind.independent]
    if "length" in kind.independent and "batch" in names:
        # On a GPU long sequences come in small batches: one line all the same.
        names.remove("batch")
    found = block.base.settings if block.base else {}
    return ", ".join(f"{name}={setting(found[name])}" for name in names if name in found) or MODE_WORDS[_mode(block)]


def _mode(block: Block) -> str:
    return block.groups[0].mode


def _figure(
    kind: KindResults, mode: str, dtype: str, panels: Mapping[str, Lines], ceiling: Ceiling | None, name: str
) -> Figure:
    unit = SECONDS if kind.kind == "time" else BYTES
    with canvas.styled(name):
        drawing, axes = canvas.side_by_side(len(panels))
        for one, (title, lines) in zip(axes, panels.items(), strict=True):
            one.set_title(title, loc="left")
            _draw(one, lines, ceiling if kind.kind == "time" else None)
        groups = [group for lines in panels.values() for found in lines.values() for group in found]
        _scale(axes, groups, unit)
        handles = [_handle(contender) for contender in sorted(_drawn(groups), key=rank)]
        with_floor = kind.kind == "time" and ceiling is not None and dtype in ceiling.flops_per_second
        canvas.legend(drawing, [*handles, *([_floor_handle(kind)] if with_floor else [])])
        what = f"{unit.axis.capitalize()}, {MODE_WORDS[mode]}, {SCOPE_WORDS[kind.scope]}, {dtype}"
        caption = f"{what}, against sequence length. {_caption(groups, with_floor=with_floor)}".strip()
        return canvas.finished(drawing, name, title=what, caption=caption, values=_in_words(panels, unit))


def _draw(axes: Axes, lines: Lines, ceiling: Ceiling | None) -> None:
    for contender, groups in sorted(lines.items(), key=lambda line: rank(line[0]), reverse=True):
        found = [(group.cell.length, group.estimate) for group in groups if group.estimate]
        colour, marker = look(contender).colour, look(contender).marker
        for x, estimate in found:
            if interval := estimate.interval:
                axes.plot([x, x], [interval.low, interval.high], color=colour, linewidth=4, alpha=0.35)
        ys = [estimate.value for _, estimate in found]
        axes.plot([x for x, _ in found], ys, color=colour, marker=marker, gid=f"series-{slug(contender)}")
        if _is_ours(groups):
            _draw_floor(axes, groups, ceiling)
    sns.despine(ax=axes)


def _draw_floor(axes: Axes, groups: Sequence[Group], ceiling: Ceiling | None) -> None:
    floors = [(group.cell.length, floor) for group in groups if (floor := floor_seconds(group, ceiling)) is not None]
    marker = "_" if len(floors) == 1 else ""
    xs, ys = [x for x, _ in floors], [y for _, y in floors]
    axes.plot(xs, ys, color=FLOOR_COLOUR, linestyle="--", marker=marker, markersize=16, gid="floor")


def _is_ours(groups: Sequence[Group]) -> bool:
    return groups[0].variant in ("ours", "reformer")


def _drawn(groups: Sequence[Group]) -> set[str]:
    return {group.variant for group in groups if group.estimate}


def _scale(axes: Sequence[Axes], groups: Sequence[Group], unit: Unit) -> None:
    lengths = sorted({float(group.cell.length) for group in groups})
    values = [group.estimate.value for group in groups if group.estimate]
    for one in axes:
        scales.along_lengths(one, lengths)
    scales.logarithmic(axes, unit, max(values) / min(values))


def _handle(contender: str) -> Line2D:
    return Line2D([], [], color=look(contender).colour, marker=look(contender).marker, label=contender)


def _floor_handle(kind: KindResults) -> Line2D:
    label = f"floor of {'ours' if kind.scope == 'attention' else 'reformer'}"
    return Line2D([], [], color=FLOOR_COLOUR, linestyle="--", label=label)


def _caption(groups: Sequence[Group], *, with_floor: bool) -> str:
    sentences = []
    if with_floor:
        sentences.append("Dashed: the least that the work of ours can take on this machine.")
    if lost := {f"{g.variant} at {g.cell.length} ({g.failure_words})": None for g in groups if g.estimate is None}:
        sentences.append(f"Without a result: {', '.join(lost)}.")
    return " ".join(sentences)


def _in_words(panels: Mapping[str, Lines], unit: Unit) -> str:
    return " ".join(
        f"{title}, {contender}: {', '.join(_value(group, unit) for group in groups)}."
        for title, lines in panels.items()
        for contender, groups in lines.items()
    )


def _value(group: Group, unit: Unit) -> str:
    words = unit.text(group.estimate.value) if group.estimate else group.failure_words
    return f"{words} at {group.cell.length}"
