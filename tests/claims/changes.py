"""What would have to be different on a machine for a claim not to hold there, or for a dispute to hold."""

from collections.abc import Callable, Mapping

from ablations.harness.cell import Cell
from ablations.harness.measurement import Discrepancy, LearningCurve, Measurement, PeakBytes, StepTimes

from . import laws
from .records import Change, Outcome

Number = Callable[[Cell], float]


def seconds(factor: Number) -> Change:
    """Steps take so many times as long."""

    def change(one: Cell, found: Measurement) -> Outcome:
        return laws.times(one, laws.seconds_of(one) * factor(one)) if isinstance(found, StepTimes) else found

    return change


def peaks(new: Number) -> Change:
    """Peaks are these."""

    def change(one: Cell, found: Measurement) -> Outcome:
        return laws.peak(one, round(new(one))) if isinstance(found, PeakBytes) else found

    return change


def bits(added: Number) -> Change:
    """Models have so many more bits, at every evaluation."""

    def change(one: Cell, found: Measurement) -> Outcome:
        if not isinstance(found, LearningCurve):
            return found
        evaluations = [
            old.model_copy(update={"bits_per_token": old.bits_per_token + added(one)}) for old in found.evaluations
        ]
        return found.model_copy(update={"evaluations": tuple(evaluations)})

    return change


def conditions(new: Callable[[Cell, str, float], float], field: str) -> Change:
    """What the trained model gives under each condition is this, of cell, name and what it was."""

    def change(one: Cell, found: Measurement) -> Outcome:
        if not isinstance(found, LearningCurve):
            return found
        changed = [
            old.model_copy(update={field: new(one, old.condition, getattr(old, field))}) for old in found.conditions
        ]
        return found.model_copy(update={"conditions": tuple(changed)})

    return change


def accuracy(trained: int | None, evaluated: str | None, new: float) -> Change:
    """On the duplication task: of models trained with so many rounds, evaluated so; `None` is any."""

    def value(one: Cell, name: str, old: float) -> float:
        meant = trained in (None, laws.rounds_of(one)) and evaluated in (None, name)
        return new + laws.noise(one) / 100 if meant else old

    return conditions(value, "accuracy")


def differing(field: str, value: float) -> Change:
    """Two ways to compute the same thing lie so far apart."""

    def change(_one: Cell, found: Measurement) -> Outcome:
        return found.model_copy(update={field: value}) if isinstance(found, Discrepancy) else found

    return change


def ends(status: Callable[[Cell], bool]) -> Change:
    """Cells of which this holds run out of memory."""

    def change(one: Cell, found: Measurement) -> Outcome:
        return ("oom", "the process reached its limit") if status(one) else found

    return change


def _only(meant: Callable[[Cell], bool], change: Change) -> Change:
    """The change, of cells that are meant."""
    return lambda one, found: change(one, found) if meant(one) else found


def _is(*variants: str) -> Callable[[Cell], bool]:
    return lambda one: one.config.variant in variants


def _double_parameters(one: Cell, found: Measurement) -> Outcome:
    return (
        found.model_copy(update={"parameter_bytes": 2 * found.parameter_bytes})
        if isinstance(found, PeakBytes)
        else found
    )


def _bad_translation(one: Cell, found: Measurement) -> Outcome:
    if not isinstance(found, LearningCurve) or found.translations is None or not _is("transformer")(one):
        return found
    worse = found.translations.model_copy(update={"bleu": found.translations.bleu - 5})
    return found.model_copy(update={"translations": worse})


def _hashes(one: Cell) -> bool:
    return laws.rounds_of(one) > 0


BUDGETED = ends(
    lambda one: (
        (one.experiment == "max_length" and one.length > (16384 if _hashes(one) else 1024))
        or (one.experiment == "deep_and_long" and not _is("reformer")(one))
    )
)
"""What runs out of memory where the paper is right."""

HOLDS: Mapping[str, Change] = {
    "C14": BUDGETED,
    "C18b": BUDGETED,
    "FASTAI-duplication": accuracy(1, "lsh_8", 0.797),
}
"""Machines on which these hold; every other one holds on the machine as planted."""

