"""Time of attention at as many tokens in each step, whatever the length, beside the paper's Figure 5 (right)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.colors as colours
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.report.figures import canvas, scales
from ablations.report.figures.canvas import Figure, LineStyle, gid_of
from ablations.report.groups import Group
from ablations.report.paper_figures import FIGURE_5_LENGTHS, FIGURE_5_SECONDS, FIGURE_5_TOKENS
from ablations.report.statistics import Estimate
from ablations.report.style import look, rank
from ablations.report.units import SECONDS, count, setting
from ablations.report.views import MODE_WORDS, KindResults

PAPERS_BASELINE = "query_chunked"
"""The paper's dense attention, `full` in its figure, takes a query at a time and recomputes."""

PAPERS_MODE = "forward"
"""Its figure is of attention evaluated."""

_NAMES: Mapping[str, str] = {
    "query_chunked": "dense, a chunk of queries at a time (the paper's baseline)",
    "sdpa_math": "dense, materialised",
    "sdpa_flash": "dense, fused (Flash)",
}


@dataclass(frozen=True)
class Line:
    """One line: its name, its look, and its points in order of length."""

    name: str
    colour: str
    marker: str
    points: tuple[tuple[float, Estimate], ...]
    gaps: tuple[str, ...] = ()


def is_constant_tokens(kind: KindResults) -> bool:
    """Whether attention alone is timed at several lengths but one number of tokens, the paper's baseline among it."""
    cells = [group.cell for group in kind.groups]
    tokens, lengths = {cell.batch * cell.length for cell in cells}, {cell.length for cell in cells}
    baseline = any(cell.implementation == PAPERS_BASELINE for cell in cells)
    return (kind.kind, kind.scope) == ("time", "attention") and len(tokens) == 1 < len(lengths) and baseline


def constant_tokens_figures(kind: KindResults, prefix: str) -> tuple[Figure, ...]:
    """A figure for each mode and type of number in which something has a result; the paper's beside the first.

    Args:
        kind: As `is_constant_tokens` asks.
        prefix: A slug, unique on the page, that every figure's name begins with.
    """
    dtypes = dict.fromkeys(group.cell.dtype for group in kind.groups)
    found = [
        (mode, dtype, lines_of(group for group in kind.ordered(mode) if group.cell.dtype == dtype))
        for mode in kind.modes
        for dtype in dtypes
    ]
    return tuple(
        _figure(kind, mode, dtype, lines, f"{prefix}-constant-tokens-{mode}-{dtype}")
        for mode, dtype, lines in found
        if any(line.points for line in lines)
    )


def lines_of(groups: Iterable[Group]) -> list[Line]:
    """Ours by hash rounds, then what it is compared with."""
    found: dict[tuple[str, int], list[Group]] = {}
    for group in groups:
        rounds = group.settings.get("n_hashes", 0)
        found.setdefault((group.variant, int(rounds)), []).append(group)
    return [_line(*key, members) for key, members in sorted(found.items(), key=lambda one: (rank(one[0][0]), one[0]))]


def _line(contender: str, rounds: int, groups: Sequence[Group]) -> Line:
    points = tuple((float(group.cell.length), group.estimate) for group in groups if group.estimate)
    gaps = tuple(f"{group.cell.length} ({group.failure_words})" for group in groups if group.estimate is None)
    if contender == "ours":
        return Line(f"LSH-{rounds}", _shade(rounds), f"${rounds}$", points, gaps)
    return Line(_NAMES.get(contender, contender), look(contender).colour, look(contender).marker, points, gaps)


def _shade(rounds: int) -> str:
    """The colour of ours, the darker the more rounds."""
    part = min(rounds, 16).bit_length() / 5
    pale, dark = (colours.to_rgb(end) for end in ("#F3A56B", "#7A2E00"))
    red, green, blue = (p + (d - p) * part for p, d in zip(pale, dark, strict=True))
    return colours.to_hex((red, green, blue))


def papers_lines() -> list[Line]:
    """Those of Figure 5 (right), in the looks of ours."""
    baseline = look(PAPERS_BASELINE)
    looks = {"full": (baseline.colour, baseline.marker)}
    looks |= {f"LSH-{rounds}": (_shade(rounds), f"${rounds}$") for rounds in (1, 2, 4, 8)}
    return [
        Line(name, *looks[name], tuple(zip(map(float, FIGURE_5_LENGTHS), map(_digitised, seconds), strict=True)))
        for name, seconds in FIGURE_5_SECONDS.items()
    ]


def _digitised(seconds: float) -> Estimate:
    return Estimate(seconds, None, "digitised", 1, 1)


