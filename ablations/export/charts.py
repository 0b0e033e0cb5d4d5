"""What the figures for papers show: lines of groups, of one experiment, kind of workload and mode each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ablations.report import learning
from ablations.report.axes import axis_words
from ablations.report.capacity import SearchResult, by_budget
from ablations.report.comparison import blocks
from ablations.report.groups import Group
from ablations.report.style import rank
from ablations.report.svg import slug
from ablations.report.units import BYTES, SECONDS, Unit, setting
from ablations.report.views import MODE_WORDS, ExperimentResults, KindResults, Series

MOST_SERIES = 10
"""Of a comparison in one figure; more are spread over one for each setting of ours."""

_WITHIN_ONE = frozenset({"length", "batch", "n_buckets", "seconds", "min_samples"})
"""Settings that may differ along a line of a comparison."""


@dataclass(frozen=True)
class Line:
    """Groups of one contender, each with its place on the horizontal axis; `None` of what lacks that setting.

    Attributes:
        label: For the legend.
        variant: Which colour and marker follow from.
        rank: Among the lines of the same variant, from 0: which dashes follow from.
        groups: In order of their places.
    """

    label: str
    variant: str
    rank: int
    groups: tuple[tuple[float | None, Group], ...]


@dataclass(frozen=True)
class Chart:
    """Lines over one axis.

    Attributes:
        name: A slug, unique in its experiment.
        caption: What is shown, in a sentence.
        horizontal: Name of the axis; `None` if no number varies.
        unit: Of what is measured.
        lines: At least one of which has a result.
    """

    name: str
    caption: str
    horizontal: str | None
    unit: Unit
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Curves:
    """Held-out bits against optimiser steps: a line per seed.

    Attributes:
        name: See `Chart`.
        caption: See `Chart`.
        vertical: What the vertical axis says.
        lines: See `Chart`.
    """

    name: str
    caption: str
    vertical: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Bars:
    """The longest sequence of each variant within one memory budget."""

    name: str
    caption: str
    results: tuple[SearchResult, ...]


def charts(results: ExperimentResults) -> tuple[Chart | Curves | Bars, ...]:
    """Everything of an experiment that has a result."""
    found = [chart for kind in results.kinds for mode in kind.modes for chart in _charts(kind, mode)]
    return (*(one for one in found if _has_result(one.lines)), *_bars(results.searches))


def _has_result(lines: Iterable[Line]) -> bool:
    return any(group.estimate for line in lines for _, group in line.groups)


def _charts(kind: KindResults, mode: str) -> Iterable[Chart | Curves]:
    if kind.kind == "learn":
        return [_curves(kind)]
    series = kind.series(mode)
    if kind.compares and len(series) > MOST_SERIES:
        return [
            _chart(kind, mode, "length", lines, where) for where, lines in sorted(_side_by_side(kind, mode).items())
        ]
    return [_chart(kind, mode, kind.horizontal, _lines(series))]


def _chart(kind: KindResults, mode: str, horizontal: str | None, lines: tuple[Line, ...], where: str = "") -> Chart:
    unit = SECONDS if kind.kind == "time" else BYTES
    scope = "attention" if kind.scope == "attention" else ""
    over = f"against {axis_words(horizontal).plain}" if horizontal else "per variant"
    of = [MODE_WORDS[mode], "attention alone" if scope else "", where]
    sentences = [
        f"{unit.axis.capitalize()} {over}: {', '.join(filter(None, of))}.",
        "Bars are the intervals of the tables.",
        *([f"A line without marks lacks {horizontal}."] if horizontal and _lacks_a_place(lines) else []),
    ]
    name = "-".join(filter(None, (kind.kind, mode, scope, slug(where) if where else "")))
    return Chart(name, " ".join(sentences), horizontal, unit, lines)


def _lacks_a_place(lines: Iterable[Line]) -> bool:
    return any(place is None for line in lines for place, _ in line.groups)


def _lines(series: Iterable[Series]) -> tuple[Line, ...]:
    ranks: dict[str, int] = {}
    lines = []
    for one in series:
        ranks[one.variant] = ranks.get(one.variant, -1) + 1
        places = tuple((one.place(group), group) for group in one.groups)
        lines.append(Line(one.label, one.variant, ranks[one.variant], places))
    return tuple(lines)


def _side_by_side(kind: KindResults, mode: str) -> Mapping[str, tuple[Line, ...]]:
    """Lines over length, by the settings of ours that others are compared with."""
    found: dict[str, dict[str, dict[str, Group]]] = {}
    for block in blocks(kind, mode):
        for group in block.groups:
            lines = found.setdefault(_where(kind, block.base), {})
            lines.setdefault(group.variant, {})[group.cell.id] = group
    return {where: _over_length(lines) for where, lines in found.items()}


def _where(kind: KindResults, base: Group | None) -> str:
    settings = base.settings if base else {}
    names = [name for name in kind.independent if name in settings and name not in _WITHIN_ONE]
    return ", ".join(f"{name}={setting(settings[name])}" for name in names)


def _over_length(lines: Mapping[str, Mapping[str, Group]]) -> tuple[Line, ...]:
    return tuple(Line(variant, variant, 0, _by_length(lines[variant].values())) for variant in sorted(lines, key=rank))


def _by_length(groups: Iterable[Group]) -> tuple[tuple[float, Group], ...]:
    return tuple((group.cell.length, group) for group in sorted(groups, key=lambda group: group.cell.length))


def _curves(kind: KindResults) -> Curves:
    # No number is on the horizontal axis but steps: what differs in a setting is a line of its own.
    lines = _lines(replace(kind, horizontal=None).series("learn"))
    words = f"held-out {learning.bits_words(kind.groups)}"
    return Curves("learning", f"{words.capitalize()} against optimiser steps; one line per seed.", words, lines)


def _bars(searches: Sequence[SearchResult]) -> Iterable[Bars]:
    """A figure per budget; none as long as no length is known to fit."""
    for number, (budget, found) in enumerate(by_budget(searches), start=1):
        if any(one.finding.fits for one in found):
            ordered = tuple(sorted(found, key=lambda one: rank(one.variant)))
            yield Bars(f"longest-{number}", f"Longest sequence that trains; memory budget: {budget}.", ordered)
