"""From a machine's records to one fit of memory and one of time for each variant that was measured on it."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from ablations.harness.cell import Cell
from ablations.harness.ledger import PLAIN
from ablations.harness.measurement import PeakBytes, StepTimes
from ablations.harness.record import Record
from ablations.harness.work import ceiling_of
from ablations.report.groups import samples
from ablations.report.statistics import CannotTell
from ablations.report.style import rank
from ablations.report.what_if.features import memory_features, time_features
from ablations.report.what_if.fit import Fit, Measured, fit
from ablations.report.what_if.sizes import sizes_of
from reformer.config import AnyAttention, Frozen, LSHAttention, ReformerConfig, RotaryPositions

MODES = ("forward_backward", "training_step")
CONSTANTS = ("projections", "query_chunk_len", "loss_chunk_len")
"""Sizes that the form does not ask for: a variant has its own."""
ATTENTION_SIZES = frozenset({"n_hashes", "chunk_len", "n_buckets", "backend", "query_chunk_len", "share_qk", "kind"})


class FittedVariant(Frozen):
    """One variant on one machine.

    Attributes:
        label: Its name, with what else tells it from others of the variant.
        variant: Its name alone.
        constants: Sizes that no form asks for.
        memory: The fit of the peak above weights, gradients and the optimiser's state; `None` if it was not measured
            at enough sizes, which `memory_missing` says.
        memory_missing: See above.
        time: The fit of a step's seconds, likewise.
        time_missing: See above.
    """

    label: str
    variant: str
    constants: dict[str, int]
    memory: Fit | None
    memory_missing: str | None
    time: Fit | None
    time_missing: str | None


def fitted_variants(records: Sequence[Record]) -> tuple[FittedVariant, ...]:
    """Every variant with a fit of memory or time, in the fixed order of variants."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if is_usable(record):
            groups.setdefault(_key(record.cell), []).append(record)
    ceiling = ceiling_of(records)
    rate = ceiling.flops_per_second.get("float32") if ceiling else None
    found = [_fitted(_label(key, groups), members, rate) for key, members in groups.items()]
    fitted = [one for one in found if one.memory or one.time]
    return tuple(sorted(fitted, key=lambda one: (rank(one.variant), one.label)))


def is_usable(record: Record) -> bool:
    """Whether it is a measured step with gradients of a plain whole model of ours in float32."""
    cell = record.cell
    ours = (cell.scope, cell.implementation, cell.dtype) == ("model", "ours", "float32")
    measured = isinstance(record.measurement, StepTimes | PeakBytes) and cell.mode in MODES
    return ours and measured and _is_plain(cell.config)


def _is_plain(config: ReformerConfig) -> bool:
    """All of whose layers are alike, and that has no settings but sizes other than the usual ones."""
    first, *others = config.attentions
    usual = ReformerConfig.model_fields
    plain = all(getattr(config, name) == usual[name].default for name in PLAIN)
    return (
        plain
        and all(one == first for one in others)
        and not isinstance(config.positions, RotaryPositions)
        and _has_usual_settings(first)
    )


def _has_usual_settings(attention: AnyAttention) -> bool:
    fields = type(attention).model_fields
    return all(getattr(attention, name) == fields[name].default for name in fields if name not in ATTENTION_SIZES)


def _key(cell: Cell) -> tuple[str, ...]:
    """What makes one of them: the variant, and what no number of the form can express."""
    attention = cell.config.attentions[0]
    backend = (f"backend={attention.backend}",) if isinstance(attention, LSHAttention) else ()
    constants = (f"{name}={size}" for name, size in _constants(cell).items() if name != "projections")
    return (cell.config.variant, *backend, *constants, f"device={cell.device}")


def _constants(cell: Cell) -> dict[str, int]:
    return {name: size for name, size in sizes_of(cell).items() if name in CONSTANTS}


def _label(key: tuple[str, ...], groups: Iterable[tuple[str, ...]]) -> str:
    """The variant, with those of its settings that another of the variant has otherwise."""
    rivals = [other for other in groups if other[0] == key[0]]
    return ", ".join([key[0], *(word for word in key[1:] if any(word not in other for other in rivals))])


def _fitted(label: str, records: Sequence[Record], flops_per_second: float | None) -> FittedVariant:
    config = records[0].cell.config
    kind = config.attentions[0].kind
    memory = fit(memory_features(kind, config.residual), _measured(records, _peak, but="updates"))
    time = fit(time_features(kind, flops_per_second), _measured(records, _seconds))
    return FittedVariant(
        label=label,
        variant=config.variant,
        constants=_constants(records[0].cell),
        memory=memory if isinstance(memory, Fit) else None,
        memory_missing=memory.reason if isinstance(memory, CannotTell) else None,
        time=time if isinstance(time, Fit) else None,
        time_missing=time.reason if isinstance(time, CannotTell) else None,
    )


def _measured(
    records: Sequence[Record], reading: Callable[[Record], float | None], *, but: str = ""
) -> tuple[Measured, ...]:
    """The median reading of each configuration, whichever experiments and seeds it comes from.

    Args:
        records: Of one of them.
        reading: Of a record, if it has one.
        but: A size that readings do not depend on.
    """
    readings: dict[tuple[tuple[str, int], ...], list[float]] = {}
    for record in records:
        if (one := reading(record)) is not None:
            sizes = tuple((name, size) for name, size in sizes_of(record.cell).items() if name != but)
            readings.setdefault(sizes, []).append(one)
    return tuple(Measured(sizes=dict(sizes), value=median(found)) for sizes, found in sorted(readings.items()))


def _peak(record: Record) -> float | None:
    return float(record.measurement.peak_bytes) if isinstance(record.measurement, PeakBytes) else None


def _seconds(record: Record) -> float | None:
    return median(samples(record.measurement)) if isinstance(record.measurement, StepTimes) else None
