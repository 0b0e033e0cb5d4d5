"""Where the time of our kernels goes: each part of LSH attention against its own floor."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ablations.harness.cell import Cell
from ablations.harness.measurement import KernelSeconds, KernelTime
from ablations.harness.work import NO_WORK, Ceiling, lsh_parts
from ablations.report.floor import BELOW_FLOOR, BELOW_FLOOR_NOTE, FLOOR_TITLES, floor_cells
from ablations.report.groups import Attempt
from ablations.report.table import Column, Row, Table
from ablations.report.units import SECONDS, three_digits
from ablations.report.views import MODE_WORDS
from reformer.config import LSHAttention

PART_OF: Mapping[str, str] = MappingProxyType(
    {
        "hash_kernel": "hash",
        "count_kernel": "sort",
        "place_kernel": "sort",
        "chunk_of_kernel": "sort",
        "attend_kernel": "forward",
        "combine_rounds_kernel": "combine",
        "row_terms_kernel": "rows",
        "attend_backward_kernel": "backward",
        "sum_rounds_kernel": "sum",
    }
)
"""Our kernels by the part that they do. The one for a row's terms runs before `forward` and before `backward`."""

SCAN = "scan"
"""In the names of PyTorch's kernels for a cumulative sum, in small letters: only sorting has one, over its counters."""

OTHER = "other"


def kernel_tables(attempts: Sequence[Attempt], ceiling: Ceiling | None) -> tuple[Table, ...]:
    """A table for each step whose kernels were told apart."""
    measured = [(a.cell, a.record.measurement) for a in attempts if a.record]
    return tuple(_table(cell, found, ceiling) for cell, found in measured if isinstance(found, KernelSeconds))


def _table(cell: Cell, found: KernelSeconds, ceiling: Ceiling | None) -> Table:
    attention = cell.config.attentions[0]
    assert isinstance(attention, LSHAttention), "planned of LSH attention only"
    token_heads = cell.batch * cell.length * cell.config.n_heads
    work = {name: part.times(token_heads) for name, part in lsh_parts(cell, attention).items()}
    by_part: dict[str, list[KernelTime]] = {}
    for kernel in found.kernels:
        by_part.setdefault(part_of(kernel.name), []).append(kernel)
    rows = [
        _row(
            name,
            by_part[name],
            found.steps,
            floor_cells(_seconds(by_part[name]) / found.steps, one, cell.dtype, ceiling),
        )
        for name, one in (work | {OTHER: NO_WORK}).items()
        if name in by_part
    ]
    where = f"length {cell.length}, batch {cell.batch}, n_hashes {attention.n_hashes}, {cell.dtype}"
    columns = (
        Column("part", numeric=False),
        Column("kernels a step"),
        Column("time a step"),
        *map(Column, FLOOR_TITLES),
    )
    return Table(f"Parts of one step, {MODE_WORDS[cell.mode]}, {where}", columns, tuple(rows), _notes(by_part, rows))


def part_of(kernel: str) -> str:
    """The part of a step that a kernel of this name does."""
    return PART_OF.get(kernel) or ("sort" if SCAN in kernel.lower() else OTHER)


def _seconds(kernels: Sequence[KernelTime]) -> float:
    return sum(kernel.seconds for kernel in kernels)


def _row(part: str, kernels: Sequence[KernelTime], steps: int, floor: Sequence[str]) -> Row:
    calls = three_digits(sum(kernel.calls for kernel in kernels) / steps)
    return Row((part, calls, SECONDS.text(_seconds(kernels) / steps), *floor))


def _notes(by_part: Mapping[str, Sequence[KernelTime]], rows: Sequence[Row]) -> tuple[str, ...]:
    others = ", ".join(kernel.name.split("(")[0][:80] for kernel in by_part.get(OTHER, ())[:5])
    note = (
        "As the profiler sees them, the gaps between kernels left out; each part against its own floor, in which what "
        "passes from part to part passes memory. sort: with the cumulative sum over its counters. rows: before the "
        "forward and before the backward pass."
    )
    below = any(BELOW_FLOOR in text for row in rows for text in row.cells)
    return (f"{note} Other: {others}." if others else note, *([BELOW_FLOOR_NOTE] if below else []))
