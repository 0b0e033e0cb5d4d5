"""Tables of comparisons: each contender's time or peak, its ratio to ours, and how far it is above the floor."""

from collections.abc import Callable, Mapping, Sequence

from ablations.harness.cell import Cell, Scope
from ablations.harness.measurement import Ceilings
from ablations.harness.work import Ceiling, copy_rate, hash_directions, matrix_rate
from ablations.report.comparison import Block, blocks, ratio_to
from ablations.report.floor import (
    BELOW_FLOOR_NOTE,
    FLOOR_TITLES,
    NO_FLOOR_NOTE,
    UTILISATION_NOTE,
    group_floor_cells,
    is_below_floor,
)
from ablations.report.groups import Attempt, Group
from ablations.report.statistics import CannotTell, Estimate, Interval
from ablations.report.table import N_TITLE, NOTHING, Column, Row, Table, marks_of, notes_on_marks, setting_columns
from ablations.report.units import (
    BYTES,
    BYTES_PER_SECOND,
    FLOPS,
    RATIO,
    SECONDS,
    Unit,
    interval_text,
    n_cell,
    setting,
)
from ablations.report.views import MODE_WORDS, KindResults
from reformer.config import LSHAttention

LEFT_OUT = frozenset({"min_samples", "seconds", "n_buckets"})
"""How long was sampled is in n; bucket counts follow from the length."""

SCOPE_WORDS: Mapping[Scope, str] = {"attention": "attention alone", "model": "whole models", "machine": "the machine"}


def comparison_tables(kind: KindResults, ceiling: Ceiling | None) -> tuple[Table, ...]:
    """One table per mode."""
    return tuple(_table(kind, mode, ceiling) for mode in kind.modes)


def _table(kind: KindResults, mode: str, ceiling: Ceiling | None) -> Table:
    what, unit = ("Time per step", SECONDS) if kind.kind == "time" else ("Peak memory of one step", BYTES)
    names = [name for name in kind.columns if name not in LEFT_OUT]
    titles = ("time" if kind.kind == "time" else "peak", "interval", N_TITLE, "over ours", "interval", "rounds")
    floor_titles = FLOOR_TITLES if kind.kind == "time" else ()
    found = blocks(kind, mode)
    rows = [_row(block, group, names, unit, ceiling) for block in found for group in (*block.groups, *block.asides)]
    columns = (
        *setting_columns(names, [group.settings for group in kind.groups]),
        Column("contender", numeric=False),
        *map(Column, (*titles, *floor_titles)),
    )
    return Table(
        f"{what}, {MODE_WORDS[mode]}, {SCOPE_WORDS[kind.scope]}",
        columns,
        tuple(rows),
        (*_notes(kind, mode, ceiling), *notes_on_marks(kind.ordered(mode))),
    )


def _row(block: Block, group: Group, names: Sequence[str], unit: Unit, ceiling: Ceiling | None) -> Row:
    place = {**group.settings, **(block.base.settings if block.base else {})}
    leading = (*(setting(place[name]) if name in place else NOTHING for name in names), _contender(block, group))
    against = group_floor_cells(group, ceiling) if group.kind == "time" else ()
    if group.estimate is None:
        return Row((*leading, group.failure_words, *[NOTHING] * 5, *against), ok=False)
    results = (unit.text(group.estimate.value) + marks_of(group), interval_text(group.estimate, unit))
    ratio = _ratio_cells(ratio_to(block.base, group))
    return Row((*leading, *results, n_cell(group.estimate), *ratio, *against))


def _contender(block: Block, group: Group) -> str:
    aside = any(group is one for one in block.asides)
    return f"{group.variant}, n_buckets={_factors(group.cell)}" if aside else group.variant


def _factors(cell: Cell) -> str:
    """Bucket counts of its layers, usually of all the same."""
    counts = [one.n_buckets or () for one in cell.config.attentions if isinstance(one, LSHAttention)]
    return ", ".join(dict.fromkeys(" x ".join(map(str, factors)) for factors in counts))


def _ratio_cells(ratio: Estimate | CannotTell | None) -> tuple[str, str, str]:
    if ratio is None:
        return (NOTHING, NOTHING, NOTHING)
    if isinstance(ratio, CannotTell):
        return (NOTHING, ratio.reason, NOTHING)
    interval = interval_text(ratio, RATIO).replace("one process", "one round")
    return (RATIO.text(ratio.value), interval, str(ratio.n_processes))


