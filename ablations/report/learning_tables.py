"""Tables of training runs: where they ended, what the trained models do under other conditions, what attention saw."""

from collections.abc import Sequence

from ablations.harness.measurement import AttentionSeen, Evaluation, LearningCurve
from ablations.report import learning
from ablations.report.groups import Group
from ablations.report.learning import Reading
from ablations.report.statistics import Estimate, of_readings
from ablations.report.table import NOTHING, Column, Row, Table, leading_cells, leading_columns, results_table
from ablations.report.units import (
    ACCURACY,
    BLEU,
    BYTES,
    PERCENT,
    RATIO,
    TOKENS_PER_SECOND,
    TRAINING_SECONDS,
    Unit,
    count,
    interval_text,
    listed,
    setting,
    with_range,
)
from ablations.report.views import KindResults

RANGE_NOTE = "Median over seeds; a range is from the smallest to the largest seed, no confidence interval."

PARAMETERS = Unit("parameters", ((1.0, ""),), decimals=0)

_EXTRAS: tuple[tuple[str, Reading, Unit], ...] = (
    ("accuracy", learning.accuracy, ACCURACY),
    ("BLEU", learning.bleu, BLEU),
    ("peak", lambda curve: curve.peak_bytes, BYTES),
    ("parameters", lambda curve: curve.n_parameters, PARAMETERS),
)
"""Columns that stand only where some run has a number for them."""


def learning_tables(kind: KindResults) -> tuple[Table, ...]:
    """Where runs ended; then conditions and attention, where any run was asked for them."""
    return (_ends_table(kind), *_conditions_tables(kind), *_attention_tables(kind))


def _ends_table(kind: KindResults) -> Table:
    groups, words = kind.ordered("learn"), learning.bits_words(kind.groups)
    extras = [extra for extra in _EXTRAS if any(learning.readings(group, extra[1]) for group in groups)]

    def results(group: Group) -> tuple[str, ...]:
        return (*_learned(group), *(_extra(group, reading, unit) for _, reading, unit in extras))

    return results_table(
        kind,
        "learn",
        caption=f"Held-out {words} after the last step",
        titles=(words, "interval", "n", "steps", "training time", "tokens/s", *(title for title, *_ in extras)),
        results=results,
        notes=lambda: [*_notes(groups), *_extra_notes(groups, [title for title, *_ in extras])],
    )


def _learned(group: Group) -> tuple[str, ...]:
    assert group.estimate is not None  # rows of results are asked only of groups that have one
    estimate, ends, unit = group.estimate, _ends(group), learning.bits_unit([group])
    rates = [curve.tokens_per_step * end.step / end.seconds for curve, end in ends if end.seconds > 0]
    if learning.has_uneven_batches(group):
        rates = []
    return (
        unit.text(estimate.value),
        _interval(estimate, unit),
        count(estimate.n_processes, "seed"),
        listed(sorted({end.step for _, end in ends})),
        with_range([end.seconds for _, end in ends], TRAINING_SECONDS),
        with_range(rates, TOKENS_PER_SECOND).replace(" tokens/s", "") if rates else NOTHING,
    )


def _interval(estimate: Estimate, unit: Unit) -> str:
    return interval_text(estimate, unit).replace("one process", "one seed")


def _ends(group: Group) -> list[tuple[LearningCurve, Evaluation]]:
    return [(curve, end) for curve in group.curves if (end := learning.last(curve))]


def _extra(group: Group, reading: Reading, unit: Unit) -> str:
    found = learning.readings(group, reading)
    return with_range(found, unit) if found else NOTHING


def _notes(groups: Sequence[Group]) -> list[str]:
    splits = sorted({curve.split for group in groups for curve in group.curves})
    sizes = sorted({end.n_tokens for group in groups for _, end in _ends(group)})
    what = learning.bits_words(groups).removeprefix("bits per ").capitalize()
    held_out = [f"{what}s scored per evaluation: {', '.join(map(setting, sizes))}."] if sizes else []
    images = any(learning.learn_of(group).task.kind == "images64" for group in groups)
    return [
        f"{RANGE_NOTE} These are short runs: they compare variants, and their rates, at this budget of steps and say "
        "nothing of the end of training. Training time and tokens/s leave evaluation out; in brackets ranges over "
        "seeds.",
        *(["A byte of an image is one of its dimensions: these are bits per dimension."] if images else []),
        *(f"Split: {split}" for split in splits),
        *held_out,
    ]


