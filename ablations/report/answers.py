"""What an experiment's results answer, in one sentence with numbers and their interval, or why there is no answer."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ablations.harness.cell import Capacity
from ablations.harness.measurement import Discrepancy
from ablations.report import learning
from ablations.report.axes import axis_words
from ablations.report.charts.scaling import along_length
from ablations.report.comparison import paired
from ablations.report.comparison_tables import ceilings_table
from ablations.report.groups import Group, groups_of
from ablations.report.statistics import CannotTell, Estimate, paired_difference
from ablations.report.style import rank
from ablations.report.units import BYTES, RATIO, Unit, count, interval_text, setting
from ablations.report.views import ExperimentResults, KindResults, Series

OF_INTEREST = ("reformer", "ours", "lsh_only", "reversible_only", "reversible_separate_qk")
"""What an experiment is about: the first of these that it has."""

SET_AGAINST = ("dense", "query_chunked", "transformer", "lsh_only", "huggingface")
"""What that is set against: the first of these that it has, else what comes last in it."""

ACROSS = ("length", "n_layers", None)
"""Axes along which variants are compared at the far end; along any other, the two ends of one variant are."""

MODES = ("training_step", "forward_backward", "forward")
"""Of a step: the first of these that was measured."""

STEPS = {
    "training_step": "a training step",
    "forward_backward": "a forward and backward pass",
    "forward": "a forward pass",
}

TIMES = "{times}"
"""Where the ratio goes in a sentence."""

Ends = tuple[Series, Group]
"""A series and one of its groups, which has a result."""


def answer(results: ExperimentResults) -> str:
    """The sentence: of training, of a step's time or memory, of lengths that fit, or of what was checked."""
    if not any(one.status == "ok" for one in results.attempts):
        return f"Cannot tell: {_why_nothing(results)}."
    ways: tuple[Callable[[ExperimentResults], Iterator[str]], ...] = (_trained, _steps, _searched, _fitted, _checked)
    found = [sentence for way in ways for sentence in way(results)]
    told = [sentence for sentence in found if not sentence.startswith("Cannot tell")]
    return next(iter([*told, *found]), f"Cannot tell: {_why_nothing(results)}.")


def _why_nothing(results: ExperimentResults) -> str:
    words = dict.fromkeys(one.words for one in results.attempts if one.status != "ok")
    if any(one.status == "ok" for one in results.attempts):
        return "no two results differ in one thing only, see the table"
    return f"no cell has a result ({', '.join(words)})" if words else "no cell is planned"


def _trained(results: ExperimentResults) -> Iterator[str]:
    for kind in results.kinds:
        ends = _ends(replace(kind, horizontal=None), "learn") if kind.kind == "learn" else []
        if mine := _first(OF_INTEREST, ends) or next(iter(ends), None):
            others = [one for one in ends if one[0] != mine[0]]
            theirs = _first(SET_AGAINST, others) or next(reversed(others), None)
            yield _difference(mine, theirs) if theirs else _alone(*mine)


def _ends(kind: KindResults, mode: str) -> list[Ends]:
    return [(series, group) for series in kind.series(mode) for group in series.groups if group.estimate]


def _first(names: Iterable[str], ends: Sequence[Ends]) -> Ends | None:
    return next((one for name in names for one in ends if one[0].variant == name), None)


def _alone(series: Series, group: Group) -> str:
    assert group.estimate is not None  # one of `_ends`
    unit = learning.bits_unit([group])
    return f"After training {series.label} is at {_bits(group)} ({_sure(group.estimate, unit, 'seed')})."


def _bits(group: Group) -> str:
    assert group.estimate is not None  # one of `_ends`
    return f"{learning.bits_unit([group]).text(group.estimate.value)} held-out {learning.bits_words([group])}"


def _sure(estimate: Estimate, unit: Unit, one: str) -> str:
    """The interval, and n: `95 % interval 0.31 to 0.44, n = 3 rounds`."""
    words = interval_text(estimate, unit).replace("one process", f"one {one} has no interval")
    named = "95 % interval " if estimate.interval and estimate.interval.kind == "95 %" else ""
    return f"{named}{words}, n = {count(estimate.n_processes, one)}"