BREAKS: Mapping[str, Change] = {
    "C18": peaks(lambda one: laws.peak_of(one) / (50 if _is("dense")(one) else 1)),
    "C18b": ends(lambda one: _hashes(one) and one.length > 16384),
    "C1": _double_parameters,
    "C2": peaks(lambda one: 1000 * one.length),
    "C4": peaks(lambda one: laws.peak_of(one) * one.length),
    "C8": _only(lambda one: laws.rounds_of(one) > 0, accuracy(None, None, 0.008)),
    "C3": peaks(lambda one: 20 * laws.MIB + 1000 * one.config.n_layers),
    "C7": differing("relative_difference", 0.001),
    "C6": differing("largest_difference", 0.001),
    "C5": peaks(lambda one: 20 * laws.MIB + laws.MIB * one.config.n_layers),
    "C9": bits(lambda one: 0.5 * _is("dense")(one)),
    "C10": bits(lambda one: 0.5 * _is("reversible_separate_qk")(one)),
    "C17": _bad_translation,
    "C11": bits(lambda one: 0.5 * laws.rounds_of(one)),
    "C12": conditions(lambda one, name, old: old + 0.5, "bits_per_token"),
    "C14": ends(_is("reformer")),
    "C14b": bits(lambda one: 0.5 * one.config.n_layers),
    "C13": seconds(lambda one: one.length / 4 if _hashes(one) else 1024 / one.length),
    "C13b": seconds(lambda one: 1000.0 if _hashes(one) else 1.0),
    "C21": ends(lambda one: True),
    "BLOG-depth": peaks(lambda one: 400 * laws.MIB * one.config.n_layers),
    "BLOG-chunks": peaks(lambda one: 400 * laws.MIB + (one.config.ff_chunk_len or one.length)),
    "LRA-speed": seconds(lambda one: 0.1 if _hashes(one) else 1.0),
    "LRA-memory": peaks(lambda one: 400 * laws.MIB + one.length),
    "HF-key-feature": conditions(lambda one, name, old: old + 1.0, "bits_per_token"),
    "LUCIDRAINS-speed": seconds(lambda one: (2048 / one.length) ** 3 if _is("dense")(one) else 1.0),
    "LUCIDRAINS-quality": bits(lambda one: -0.8 * _hashes(one)),
    "FASTAI-duplication": accuracy(1, "lsh_8", 1.0),
    "FASTAI-time": seconds(lambda one: 3.0 if _is("reversible_only")(one) else 1.0),
    "FASTAI-quality": bits(lambda one: -0.8 * _hashes(one)),
}
"""Machines on which these do not hold."""


def _kept_streams(one: Cell, found: Measurement) -> Outcome:
    if not isinstance(found, PeakBytes) or found.ledger is None:
        return found
    odd = found.ledger.model_copy(update={"streams": found.ledger.streams + 4 * one.length})
    return found.model_copy(update={"ledger": odd})


def _more_when_reversible(one: Cell, found: Measurement) -> Outcome:
    if not isinstance(found, Discrepancy | LearningCurve) or one.config.residual != "reversible":
        return found
    return found.model_copy(update={"n_parameters": 200_000})


def no_translation(_one: Cell, found: Measurement) -> Outcome:
    if not isinstance(found, LearningCurve) or found.translations is None:
        return found
    return found.model_copy(update={"translations": found.translations.model_copy(update={"bleu": 0.5})})


BREAKS_A_PART: Mapping[str, tuple[Change, ...]] = {
    "C18": (seconds(lambda one: 0.001 if _is("dense")(one) else 1.0),),
    "C1": (_kept_streams,),
    "C4": (peaks(lambda one: 20 * laws.MIB),),
    "C8": (accuracy(None, "lsh_8", 0.0), accuracy(4, "lsh_1", 0.1), accuracy(0, "dense", 0.9)),
    "C7": (_more_when_reversible,),
    "C10": (bits(lambda one: 0.5 * _is("reversible_only")(one)), _more_when_reversible),
    "BLOG-chunks": (peaks(lambda one: one.config.ff_chunk_len or one.length),),
    "HF-key-feature": (bits(lambda one: 1.0 * _is("local_only")(one)),),
    "FASTAI-time": (seconds(lambda one: 0.1 if _is("reversible_only")(one) else 1.0),),
}
"""Further machines, on which parts of claims do not hold that hold on those of `BREAKS`."""

NEVER_HERE: Mapping[str, str] = {
    "C15": "a run of 10.5 billion tokens",
    "C16": "the same, and what was done is not told",
    "C19": "nothing here swaps parameters",
    "C20": "what a position may see is in no record; tests of attention check it",
    "LRA-quality": "no experiment trains on Arena's tasks",
}
"""Claims that no record can decide, and why."""