def _figure(kind: KindResults, mode: str, dtype: str, lines: Sequence[Line], name: str) -> Figure:
    panels: dict[str, Sequence[Line]] = {"this machine": lines}
    if mode == PAPERS_MODE:
        panels = {"paper, digitised to 2-3 %": papers_lines(), **panels}
    with canvas.styled(name):
        drawing, axes = canvas.side_by_side(len(panels), shared=False)
        for one, (title, drawn) in zip(axes, panels.items(), strict=True):
            _panel(one, title, drawn, faint=drawn is not lines)
        _same_spans(axes)
        axes[0].set_ylabel("time per step, logarithmic")
        canvas.legend(drawing, [_handle(line) for line in lines if line.points])
        tokens = kind.groups[0].cell.batch * kind.groups[0].cell.length
        title = f"Time of attention at constant tokens, {MODE_WORDS[mode]}, {dtype}"
        caption = _caption(title, lines, tokens, beside=mode == PAPERS_MODE)
        return canvas.finished(drawing, name, title=title, caption=caption, values=_in_words(panels))


def _panel(axes: Axes, title: str, lines: Sequence[Line], *, faint: bool) -> None:
    for line in lines:
        _draw(axes, line, faint=faint)
    values = [estimate.value for line in lines for _, estimate in line.points]
    scales.along_lengths(axes, sorted({length for line in lines for length, _ in line.points}))
    scales.logarithmic([axes], SECONDS, max(values) / min(values))
    axes.set_ylabel("")
    axes.set_title(title, loc="left")
    sns.despine(ax=axes)


def _draw(axes: Axes, line: Line, *, faint: bool) -> None:
    for length, estimate in line.points:
        if interval := estimate.interval:
            axes.plot([length] * 2, [interval.low, interval.high], color=line.colour, linewidth=4, alpha=0.35)
    xs, ys = [length for length, _ in line.points], [estimate.value for _, estimate in line.points]
    digits = line.marker.startswith("$")
    if digits:
        # Room in the line, so that its digits can be read.
        axes.plot(xs, ys, color="white", marker="o", markersize=9, linestyle="none", zorder=2.1)
    axes.plot(
        xs,
        ys,
        color=line.colour,
        marker="" if digits else line.marker,
        linestyle="--" if faint else "-",
        linewidth=1.1 if faint else 1.7,
        alpha=0.75 if faint else 1.0,
        zorder=2.0 if digits else 2.3,
        gid=gid_of("paper" if faint else "line", line.name),
    )
    if digits:
        axes.plot(xs, ys, color=line.colour, marker=line.marker, markersize=6.5, linestyle="none", zorder=2.2)


def _same_spans(panels: Sequence[Axes]) -> None:
    """As many powers in each panel, so that equal slopes look equal."""
    widest = max(axes.get_xlim()[1] / axes.get_xlim()[0] for axes in panels)
    highest = max(axes.get_ylim()[1] / axes.get_ylim()[0] for axes in panels)
    for axes in panels:
        axes.set_xlim(_widened(*axes.get_xlim(), widest))
        axes.set_ylim(_widened(*axes.get_ylim(), highest))


def _widened(low: float, high: float, span: float) -> tuple[float, float]:
    """The same middle, on a logarithmic scale."""
    more = (span / (high / low)) ** 0.5
    return low / more, high * more


def _handle(line: Line) -> Line2D:
    style: LineStyle = "none" if line.marker.startswith("$") else "-"
    return Line2D([], [], color=line.colour, marker=line.marker, linestyle=style, label=line.name)


def _caption(title: str, lines: Sequence[Line], tokens: int, *, beside: bool) -> str:
    sentences = [f"{title}: {count(tokens, 'token')} in each step, whatever the length; digits are hash rounds."]
    if beside:
        sentences.append(
            f"Left, dashed: Figure 5 (right) of the paper, {FIGURE_5_TOKENS:,} tokens on its authors' hardware; its "
            "dense line is that of a chunk of queries at a time. Both panels span as many powers, so slopes compare."
        )
    if lost := [f"{line.name} at {gap}" for line in lines for gap in line.gaps]:
        sentences.append(f"Without a result: {', '.join(lost)}.")
    return " ".join(sentences)


def _in_words(panels: Mapping[str, Sequence[Line]]) -> str:
    return " ".join(
        f"{title}, {line.name}: {', '.join([*map(_value, line.points), *line.gaps])}."
        for title, lines in panels.items()
        for line in lines
    )


def _value(point: tuple[float, Estimate]) -> str:
    return f"{SECONDS.text(point[1].value)} at {setting(point[0])}"
