"""Time, energy, throughput and memory over whatever an experiment varies, one chart for all of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ablations.report.axes import axis_words
from ablations.report.charts.chart import (
    DASHES,
    DASHES_ACROSS,
    Axis,
    Chart,
    Dash,
    Point,
    Trace,
    View,
    estimated,
    id_words,
    spans_decades,
    trace,
    value_words,
)
from ablations.report.comparison import blocks
from ablations.report.groups import Group
from ablations.report.statistics import Estimate, over_processes
from ablations.report.table import CAUTIONS
from ablations.report.units import BYTES, SECONDS, TOKENS_PER_SECOND, Unit, setting
from ablations.report.views import MODE_WORDS, KindResults, Series

JOULES = Unit("energy per step", ((1.0, "J"), (1e-3, "mJ")))
POWERS_OF_TWO = frozenset({"length", "n_hashes", "n_layers", "batch", "chunk_len", "n_buckets"})
"""Settings that are doubled from place to place, so that their places stand evenly on a logarithmic axis."""


@dataclass(frozen=True)
class _Quantity:
    words: str
    unit: Unit
    kind: str

    def of(self, group: Group) -> Estimate | None:
        match self.words:
            case "energy":
                return energy(group)
            case "tokens per second":
                return group.tokens_per_second
        return group.estimate


QUANTITIES = (
    _Quantity("time", SECONDS, "time"),
    _Quantity("memory", BYTES, "memory"),
    _Quantity("tokens per second", TOKENS_PER_SECOND, "time"),
    _Quantity("energy", JOULES, "time"),
)


def scaling_chart(kinds: Sequence[KindResults], name: str) -> Chart | None:
    """A chart of the times and the memory that share a scope; `None` where nothing has a result.

    Args:
        kinds: Of steps, `time`, `memory` or both.
        name: A slug, unique on the page.
    """
    views = tuple(
        view
        for quantity in QUANTITIES
        for kind in kinds
        if kind.kind == quantity.kind
        for dtype, part in _by_type(along_length(kind))
        for mode in part.modes
        if (view := _view(part, quantity, mode, dtype))
    )
    if not views:
        return None
    shown = {view.quantity for view in views}
    named = ", ".join(one.words for one in QUANTITIES if one.words in shown)
    title = f"{named.capitalize()} {_over(along_length(kinds[0]))}"
    words = [
        _in_words(along_length(kind), one)
        for one in QUANTITIES
        for kind in kinds
        if one.words in shown and kind.kind == one.kind
    ]
    return Chart(name, title, " ".join([f"{title}.", *words]), views)


def along_length(kind: KindResults) -> KindResults:
    """Comparisons over length, if it varies: bucket counts follow from it. Any other kind as it is."""
    if not kind.compares or "length" not in kind.independent:
        return kind
    independent = tuple(name for name in kind.independent if name != "n_buckets")
    asides = {id(group) for mode in kind.modes for block in blocks(kind, mode) for group in block.asides}
    groups = tuple(group for group in kind.groups if id(group) not in asides)
    return replace(kind, horizontal="length", independent=independent, groups=groups)


def _by_type(kind: KindResults) -> Iterator[tuple[str, KindResults]]:
    """Comparisons are made within one type of number, which the name of a mode then tells."""
    types = list(dict.fromkeys(group.cell.dtype for group in kind.groups))
    if not kind.compares or len(types) < 2:
        yield "", kind
        return
    for dtype in types:
        groups = tuple(group for group in kind.groups if group.cell.dtype == dtype)
        independent = tuple(name for name in kind.independent if name != "dtype")
        yield f", {dtype}", replace(kind, independent=independent, groups=groups)


def energy(group: Group) -> Estimate | None:
    """Joules of a step by the device's own counter, one reading per process that has one."""
    found = [times.energy for times in group.step_times if times.energy]
    readings = [one.joules / one.steps for one in found]
    return over_processes(readings) if readings and min(readings) > 0 else None


def _over(kind: KindResults) -> str:
    return "per variant" if kind.horizontal is None else f"against {axis_words(kind.horizontal).plain}"