def _extra_notes(groups: Sequence[Group], titles: Sequence[str]) -> list[str]:
    curves = [curve for group in groups for curve in group.curves]
    notes = []
    if "peak" in titles:
        notes.append(
            "Peak: most bytes of tensors alive at once in a step after the last, parameters, gradients and the "
            "optimiser's state among them."
        )
    signatures = {one.translations.signature: None for one in curves if one.translations}
    notes += [f"BLEU of the test part, by sacrebleu: {signature}." for signature in signatures]
    notes += [f"Ended early: {rule}." for rule in dict.fromkeys(one.stopped for one in curves if one.stopped)]
    if resumed := sum(bool(one.resumed_after) for one in curves):
        notes.append(f"Interrupted and taken up again from a checkpoint: {count(resumed, 'run')}.")
    return notes


def _conditions_tables(kind: KindResults) -> tuple[Table, ...]:
    groups = [group for group in kind.ordered("learn") if any(curve.conditions for curve in group.curves)]
    if not groups:
        return ()
    words = learning.bits_words(groups)
    judged = any(one.accuracy is not None for group in groups for curve in group.curves for one in curve.conditions)
    titles = (words, "interval", "more than as trained", *(["accuracy"] * judged), "n")
    rows = tuple(
        Row((*leading_cells(kind, group), name, *results), ok=results[-1] != NOTHING)
        for group in groups
        for name in learning.conditions_of([group])
        for results in [_condition_cells(group, name, judged=judged)]
    )
    note = (
        f"The trained model, its weights as they are, evaluated in another way. {RANGE_NOTE} More than as trained: the "
        "difference from the last evaluation of the same seed."
    )
    columns = (*leading_columns(kind), Column("evaluated as", numeric=False), *map(Column, titles))
    return (Table("The trained models under other conditions", columns, rows, (note,)),)


def _condition_cells(group: Group, name: str, *, judged: bool) -> tuple[str, ...]:
    """Bits, their interval, how many more than as trained, if need be the accuracy, and n."""
    unit, found = learning.bits_unit([group]), [(c, one) for c in group.curves if (one := learning.under(name, c))]
    if not found:
        return ("no result", *[NOTHING] * (4 if judged else 3))
    bits = of_readings([one.bits_per_token for _, one in found], exact=False)
    changes = [one.bits_per_token - end for curve, one in found if (end := learning.last_bits(curve)) is not None]
    accuracies = [one.accuracy for _, one in found if one.accuracy is not None]
    return (
        unit.text(bits.value),
        _interval(bits, unit),
        with_range(changes, unit) if changes else NOTHING,
        *([with_range(accuracies, ACCURACY) if accuracies else NOTHING] if judged else []),
        count(len(found), "seed"),
    )


def _attention_tables(kind: KindResults) -> tuple[Table, ...]:
    groups = [group for group in kind.ordered("learn") if learning.layers_seen(group)]
    if not groups:
        return ()
    most = max(len(seen.recall) for group in groups for curve in group.curves for seen in curve.attention)
    rounds = sorted({most, *(2**power for power in range(most.bit_length()))})
    rows = tuple(_layer_row(kind, group, layer, rounds) for group in groups for layer in learning.layers_seen(group))
    recalls = [f"recall, {count(number, 'round')}" for number in rounds]
    titles = ("layer", *recalls, "fullest bucket", "empty buckets", "n")
    note = (
        f"{RANGE_NOTE} Recall: share of the weight of dense attention, with the same queries and keys, that lies on "
        "keys which a query meets in so many rounds. Fullest bucket: its positions over the mean of all buckets. "
        "Layers are counted from 0."
    )
    return (
        Table(
            "What LSH attention sees of dense attention", (*leading_columns(kind), *map(Column, titles)), rows, (note,)
        ),
    )


def _layer_row(kind: KindResults, group: Group, layer: int, rounds: Sequence[int]) -> Row:
    seen = learning.seen_in(layer, group.curves)
    recalls = (_recall_after(number, seen) for number in rounds)
    fullest = with_range([one.largest_bucket for one in seen], RATIO)
    empty = with_range([one.empty_buckets for one in seen], PERCENT)
    return Row((*leading_cells(kind, group), str(layer), *recalls, fullest, empty, count(len(seen), "seed")))


def _recall_after(number: int, seen: Sequence[AttentionSeen]) -> str:
    found = [one.recall[number - 1] for one in seen if len(one.recall) >= number]
    return with_range(found, PERCENT) if found else NOTHING
