"""The few sentences at the top: what the numbers say, with n and interval, or why they say nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablations.report.groups import Group
from ablations.report.learning import bits_unit, bits_words
from ablations.report.lines import Fit, ratio, slope
from ablations.report.statistics import CannotTell, Estimate
from ablations.report.units import BYTES, EXPONENT, PERCENT, Unit, count, interval_text, listed, n_text
from ablations.report.views import ExperimentResults, KindResults, Series

MODE = "forward_backward"
"""Headlines are about training steps."""

DEPTH_CRITERION = 0.05
"""The paper's "memory independent of depth" as a number: what a reversible layer may add, of an ordinary layer's."""

EXPONENT_VARIANTS = ("dense", "lsh_only", "reformer")
DEPTH_PAIRS = (("reversible_only", "dense"), ("reformer", "lsh_only"))


@dataclass(frozen=True)
class Headline:
    """A question in a few words, and the sentences that answer it."""

    title: str
    sentences: tuple[str, ...]


def headlines(experiments: Sequence[ExperimentResults]) -> tuple[Headline, ...]:
    """Time and memory against length, memory against depth, and held-out bits per byte."""
    time, memory = _over(experiments, "time", "length"), _over(experiments, "memory", "length")
    depth = _over(experiments, "memory", "n_layers")
    learning = [(one.planned.title, kind) for one in experiments if (kind := one.kind("learn"))]
    return (
        Headline("Time of a training step against sequence length", _exponents("time", time)),
        Headline("Peak memory of a training step against sequence length", _exponents("memory", memory)),
        Headline("Peak memory of a training step against depth", _depths(depth)),
        Headline(_bits_title(learning), _learned(learning)),
    )


def _over(experiments: Iterable[ExperimentResults], kind: str, axis: str) -> list[KindResults]:
    found = [results for one in experiments if (results := one.kind(kind))]
    return [results for results in found if results.horizontal == axis and MODE in results.modes]


def _not_measured(what: str) -> tuple[str, ...]:
    return (f"Not measured here: the plan has no experiment that {what}.",)


def _exponents(quantity: str, found: Sequence[KindResults]) -> tuple[str, ...]:
    if not found:
        return _not_measured(f"takes the {quantity} of a forward and backward pass at several lengths")
    return tuple(
        _exponent(quantity, series)
        for kind in found
        for series in kind.series(MODE)
        if series.variant in EXPONENT_VARIANTS
    ) or _not_measured(f"varies the length of {', '.join(EXPONENT_VARIANTS)}")


def _exponent(quantity: str, series: Series) -> str:
    fit = series.fit()
    name = series.label.replace("dense", "dense (materialised)", 1)
    if not any(group.estimate for group in series.groups):
        return f"{name}: not measured here; {series.gaps}."
    if isinstance(fit, CannotTell):
        return f"{name}: cannot tell, {fit.reason}; {series.support}."
    value = EXPONENT.text(fit.slope.value)
    return f"{name}: {quantity} grows as length^{value}, {_sure(fit.slope, EXPONENT)}; lengths {series.support}."


def _sure(estimate: Estimate, unit: Unit) -> str:
    interval = interval_text(estimate, unit)
    if estimate.interval is None:
        return f"no interval ({interval}), n = {n_text(estimate)}"
    named = f"95 % interval {interval}" if estimate.interval.kind == "95 %" else interval
    return f"{named}, n = {n_text(estimate)}"


def _depths(found: Sequence[KindResults]) -> tuple[str, ...]:
    if not found:
        return _not_measured("takes the peak memory of a forward and backward pass at several depths")
    return tuple(_depth(kind.series(MODE), *pair) for kind in found for pair in DEPTH_PAIRS)


def _depth(all_series: Sequence[Series], reversible: str, other: str) -> str:
    """Both slopes over the depths at which both have a result, and their ratio."""
    pair = [_only(all_series, name) for name in (reversible, other)]
    unanswered = [one.reason for one in pair if isinstance(one, CannotTell)]
    mine, theirs = (_common_slope(one, pair) for one in pair)
    if isinstance(mine, CannotTell) or isinstance(theirs, CannotTell):
        reasons = unanswered or [mine.reason if isinstance(mine, CannotTell) else "no slope"]
        return f"{reversible} against {other}: cannot tell, {'; '.join(reasons)}."
    share = ratio(mine, theirs)
    slopes = f"{BYTES.text(mine.slope.value)} per layer against {BYTES.text(theirs.slope.value)} of {other}"
    if isinstance(share, CannotTell):
        return f"{reversible} adds {slopes}: cannot tell which share that is, {share.reason}."
    return (
        f"{reversible} adds {slopes}: {PERCENT.text(share.value)} ({_sure(share, PERCENT)}; "
        f"n_layers {listed(mine.xs)}). The paper says 0; {_verdict(share)}."
    )


def _only(all_series: Sequence[Series], variant: str) -> Series | CannotTell:
    found = [series for series in all_series if series.variant == variant]
    if len(found) != 1:
        return CannotTell(
            f"{variant} is planned in several settings, see the table" if found else f"no {variant} planned"
        )
    return found[0]


def _common_slope(series: Series | CannotTell, pair: Sequence[Series | CannotTell]) -> Fit | CannotTell:
    """The slope over the places that all of the pair have: slopes over different depths are no pair."""
    if isinstance(series, CannotTell):
        return series
    places = [{x for x, _ in one.points} for one in pair if isinstance(one, Series)]
    return slope([(x, y) for x, y in series.points if x in set.intersection(*places)])


def _verdict(share: Estimate) -> str:
    limit = f"the project's criterion of at most {100 * DEPTH_CRITERION:.0f} %"
    if share.interval is None:
        met = "met" if share.value <= DEPTH_CRITERION else "missed"
        return f"{limit} is {met} by this value, which has no interval"
    if share.interval.high <= DEPTH_CRITERION:
        return f"{limit} is met"
    return f"{limit} is missed" if share.interval.low > DEPTH_CRITERION else f"whether {limit} is met cannot be told"


def _bits_title(found: Sequence[tuple[str, KindResults]]) -> str:
    words = dict.fromkeys(bits_words(kind.groups) for _, kind in found)
    return f"Held-out {' or '.join(words) or 'bits per byte'}"


def _learned(found: Sequence[tuple[str, KindResults]]) -> tuple[str, ...]:
    """A sentence per model; of several experiments each says which."""
    if not found:
        return _not_measured("trains a model")
    return tuple(
        f"{title}: {sentence}" if len(found) > 1 else sentence
        for title, kind in found
        for series in kind.series("learn")
        for sentence in (_result(series, group) for group in series.groups)
    )


def _result(series: Series, group: Group) -> str:
    x = series.place(group)
    where = series.label if x is None else f"{series.label}, {series.horizontal}={x:g}"
    if group.estimate is None:
        reasons = "; ".join(dict.fromkeys(attempt.reason for attempt in group.attempts))
        return f"{where}: not measured here, {group.failure_words} ({reasons})."
    seeds, unit = count(group.estimate.n_processes, "seed"), bits_unit([group])
    steps = max(curve.evaluations[-1].step for curve in group.curves if curve.evaluations)
    interval = interval_text(group.estimate, unit).replace("one process", "one seed has no range")
    return f"{where}: {unit.text(group.estimate.value)} after {count(steps, 'step')} ({interval}; n = {seeds})."
