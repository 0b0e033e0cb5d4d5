"""The table of crossovers: from which length on LSH attention takes less than dense attention, if it can be told."""

from collections.abc import Iterator

from ablations.report.comparison import paired
from ablations.report.crossover import Crossover, Never, crossover
from ablations.report.statistics import Estimate
from ablations.report.table import N_TITLE, NOTHING, Column, Row, Table
from ablations.report.units import LENGTH, interval_text, listed, n_cell
from ablations.report.views import MODE_WORDS, KindResults, Series

BASE = "dense"
COMPARED = ("lsh_only", "reformer")

_WHAT = {"time": "time per step", "memory": "peak memory"}
_NEVER = {"below": "less", "above": "more"}


def crossover_tables(kind: KindResults) -> tuple[Table, ...]:
    """One table where the length varies and both sides are planned, none otherwise."""
    if kind.horizontal != "length" or kind.kind not in _WHAT:
        return ()
    rows = tuple(_row(base, other) for mode in kind.modes for base, other in _pairs(kind.series(mode)))
    columns = (
        Column("mode", numeric=False),
        Column("variant", numeric=False),
        Column(f"less than {BASE} beyond length", numeric=False),
        Column("interval"),
        Column(N_TITLE),
        Column("compared at length", numeric=False),
    )
    return (Table(f"Crossover of {_WHAT[kind.kind]}", columns, rows, (_note(kind.kind),)),) if rows else ()


def _pairs(all_series: tuple[Series, ...]) -> Iterator[tuple[Series, Series]]:
    """Each that is compared beside each base that agrees in the settings that both have."""
    for other in all_series:
        for base in all_series:
            settings = dict(base.others)
            agree = all(settings.get(name, value) == value for name, value in other.others)
            if agree and (base.variant, other.variant in COMPARED) == (BASE, True):
                yield base, other


def ratios(base: Series, other: Series) -> list[tuple[float, Estimate]]:
    """Length and ratio of the other to the base, at the lengths that both were measured at in one round at least."""
    bases = {base.place(group): group for group in base.groups}
    found = [(x, paired(group, bases[x])) for group in other.groups if (x := other.place(group)) in bases]
    return [(x, ratio) for x, ratio in found if x is not None and isinstance(ratio, Estimate)]


def _row(base: Series, other: Series) -> Row:
    points = ratios(base, other)
    found = crossover(points)
    leading, where = (MODE_WORDS[other.mode], other.label), listed([x for x, _ in points]) or NOTHING
    if isinstance(found, Estimate):
        return Row((*leading, LENGTH.text(found.value), interval_text(found, LENGTH), n_cell(found), where))
    return Row((*leading, _words(found), NOTHING, NOTHING, where), ok=isinstance(found, Never))


def _words(found: Crossover) -> str:
    assert not isinstance(found, Estimate), "written as a number"
    if isinstance(found, Never):
        return f"not within the measured lengths: {_NEVER[found.side]} at all of them"
    return f"cannot tell: {found.reason}"


def _note(quantity: str) -> str:
    how = (
        "The ratio to dense is taken within each round and interpolated between lengths, both as logarithms. Interval: "
        "all lengths at which it is within its noise of one, 95 %, by the spread of rounds, pooled over lengths."
        if quantity == "time"
        else "The ratio to dense is interpolated between lengths, both as logarithms. Exact counts have no noise: the "
        "range is the two neighbouring lengths that were measured."
    )
    return f"{how} Lengths at which one of the two has no result are left out."