def _notes(kind: KindResults, mode: str, ceiling: Ceiling | None) -> list[str]:
    how = (
        "a 95 % interval over rounds by Student's t on their logarithms; one round has none, and two tell little"
        if kind.kind == "time"
        else "the range over rounds, of which exact counts that agree have none"
    )
    ours = "ours" if kind.scope == "attention" else "reformer"
    notes = [
        f"Over ours: the contender's {'time' if kind.kind == 'time' else 'peak'} over that of {ours} in the same rows, "
        f"median over the rounds that measured both, each ratio within its round; {how}. Settings are those of ours in "
        "the same rows: dense attention has no hash rounds and stands beside each number of them."
    ]
    if kind.scope == "model":
        notes.append("reformer, lsh_only, lsh_checkpointed: ours with reversible, standard and checkpointed residuals.")
    notes += _bucket_notes(blocks(kind, mode))
    if kind.kind == "memory":
        held = "parameters" if kind.scope == "model" else "inputs"
        notes.append(f"Peak: most bytes of tensors alive at once, above {held} and their gradients.")
    elif ceiling is None:
        notes.append(NO_FLOOR_NOTE)
    else:
        notes.append(_floor_note(kind, mode, ceiling))
    return notes


def _bucket_notes(found: Sequence[Block]) -> list[str]:
    """What differs in hashing: lucidrains has bucket counts of its own, and ours may stand there with others too."""
    notes = []
    pairs = [(block.base.cell, group.cell) for block in found if block.base for group in block.groups]
    theirs = [(ours, other) for ours, other in pairs if other.implementation == "lucidrains"]
    if theirs:
        ours, other = max(theirs, key=lambda pair: pair[1].length)
        notes.append(
            "lucidrains hashes into a bucket count of its own, one for each chunk, and all in one factor: at length "
            f"{other.length} a vector meets {_directions(other)} directions in each round, in ours {_directions(ours)}."
        )
    if any(block.asides for block in found):
        notes.append("ours, n_buckets=...: in so many buckets, in factors as written; all else as ours above.")
    return notes


def _directions(cell: Cell) -> int:
    return max(hash_directions(cell, one) for one in cell.config.attentions if isinstance(one, LSHAttention))


def _floor_note(kind: KindResults, mode: str, ceiling: Ceiling) -> str:
    work = {
        "attention": "operations over the fastest matrix product or the bytes of what goes in and comes out over the "
        "fastest copy, whichever is longer; nothing is computed, read or written twice",
        "model": "operations of all matrix products, none done twice, over the fastest one, or the bytes that go into "
        "and come out of attention, the weights and their gradients over the fastest copy, whichever is longer",
        "machine": "nothing",
    }[kind.scope]
    note = f"Floor: the least that the contender's own work can take on this machine: {work}. {UTILISATION_NOTE}"
    if any(is_below_floor(group, ceiling) for group in kind.ordered(mode)):
        note += f" {BELOW_FLOOR_NOTE}"
    return note


def ceilings_table(attempts: Sequence[Attempt]) -> tuple[Table, ...]:
    """What the machine did at most, a row per type of number; none where no ceiling was measured."""
    by_dtype: dict[str, list[Ceilings]] = {}
    for attempt in attempts:
        if attempt.record and isinstance(attempt.record.measurement, Ceilings):
            by_dtype.setdefault(attempt.cell.dtype, []).append(attempt.record.measurement)
    if not by_dtype:
        return ()
    columns = (Column("dtype", numeric=False), Column("matrix product"), Column("copy, read + written"), Column("n"))
    rows = tuple(
        Row((dtype, _best(matrix_rate, found, FLOPS), _best(copy_rate, found, BYTES_PER_SECOND), str(len(found))))
        for dtype, found in by_dtype.items()
    )
    note = "The fastest of all repeats; in brackets the range of the fastest of each process. n: processes."
    return (Table("Ceilings of this machine", columns, rows, (note,)),)


def _best(rate: Callable[[Ceilings], float], found: Sequence[Ceilings], unit: Unit) -> str:
    low, *_, high = sorted([rate(found[0]), *map(rate, found)])
    spread = f" ({unit.interval(Interval(low, high, 'range'), high)})" if low < high else ""
    return unit.text(high) + spread
