"""What training runs answer: how far the two sides of a switch end apart, and what else a trained model can do with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ablations.harness.measurement import LearningCurve
from ablations.report import learning
from ablations.report.groups import Group
from ablations.report.learning import Reading
from ablations.report.sentences import Ends, are_alike, ends, first_and_last, sure, undecided
from ablations.report.statistics import Estimate, paired_difference
from ablations.report.units import ACCURACY, BLEU, Unit, count
from ablations.report.views import ExperimentResults, KindResults

SWITCHES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("local_only+lsh_only", ("local_only",)),
    ("reformer", ("dense", "dense_query_chunked", "transformer")),
    ("lsh_only", ("local_only", "dense", "dense_query_chunked")),
    ("reversible_separate_qk", ("transformer",)),
    ("dense", ("dense_separate_qk",)),
    ("reversible_only", ("dense",)),
)
"""A variant, and what it is set against: the first of these that is there."""

POINTS = Unit("accuracy", ((0.01, "percentage points"),), decimals=1)


@dataclass(frozen=True)
class Score:
    """What a task is judged by; a difference of percentages has a unit of its own."""

    reading: Reading
    unit: Unit
    words: str
    difference: Unit


def training_answers(results: ExperimentResults) -> Iterator[str]:
    """Each switch that was turned, then the trained models under other conditions; without a switch, where one ends."""
    for kind in results.kinds:
        if kind.kind == "learn":
            yield from _of_kind(replace(kind, horizontal=None))


def _of_kind(kind: KindResults) -> Iterator[str]:
    found = ends(kind, "learn")
    pairs = _pairs(found)
    yield from _differences(pairs) if pairs else map(_alone, found[:1])
    told = {series.label for pair in pairs for series, _ in pair} or {series.label for series, _ in found[:1]}
    yield from (sentence for one in found if one[0].label in told for sentence in _otherwise(one))


def _pairs(found: Sequence[Ends]) -> list[tuple[Ends, Ends]]:
    """Of known switches, else of two variants, else of two settings of one."""
    switches = [pair for mine, against in SWITCHES for pair in _switch(found, mine, against)]
    variants = list(dict.fromkeys(series.variant for series, _ in found))
    return switches or _switch(found, variants[-1], variants[:-1]) or _settings(found) if found else []


def _switch(found: Sequence[Ends], mine: str, against: Sequence[str]) -> list[tuple[Ends, Ends]]:
    present = {series.variant for series, _ in found}
    base = next((name for name in against if name in present), None)
    ours, theirs = ([one for one in found if one[0].variant == name] for name in (mine, base))
    return first_and_last([(one, other) for one in ours for other in theirs if are_alike(one[0], other[0])])


def _settings(found: Sequence[Ends]) -> list[tuple[Ends, Ends]]:
    """The last setting of a variant against the first one that differs from it in one thing only."""
    last = found[-1]
    others = {*last[0].others}
    first = next(
        (one for one in found if one[0].variant == last[0].variant and len({*one[0].others} - others) == 1), None
    )
    return [(last, first)] if first else []


def _score(*groups: Group) -> Score:
    """BLEU or the share of right predictions where a task has them, else bits."""
    if all(learning.readings(group, learning.bleu) for group in groups):
        return Score(learning.bleu, BLEU, "BLEU", BLEU)
    if all(learning.readings(group, learning.accuracy) for group in groups):
        return Score(learning.accuracy, ACCURACY, "accuracy", POINTS)
    unit = learning.bits_unit(groups)
    return Score(learning.last_bits, unit, _bits_words(groups), unit)


def _bits_words(groups: Sequence[Group]) -> str:
    """Of pictures a byte is a dimension, as questions and literature call it."""
    pictures = all(learning.learn_of(group).task.kind == "images64" for group in groups)
    return "held-out bits per dimension" if pictures else f"held-out {learning.bits_words(groups)}"


def _differences(pairs: Sequence[tuple[Ends, Ends]]) -> Iterator[str]:
    score = _score(*(group for pair in pairs for _, group in pair))
    by_pair = [(pair, _by_seed(score.reading, pair[0][1], pair[1][1])) for pair in pairs]
    told = [_difference(pair, score, readings) for pair, readings in by_pair if readings]
    if told:
        opening = f"{_capital(score.words)} after training, on average over the seeds that trained both"
        yield f"{opening}: {'; '.join(told)}."
    for (mine, other), readings in by_pair:
        if not readings:
            names = f"{mine[0].label} and {other[0].label}"
            yield f"Cannot tell how far {names} differ after training: no seed has trained both."


def _difference(pair: tuple[Ends, Ends], score: Score, readings: Sequence[tuple[float, float]]) -> str:
    (series, _), (other, _) = pair
    level, against = (score.unit.text(fmean(side)) for side in zip(*readings, strict=True))
    change = paired_difference(readings)
    how_sure = f"{sure(change, score.difference, 'seed')}{undecided(change, 0.0)}"
    by = _signed(change, score.difference)
    return f"{series.label} at {level} against {other.label} at {against}, a difference of {by} ({how_sure})"


def _signed(change: Estimate, unit: Unit) -> str:
    nothing, text = unit.text(0.0), unit.text(change.value)
    if text.removeprefix("-") == nothing:
        return nothing
    return f"+{text}" if change.value > 0 else text


def _capital(words: str) -> str:
    """`Held-out bits per byte`, and `BLEU` as it is."""
    return f"{words[:1].upper()}{words[1:]}"


def _by_seed(reading: Reading, *groups: Group) -> list[tuple[float, float]]:
    one, other = (
        {
            attempt.cell.seed: value
            for attempt in group.attempts
            if attempt.record
            and isinstance(attempt.record.measurement, LearningCurve)
            and (value := reading(attempt.record.measurement)) is not None
        }
        for group in groups
    )
    return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def _alone(end: Ends) -> str:
    series, group = end
    score = _score(group)
    estimate = learning.over_seeds(group, score.reading)
    assert estimate is not None  # one of `ends`
    level = score.unit.text(estimate.value)
    return f"{_capital(score.words)} after training: {series.label} at {level} ({sure(estimate, score.unit, 'seed')})."


def _otherwise(end: Ends) -> Iterator[str]:
    """The trained model under each of its conditions, if it has any."""
    series, group = end
    judged = bool(learning.readings(group, learning.accuracy))
    unit = ACCURACY if judged else learning.bits_unit([group])
    words = "accuracy" if judged else _bits_words([group])
    found = {name: values for name in learning.conditions_of([group]) if (values := _under(name, group, judged=judged))}
    if found:
        levels = ", ".join(f"{name} {unit.text(fmean(values))}" for name, values in found.items())
        n = count(min(map(len, found.values())), "seed")
        yield f"Trained as {series.label} and evaluated otherwise, mean {words}: {levels} (n = {n} each)."


def _under(name: str, group: Group, *, judged: bool) -> list[float]:
    found = [one for curve in group.curves if (one := learning.under(name, curve))]
    values = [one.accuracy if judged else one.bits_per_token for one in found]
    return [value for value in values if value is not None]
