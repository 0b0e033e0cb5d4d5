"""Axes of the figures: straight or logarithmic, with ticks that carry their units."""

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ablations.report.axes import axis_words
from ablations.report.figures.canvas import Quantity
from ablations.report.units import BYTES, TOKENS_PER_SECOND, Unit
from ablations.report.views import KindResults, Series

MOST_TICKS = 8
"""Labels of the horizontal axis that fit side by side."""

FLATTENING = 50
"""Largest over smallest value above which a straight axis would flatten most of what is shown."""

MEMORY_FLATTENING = 8
"""The same of a narrow panel's horizontal axis of memory."""


def scale_x(axes: Axes, horizontal: str | None, all_series: Sequence[Series]) -> None:
    """Ticks where the measurements are; one place per series if no number varies."""
    if horizontal is None:
        axes.set_xticks(range(len(all_series)), [one.label for one in all_series], rotation=30, ha="right")
        axes.set_xlim(-0.5, len(all_series) - 0.5)
        return
    if horizontal == "length":
        axes.set_xscale("log", base=2)
    _ticks(axes, horizontal, places(all_series))


def along_lengths(axes: Axes, lengths: Sequence[float]) -> None:
    """Ticks at these lengths."""
    axes.set_xscale("log", base=2)
    _ticks(axes, "length", lengths)


def memory_along_x(axes: Axes, values: Sequence[float]) -> None:
    """Bytes from left to right: logarithmic where they lie far apart; straight from zero otherwise."""
    axes.set_xlabel("peak memory")
    low, high = min(values), max(values)
    if high > MEMORY_FLATTENING * low > 0:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, BYTES)))
        axes.set_xlim(_with_margin(low, high, logarithmic=True))
        return
    size, name = BYTES.scale(high)
    axes.set_xlim(0, 1.12 * high)
    ticks = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, 1.12 * high / size)
    axes.xaxis.set_major_locator(FixedLocator([float(tick) * size for tick in ticks if tick * size <= 1.12 * high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / size:,g}"))
    axes.set_xlabel(f"peak memory ({name})")


def _ticks(axes: Axes, horizontal: str, ticks: Sequence[float]) -> None:
    axes.set_xlabel(axis_words(horizontal).label)
    axes.xaxis.set_major_locator(FixedLocator(_thinned(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.10g}"))
    axes.set_xlim(_with_margin(ticks[0], ticks[-1], logarithmic=horizontal == "length"))


def places(all_series: Iterable[Series]) -> list[float]:
    """Every place on the horizontal axis where something was planned."""
    return sorted({float(x) for one in all_series for group in one.groups if (x := one.place(group)) is not None})


def _thinned(ticks: Sequence[float]) -> Sequence[float]:
    """Every second or third, the largest always among them, so that labels do not touch."""
    return ticks[:: -math.ceil(len(ticks) / MOST_TICKS)][::-1]


def _with_margin(low: float, high: float, *, logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        factor = max(1.1, (high / low) ** 0.07)
        return (low / factor, high * factor)
    margin = 0.07 * (high - low) or 0.5
    return (low - margin, high + margin)


def scale_y(panels: Sequence[Axes], kind: KindResults, quantity: Quantity) -> None:
    """Logarithmic over length and where values lie far apart; straight from zero otherwise, to read slopes off."""
    values = [estimate.value for group in kind.groups if (estimate := quantity.of(group))]
    if min(values) > 0 and (kind.horizontal == "length" or max(values) > FLATTENING * min(values)):
        logarithmic(panels, quantity.unit, max(values) / min(values))
    else:
        _straight(panels, quantity.unit, max(values))


def logarithmic(panels: Sequence[Axes], unit: Unit, spread: float) -> None:
    """A logarithmic axis whose ticks carry their units, for values that lie a factor of `spread` apart."""
    for axes in panels:
        if unit is BYTES:
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_locator(LogLocator(base=2, numticks=9))
        else:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0,) if spread > 1000 else (1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y, unit)))
    panels[0].set_ylabel(f"{unit.axis}, logarithmic")


def _tick(value: float, unit: Unit) -> str:
    size, name = unit.scale(value)
    return f"{value / size:,.6g}" + ("" if unit is TOKENS_PER_SECOND else f" {name}")


def _straight(panels: Sequence[Axes], unit: Unit, largest: float) -> None:
    size, name = unit.scale(largest)
    for axes in panels:
        axes.set_ylim(bottom=0)
        # Ticks are chosen in the unit shown, so that they are round numbers of it.
        ticks = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, axes.get_ylim()[1] / size)
        axes.yaxis.set_major_locator(FixedLocator([float(tick) * size for tick in ticks]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y / size:,g}"))
    panels[0].set_ylabel(f"{unit.axis} ({name})")