def _view(kind: KindResults, quantity: _Quantity, mode: str, dtype: str) -> View | None:
    all_series = kind.series(mode)
    values = [found.value for one in all_series for group in one.groups if (found := quantity.of(group))]
    if not values:
        return None
    size, unit_name = quantity.unit.scale(max(values))
    places = sorted({x for one in all_series for group in one.groups if (x := one.place(group)) is not None})
    traces = tuple(made for one in all_series for made in _traces(one, all_series, quantity, size=size, places=places))
    title = quantity.unit.axis if quantity.unit is TOKENS_PER_SECOND else f"{quantity.unit.axis} ({unit_name})"
    return View(
        quantity.words,
        MODE_WORDS[mode] + dtype,
        _horizontal_axis(kind, places),
        Axis(title, (), spans_decades(values)),
        traces,
        _remarks(all_series),
    )


def _horizontal_axis(kind: KindResults, places: Sequence[float]) -> Axis:
    if kind.horizontal is None:
        return Axis("", (), None)
    doubled = kind.horizontal in POWERS_OF_TWO and bool(places) and min(places) > 0
    return Axis(axis_words(kind.horizontal).label, tuple(places), doubled)


def _traces(
    series: Series, all_series: Sequence[Series], quantity: _Quantity, *, size: float, places: Sequence[float]
) -> list[Trace]:
    """A line through what has a place, and what has none drawn across; marks alone where no number varies."""
    found = [(group, estimate) for group in series.groups if (estimate := quantity.of(group))]
    if series.horizontal is None:
        marks = [_point(series, *one, quantity, size, series.label) for one in found]
        return [trace(series.variant, series.label, marks, shape="marks")] if marks else []
    placed = [(one, x) for one in found if (x := series.place(one[0])) is not None]
    line = [_point(series, *one, quantity, size, x) for one, x in placed]
    across = [
        _point(series, *one, quantity, size, x) for one in found if series.place(one[0]) is None for x in _ends(places)
    ]
    made = (
        trace(series.variant, series.label, line, dash=_dash(series, all_series, DASHES)),
        trace(
            series.variant,
            f"{series.label}{_without(series)}",
            across,
            dash=_dash(series, all_series, DASHES_ACROSS),
            shape="across",
        ),
    )
    return [one for one in made if one.points]


def _dash(series: Series, all_series: Sequence[Series], dashes: Sequence[Dash]) -> Dash:
    siblings = [one.others for one in all_series if one.variant == series.variant]
    return dashes[siblings.index(series.others) % len(dashes)]


def _without(series: Series) -> str:
    """Of what stands nowhere on the horizontal axis: what it lacks."""
    return f" (no {series.horizontal})" if series.horizontal else ""


def _ends(places: Sequence[float]) -> tuple[float, ...]:
    return tuple(dict.fromkeys((places[0], places[-1]))) if places else ()


def _point(series: Series, group: Group, estimate: Estimate, quantity: _Quantity, size: float, x: float | str) -> Point:
    place = series.place(group)
    where = _without(series) if place is None else f", {series.horizontal}={setting(place)}"
    cautions = [words for applies, words in CAUTIONS.values() if applies(group)]
    words = (f"{series.label}{where}", *value_words(estimate, quantity.unit), *cautions, id_words(_ids(group)))
    return estimated(x, estimate, size, words)


def _ids(group: Group) -> list[str]:
    return [one.cell.id for one in group.attempts if one.record and one.record.measurement]


def _remarks(all_series: Iterable[Series]) -> tuple[str, ...]:
    return tuple(f"{series.label}: {series.gaps}." for series in all_series if series.gaps)


def _in_words(kind: KindResults, quantity: _Quantity) -> str:
    """Every value of one quantity, as text."""
    return " ".join(
        f"{quantity.words}, {series.label}, {MODE_WORDS[mode]}: {_texts(series, quantity)}."
        for mode in kind.modes
        for series in kind.series(mode)
    )


def _texts(series: Series, quantity: _Quantity) -> str:
    texts = []
    for group in series.groups:
        estimate, x = quantity.of(group), series.place(group)
        words = quantity.unit.text(estimate.value) if estimate else group.failure_words
        texts.append(words if x is None else f"{words} at {setting(x)}")
    return ", ".join(texts)