def _difference(mine: Ends, theirs: Ends) -> str:
    (series, group), (other, base) = mine, theirs
    pairs = _by_seed(group, base)
    ends = f"after training {series.label} is at {_bits(group)} and {other.label} at {_bits(base)}"
    if not pairs:
        return f"Cannot tell how far they differ: {ends}, but no seed has trained both."
    unit, change = learning.bits_unit([group, base]), paired_difference(pairs)
    sign, sure = "" if change.value < 0 else "+", _sure(change, unit, "seed")
    difference = f"seed by seed {sign}{unit.text(change.value)} ({sure}){_undecided(change, 0.0, 'more')}"
    return f"{ends[0].upper()}{ends[1:]}: {difference}."


def _by_seed(*groups: Group) -> list[tuple[float, float]]:
    one, other = (
        {
            attempt.cell.seed: bits
            for attempt, curve in zip([a for a in group.attempts if a.status == "ok"], group.curves, strict=True)
            if (bits := learning.last_bits(curve)) is not None
        }
        for group in groups
    )
    return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def _steps(results: ExperimentResults) -> Iterator[str]:
    kinds = [along_length(kind) for kind in results.kinds if kind.kind in ("time", "memory")]
    # Reversible layers are about memory: over depth it comes first, elsewhere time does.
    for kind in sorted(kinds, key=lambda kind: (kind.horizontal == "n_layers") == (kind.kind == "time")):
        mode = next((mode for mode in MODES if mode in kind.modes), None)
        if mode:
            yield from _far_end(kind, mode) if kind.horizontal in ACROSS or kind.compares else _both_ends(kind, mode)


def _far_end(kind: KindResults, mode: str) -> Iterator[str]:
    """What is of interest against what it is set against, at the farthest place where both have a result."""
    found = _ends(kind, mode)
    name = next((name for name in OF_INTEREST if _first([name], found)), None)
    mine = [one for one in found if one[0].variant == name]
    pairs = [(one, other) for one in mine for other in found if _is_beside(one, other)]
    if not pairs:
        yield "Cannot tell: no two variants have a result at the same place."
        return
    (series, group), (other, base) = min(pairs, key=lambda pair: (_order(pair[1][0]), -_place(pair[0])))
    where = f"At {_axis(kind)} {setting(_place((series, group)))}, " if kind.horizontal else ""
    yield _ratio(paired(group, base), kind, mode, where, f"{series.label} {_takes(kind)} one of {other.label}")


def _order(series: Series) -> int:
    return SET_AGAINST.index(series.variant) if series.variant in SET_AGAINST else len(SET_AGAINST)


def _place(end: Ends) -> float:
    return end[0].place(end[1]) or 0.0


def _axis(kind: KindResults) -> str:
    return axis_words(kind.horizontal).plain if kind.horizontal else ""


def _is_beside(mine: Ends, other: Ends) -> bool:
    """Whether they are of two variants, and alike in all settings that both vary."""
    ours, theirs = dict(mine[0].others), dict(other[0].others)
    alike = all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())
    same_place = mine[0].place(mine[1]) == other[0].place(other[1])
    return mine[0].variant != other[0].variant and alike and same_place


def _takes(kind: KindResults) -> str:
    return f"takes {TIMES} times as long as" if kind.kind == "time" else f"needs {TIMES} times the peak memory of"


def _both_ends(kind: KindResults, mode: str) -> Iterator[str]:
    """What a variant takes at one end of the axis, against the other end."""
    by_series = groupby(_ends(kind, mode), key=lambda one: one[0])
    ends = [(series, [one for one in found if series.place(one[1]) is not None]) for series, found in by_series]
    # Of several settings of one variant the last comes first: it is the largest.
    told = [(series, found) for series, found in reversed(ends) if series.variant in OF_INTEREST and len(found) > 1]
    for series, found in sorted(told, key=lambda one: OF_INTEREST.index(one[0].variant)):
        first, last = found[0], found[-1]
        words = f"{series.label} {_takes(kind)} one at {setting(_place(first))}"
        where = f"At {_axis(kind)} {setting(_place(last))}, "
        yield _ratio(paired(last[1], first[1]), kind, mode, where, words)


