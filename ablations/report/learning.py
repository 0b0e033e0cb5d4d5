"""Training runs as a report reads them: what their bits are of, and estimates over seeds of all that they give."""

from collections.abc import Callable, Iterable, Sequence

from ablations.harness.measurement import AttentionSeen, ConditionResult, Evaluation, LearningCurve
from ablations.harness.training import Learn
from ablations.report.groups import Group
from ablations.report.statistics import Estimate, of_readings
from ablations.report.units import BITS_PER_BYTE, BITS_PER_TOKEN, Unit

BYTE_TASKS = frozenset({"enwik8", "images64"})
"""Whose tokens are bytes; of an image each byte is one dimension."""

Reading = Callable[[LearningCurve], float | None]
"""One number of a run; `None` where it has none."""


def learn_of(group: Group) -> Learn:
    """The workload of a group that trains."""
    workload = group.cell.workload
    assert isinstance(workload, Learn), f"{workload.kind} trains nothing"
    return workload


def has_uneven_batches(group: Group) -> bool:
    """Whether steps differ in tokens, as where a batch holds sentences: then no rate follows from the last one."""
    return learn_of(group).task.kind == "multi30k"


def bits_unit(groups: Iterable[Group]) -> Unit:
    """Bits per byte where all tokens are bytes, else bits per token."""
    tasks = {learn_of(group).task.kind for group in groups}
    return BITS_PER_BYTE if tasks <= BYTE_TASKS else BITS_PER_TOKEN


def bits_words(groups: Iterable[Group]) -> str:
    """The same in words: `bits per byte`."""
    return bits_unit(groups).axis.removeprefix("held-out ")


def over_seeds(group: Group, reading: Reading) -> Estimate | None:
    """The median over seeds with their range; `None` where no seed has the number."""
    values = readings(group, reading)
    return of_readings(values, exact=False) if values else None


def readings(group: Group, reading: Reading) -> list[float]:
    """The number of each seed that has it."""
    return [value for curve in group.curves if (value := reading(curve)) is not None]


def last(curve: LearningCurve) -> Evaluation | None:
    """The evaluation after the last step."""
    return curve.evaluations[-1] if curve.evaluations else None


def last_bits(curve: LearningCurve) -> float | None:
    """Held-out bits after the last step."""
    end = last(curve)
    return end.bits_per_token if end else None


def accuracy(curve: LearningCurve) -> float | None:
    """Share of right predictions after the last step."""
    end = last(curve)
    return end.accuracy if end else None


def bleu(curve: LearningCurve) -> float | None:
    """Of the translations, from 0 to 100."""
    return curve.translations.bleu if curve.translations else None


def under(condition: str, curve: LearningCurve) -> ConditionResult | None:
    """What the trained model did under a condition."""
    return next((one for one in curve.conditions if one.condition == condition), None)


def accuracy_under(condition: str) -> Reading:
    """Share of right predictions under a condition."""

    def reading(curve: LearningCurve) -> float | None:
        found = under(condition, curve)
        return found.accuracy if found else None

    return reading


def conditions_of(groups: Iterable[Group]) -> tuple[str, ...]:
    """Names of all conditions, in the order in which workloads name them."""
    return tuple(dict.fromkeys(one.name for group in groups for one in learn_of(group).conditions))


def layers_seen(group: Group) -> tuple[int, ...]:
    """Layers whose attention was looked at."""
    return tuple(sorted({seen.layer for curve in group.curves for seen in curve.attention}))


def seen_in(layer: int, curves: Sequence[LearningCurve]) -> tuple[AttentionSeen, ...]:
    """What each run saw in one layer."""
    return tuple(seen for curve in curves for seen in curve.attention if seen.layer == layer)
