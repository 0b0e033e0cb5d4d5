"""Tables of results as plain text cells: every number with its n and its interval, every gap with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ablations.harness.measurement import PeakBytes
from ablations.harness.work import Ceiling
from ablations.report.fits import fit_tables
from ablations.report.floor import (
    BELOW_FLOOR_NOTE,
    FLOOR_TITLES,
    MODEL_FLOOR_NOTE,
    NO_FLOOR_NOTE,
    UTILISATION_NOTE,
    group_floor_cells,
    is_below_floor,
)
from ablations.report.groups import Attempt, Group
from ablations.report.learning_tables import learning_tables
from ablations.report.ledger_table import (
    PREDICTION_NOTE,
    PREDICTION_TITLES,
    ledger_tables,
    prediction_cells,
    reasons_untold,
)
from ablations.report.statistics import Estimate
from ablations.report.style import STATUS_WORDS
from ablations.report.table import N_TITLE, Column, Row, Table, results_table
from ablations.report.units import BYTES, SECONDS, TOKENS_PER_SECOND, interval_text, n_cell, with_range
from ablations.report.views import MODE_WORDS, ExperimentResults, KindResults


def result_tables(kind: KindResults, ceiling: Ceiling | None) -> tuple[Table, ...]:
    """One table of results per mode, then one of fitted exponents or slopes if a number varies."""
    if kind.kind == "time":
        return (*(_time_table(kind, mode, ceiling) for mode in kind.modes), *fit_tables(kind))
    if kind.kind == "memory":
        tables = ((_memory_table(kind, mode), *ledger_tables(kind, mode)) for mode in kind.modes)
        return (*(table for of_mode in tables for table in of_mode), *fit_tables(kind))
    return learning_tables(kind)


def gaps_table(results: ExperimentResults) -> Table:
    """Every planned cell that is not ok, with status and reason."""
    columns = (Column("status", numeric=False), Column("cell", numeric=False), Column("reason", numeric=False))
    order = list(STATUS_WORDS)
    gaps = sorted((a for a in results.attempts if a.status != "ok"), key=lambda attempt: order.index(attempt.status))
    return Table("Cells without a result", columns, tuple(_gap_row(attempt) for attempt in gaps))


def _gap_row(attempt: Attempt) -> Row:
    # The experiment's name opens every description and is the section's heading already.
    description = attempt.cell.description.removeprefix(f"{attempt.cell.experiment} ")
    return Row((attempt.words, description, attempt.reason), ok=False)


def _estimate(group: Group) -> Estimate:
    assert group.estimate is not None  # rows of results are asked only of groups that have one
    return group.estimate


def _time_table(kind: KindResults, mode: str, ceiling: Ceiling | None) -> Table:
    by_event = {times.device_seconds is not None for group in kind.ordered(mode) for times in group.step_times}
    clock = " and ".join("CUDA events" if events else "wall clock" for events in sorted(by_event)) or "none used"
    notes = (
        "Median of the processes' medians; 95 % interval over processes, by Student's t on the logarithms of their "
        "medians. One process has none, and two tell little. "
        f"n: steps sampled, and the processes that ran them. Clock: {clock}."
    )
    return results_table(
        kind,
        mode,
        caption=f"Time per step, {MODE_WORDS[mode]}",
        titles=("time per step", "95 % interval", N_TITLE, "tokens/s", "95 % interval", *FLOOR_TITLES),
        results=lambda group: (*_times(group), *group_floor_cells(group, ceiling)),
        notes=lambda: [notes, *_floor_notes(kind.ordered(mode), ceiling)],
    )


def _floor_notes(groups: Sequence[Group], ceiling: Ceiling | None) -> list[str]:
    if ceiling is None:
        return [NO_FLOOR_NOTE]
    below = [BELOW_FLOOR_NOTE] if any(is_below_floor(group, ceiling) for group in groups) else []
    return [f"{MODEL_FLOOR_NOTE} {UTILISATION_NOTE}", *below]


def _times(group: Group) -> tuple[str, ...]:
    estimate, rate = _estimate(group), group.tokens_per_second
    assert rate is not None  # as above
    return (
        SECONDS.text(estimate.value),
        interval_text(estimate, SECONDS),
        n_cell(estimate),
        TOKENS_PER_SECOND.text(rate.value).removesuffix(" tokens/s"),
        interval_text(rate, TOKENS_PER_SECOND).removesuffix(" tokens/s"),
    )


@dataclass
class _Footnotes:
    """Reasons, each told once and referred to by number."""

    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> str:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"[{self.reasons.index(reason) + 1}]"

    def notes(self) -> list[str]:
        return [f"[{number}] {reason}" for number, reason in enumerate(self.reasons, start=1)]


def _memory_table(kind: KindResults, mode: str) -> Table:
    groups = kind.ordered(mode)
    on_gpu = any(group.cell.device == "cuda" for group in groups)
    footnotes = _Footnotes()

    def results(group: Group) -> tuple[str, ...]:
        estimate = _estimate(group)
        peak = (BYTES.text(estimate.value), interval_text(estimate, BYTES), n_cell(estimate))
        return (*peak, *prediction_cells(group, footnotes.mark), *_system_views(group.peaks, footnotes, on_gpu=on_gpu))

    return results_table(
        kind,
        mode,
        caption=f"Peak memory of one step, {MODE_WORDS[mode]}",
        titles=("peak", "interval", N_TITLE, *PREDICTION_TITLES, "OS view", *(("reserved", "process") * on_gpu)),
        results=results,
        notes=lambda: [*_memory_notes(kind, mode, on_gpu=on_gpu), *footnotes.notes()],
    )


def _system_views(peaks: Sequence[PeakBytes], footnotes: _Footnotes, *, on_gpu: bool) -> tuple[str, ...]:
    system = _view([(peak.os_peak_bytes, peak.os_peak_missing) for peak in peaks], footnotes)
    if not on_gpu:
        return (system,)
    no_allocator = "measured on the CPU, where no caching allocator reserves memory"
    reserved = _view([(peak.reserved_bytes, no_allocator) for peak in peaks], footnotes)
    return (system, reserved, _view([(peak.process_bytes, peak.process_missing) for peak in peaks], footnotes))


def _view(readings: Sequence[tuple[int | None, str | None]], footnotes: _Footnotes) -> str:
    """The median of what was read, with its range over the processes; the reasons of what was not."""
    values = [value for value, _ in readings if value is not None]
    marks = dict.fromkeys(footnotes.mark(why or "no reason recorded") for value, why in readings if value is None)
    return " ".join([with_range(values, BYTES) if values else "n/a", *marks])


_METHODS = {
    "profiler_allocation_events": "exact, from the allocator's events",
    "cuda_max_memory_allocated": "as the GPU's caching allocator counts them",
}


def _memory_notes(kind: KindResults, mode: str, *, on_gpu: bool) -> list[str]:
    peaks = [peak for group in kind.ordered(mode) for peak in group.peaks]
    if not peaks:
        return []
    parameters = sorted(peak.parameter_bytes for peak in peaks)
    sizes = " to ".join(dict.fromkeys(BYTES.text(size) for size in (parameters[0], parameters[-1])))
    methods = " or ".join(_METHODS[method] for method in sorted({peak.method for peak in peaks}))
    gpu = " Reserved: held by the caching allocator. Process: what the driver says the process holds." if on_gpu else ""
    return [
        f"Peak: most bytes of tensors alive at once, {methods}; parameters ({sizes}) and gradients, which exist before "
        f"the step, are not counted. OS view: rise of the process's peak resident memory.{gpu} Of the OS view and "
        "after it: median over the processes that could tell, with their range where they differ.",
        PREDICTION_NOTE,
        *([] if ledger_tables(kind, mode) else reasons_untold(kind, mode)),
    ]