def _ratio(ratio: Estimate | CannotTell, kind: KindResults, mode: str, where: str, words: str) -> str:
    of = STEPS[mode] if kind.scope == "model" else f"{STEPS[mode]} of attention alone"
    opening = f"{where}{of if where else of.capitalize()}"
    if isinstance(ratio, CannotTell):
        return f"Cannot tell how {of} compares: {ratio.reason}."
    value = RATIO.text(ratio.value).removesuffix(" x")
    sure = _sure(ratio, RATIO, "round").replace(" x,", ",")
    return f"{opening} of {words.replace(TIMES, value, 1)} ({sure}){_undecided(ratio, 1.0, 'more')}."


def _undecided(estimate: Estimate, equal: float, more: str) -> str:
    """What to add where the interval holds the value at which both are equal."""
    interval = estimate.interval
    decided = interval is None or interval.kind != "95 %" or not interval.low <= equal <= interval.high
    return "" if decided else f"; whether that is {more} or less cannot be told"


def _searched(results: ExperimentResults) -> Iterator[str]:
    """The longest lengths of two variants within the first budget; between the bracket's ends nothing is known."""
    found = [one for one in results.searches if one.finding.fits and one.budget == results.searches[0].budget]
    by_name = {one.variant: one for one in reversed(found)}
    mine = next((by_name[name] for name in OF_INTEREST if name in by_name), None)
    theirs = next((by_name[name] for name in SET_AGAINST if name in by_name and by_name[name] is not mine), None)
    if found:
        shown = [one for one in (mine, theirs) if one] or found[:1]
        longest = " and ".join(f"{one.longest} tokens with {one.variant} ({one.stopped_by})" for one in shown)
        yield f"Within {found[0].budget} the longest sequence that trains has {longest}; n = 1 search each."


def _fitted(results: ExperimentResults) -> Iterator[str]:
    groups = [group for group in groups_of(results.attempts) if isinstance(group.cell.workload, Capacity)]
    if groups and not results.searches:
        fits = [_size(group) for group in groups if group.measurements]
        fails = [f"{_size(group)} ({group.failure_words})" for group in groups if not group.measurements]
        parts = [f"trains: {'; '.join(fits) or 'nothing'}", *([f"does not: {'; '.join(fails)}"] if fails else [])]
        yield f"Within its budget {', '.join(parts)} (yes or no, n = {count(len(groups[0].attempts), 'run')} each)."


def _size(group: Group) -> str:
    workload = group.cell.workload
    budget = workload.budget_bytes if isinstance(workload, Capacity) else None
    return f"{group.variant}, {group.cell.length:,} tokens" + (f" within {BYTES.text(budget)}" if budget else "")


def _checked(results: ExperimentResults) -> Iterator[str]:
    found = [
        (one.cell.contender, one.record.measurement)
        for one in results.attempts
        if one.record and isinstance(one.record.measurement, Discrepancy)
    ]
    compared = [one.relative_difference for _, one in found if one.n_compared]
    if compared:
        yield (
            f"The relative difference lies between {min(compared):.2g} and {max(compared):.2g} "
            f"(range over n = {count(len(compared), 'run')})."
        )
    elif found:
        numbers = dict(sorted(found, key=lambda one: rank(one[0])))
        counts = "; ".join(f"{name} {one.n_parameters:,}" for name, one in numbers.items())
        yield f"Parameters, counted exactly: {counts} (n = {count(len(found), 'run')})."
    for table in ceilings_table(results.attempts):
        dtype, product, copy, n = table.rows[0].cells
        yield f"In {dtype} this machine multiplies at up to {product} and copies at up to {copy}, n = {n} processes."
