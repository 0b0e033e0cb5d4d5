"""What a page of the history shows: a panel for each series, drawn to the scale of its own values."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablations.history.change_points import LEAST_POINTS, ChangePoint, change_points
from ablations.history.entries import Entry

WIDTH, HEIGHT, MARGIN = 640, 160, 12
"""Of a drawing; the page scales it."""
LEAST_SPAN = 0.02
"""Relative: what scatters by less than this is drawn as what it is, next to nothing."""
DIGITS = 7
"""Of a commit, and significant ones of a value."""


@dataclass(frozen=True)
class Dot:
    """A value.

    Attributes:
        x: From the left.
        y: From above.
        value: As text.
        commit: Shortened, and whether the code differed from it.
        date: Of the entry.
    """

    x: float
    y: float
    value: str
    commit: str
    date: str


@dataclass(frozen=True)
class Step:
    """A change point: where it is drawn, and what it is."""

    x: float
    words: str


@dataclass(frozen=True)
class Panel:
    """A series.

    Attributes:
        name: Of the series.
        dots: Oldest first.
        steps: Where it changes.
        summary: In a sentence.
        low: Smallest value, as text.
        high: Largest value.
    """

    name: str
    dots: tuple[Dot, ...]
    steps: tuple[Step, ...]
    summary: str
    low: str
    high: str

    @property
    def line(self) -> str:
        """Through all dots, as SVG has it."""
        return " ".join(f"{dot.x:g},{dot.y:g}" for dot in self.dots)


def panels(entries: Sequence[Entry]) -> tuple[Panel, ...]:
    """Instructions first, in the order of their cells, then all other series by name."""
    cells = dict.fromkeys(name for entry in entries for name in entry.cells)
    others = sorted({name for entry in entries for name in entry.series})
    counted = [
        _panel(f"{name}: instructions", [(e, e.cells[name]) for e in entries if name in e.cells]) for name in cells
    ]
    return (*counted, *(_panel(name, [(e, e.series[name]) for e in entries if name in e.series]) for name in others))


def _panel(name: str, points: Sequence[tuple[Entry, float]]) -> Panel:
    values = [value for _, value in points]
    xs, ys = _across(len(values)), _heights(values)
    dots = tuple(
        Dot(x, y, _text(value), _short(entry), entry.date) for x, y, (entry, value) in zip(xs, ys, points, strict=True)
    )
    found = change_points(values)
    steps = tuple(Step((xs[at.index - 1] + xs[at.index]) / 2, _words(at, dots[at.index])) for at in found)
    return Panel(name, dots, steps, _summary(dots, steps), _text(min(values)), _text(max(values)))


def _across(count: int) -> list[float]:
    room = WIDTH - 2 * MARGIN
    return [round(MARGIN + room * (at / (count - 1) if count > 1 else 0.5), 2) for at in range(count)]


def _heights(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    middle, span = (low + high) / 2, max(high - low, LEAST_SPAN * high)
    return [round(HEIGHT / 2 - (HEIGHT - 2 * MARGIN) * (value - middle) / span, 2) for value in values]


def _words(found: ChangePoint, dot: Dot) -> str:
    return f"{found.relative:+.2%} at {dot.commit}, {dot.date}"


def _summary(dots: Sequence[Dot], steps: Sequence[Step]) -> str:
    if len(dots) < LEAST_POINTS:
        return f"Values: {len(dots)}; steps are looked for in {LEAST_POINTS} or more."
    return f"Values: {len(dots)}; steps: {'; '.join(step.words for step in steps) or 'none'}."


def _short(entry: Entry) -> str:
    commit = entry.commit[:DIGITS] if entry.commit else "no commit"
    return f"{commit}, modified" if entry.dirty else commit


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{DIGITS}g}"
