"""What an interactive chart is: views to choose from, each with traces of points that say exactly what they are.

All texts are plain: the page's script escapes them before the plotting library, which reads markup, sees any.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ablations.report.statistics import Estimate
from ablations.report.style import look
from ablations.report.units import Unit, interval_text, n_text, of_any_processor

SHOWN_IDS = 3
"""Of the cells behind a point; how many more there are is told."""

Dash = Literal["solid", "dash", "dashdot", "dot", "longdash", "longdashdot"]
DASHES: tuple[Dash, ...] = ("solid", "dash", "dashdot", "dot")
"""For series of one variant that differ in a further setting, as in the figures."""

DASHES_ACROSS: tuple[Dash, ...] = ("dot", "longdash", "longdashdot")
"""The same for one value drawn across."""

Look = Literal["line", "marks", "bars", "open bars", "across"]
"""Of a trace: points on a line, points alone, bars, bars of what is at least so much, or one value drawn across."""

_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "<": "triangle-left",
    ">": "triangle-right",
    "D": "diamond",
    "d": "diamond-tall",
    "p": "pentagon",
    "*": "star",
    "h": "hexagon",
    "H": "hexagon2",
    "8": "octagon",
    "X": "x",
    "P": "cross",
}
"""Matplotlib's markers in the words of the plotting library."""


@dataclass(frozen=True)
class Point:
    """A point, the bounds of its interval if it has one, and what is said of it, a line each."""

    x: float | str
    y: float
    low: float | None
    high: float | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """Points of one series; those of equal `name` are shown and hidden together."""

    name: str
    colour: str
    symbol: str
    dash: Dash
    look: Look
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Axis:
    """A title, the values that get a tick (empty: wherever they fit), and whether it starts out logarithmic.

    `log` is `None` where no number stands along it.
    """

    title: str
    ticks: tuple[float, ...]
    log: bool | None


@dataclass(frozen=True)
class View:
    """What is seen at once: of one quantity in one mode; `remarks` are of what it does not show."""

    quantity: str
    mode: str
    x: Axis
    y: Axis
    traces: tuple[Trace, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart with at least one view; `label` says what it shows to those who cannot see it."""

    name: str
    title: str
    label: str
    views: tuple[View, ...]

    @property
    def data(self) -> str:
        """The views as JSON, the same bytes each time and on every processor: what is drawn has fewer digits."""
        views = _rounded([asdict(view) for view in self.views])
        return json.dumps(views, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _rounded(content: object) -> object:
    match content:
        case float():
            return of_any_processor(content)
        case Mapping():
            return {name: _rounded(value) for name, value in content.items()}
        case list() | tuple():
            return [_rounded(value) for value in content]
        case _:
            return content


def trace(variant: str, name: str, points: Sequence[Point], *, dash: Dash = "solid", shape: Look = "line") -> Trace:
    """A trace in the look that its variant has everywhere."""
    its = look(variant)
    return Trace(name, its.colour, _SYMBOLS[its.marker], dash, shape, tuple(points))


def estimated(x: float | str, estimate: Estimate, size: float, words: Sequence[str]) -> Point:
    """A point at an estimate, in multiples of `size`."""
    interval = estimate.interval
    low, high = (interval.low / size, interval.high / size) if interval else (None, None)
    return Point(x, estimate.value / size, low, high, tuple(words))


def value_words(estimate: Estimate, unit: Unit) -> tuple[str, str]:
    """The value, short and with every digit, and how sure it is."""
    interval = estimate.interval
    kind = " (95 % interval)" if interval and interval.kind == "95 %" else ""
    return (
        f"{unit.text(estimate.value)} (exactly {exact(estimate.value, unit)})",
        f"{interval_text(estimate, unit)}{kind}; n = {n_text(estimate)}",
    )


def exact(value: float, unit: Unit) -> str:
    """Every digit that tells this number from its neighbours, in ones of its unit: `0.0123456 s`, `12,345 bytes`."""
    digits = f"{int(value):,}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    ones = next((name for size, name in unit.scales if size == 1.0), "")
    return f"{digits} {ones}".rstrip()


def id_words(ids: Sequence[str]) -> str:
    """Which cells are behind a point: the first few, and how many more."""
    more = f" +{len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
    return f"{'cell' if len(ids) == 1 else 'cells'} {' '.join(ids[:SHOWN_IDS])}{more}"


def spans_decades(values: Sequence[float]) -> bool:
    """Whether the largest is at least ten times the smallest, and none has no logarithm."""
    return bool(values) and min(values) > 0 and math.log10(max(values) / min(values)) >= 1
