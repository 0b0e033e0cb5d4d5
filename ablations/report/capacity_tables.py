"""The table of longest sequences."""

import math
from collections.abc import Sequence

from ablations.report import axes
from ablations.report.axes import Setting
from ablations.report.capacity import SearchResult
from ablations.report.style import rank
from ablations.report.table import NOTHING, Column, Row, Table, setting_columns
from ablations.report.units import setting

NOTE = (
    "Longest: that took two steps of Adam within the budget, parameters, gradients and Adam's state included. Lengths "
    "are multiples of two chunks; they double until one runs out of memory, then halve the bracket, until it is two "
    "chunks wide or a twentieth of the longest, whichever is wider. Every length that was tried is a cell of its own."
)
ON_CPU = (
    "On a CPU the budget is of the process's data as the kernel counts it, once its threads have started: tensors, and "
    "beside them scratch memory of operations; freed blocks go back at once."
)
ON_GPU = "On a GPU the budget is of what PyTorch's caching allocator reserves; CUDA's own context comes on top."
OWN_COLUMNS = frozenset({"budget_bytes", "length", "n_buckets"})
"""Settings that have a column of their own, or none because they follow from the length."""
TITLES = ("memory budget", "longest", "shortest that failed", "bracket", "probes")


def capacity_tables(results: Sequence[SearchResult]) -> tuple[Table, ...]:
    """A row per search; no table without one."""
    if not results:
        return ()
    names = columns_of(results)
    ordered = sorted(results, key=lambda one: (_place(one, names), rank(one.variant)))
    columns = (
        *setting_columns(names, [axes.settings(one.search.cell) for one in results]),
        Column("variant", numeric=False),
        *map(Column, TITLES),
        Column("stopped by", numeric=False),
    )
    devices = {one.search.cell.device for one in results}
    notes = (NOTE, *([ON_CPU] if "cpu" in devices else []), *([ON_GPU] if "cuda" in devices else []))
    caption = "Longest sequence that trains within a memory budget"
    return (Table(caption, columns, tuple(_row(one, names) for one in ordered), notes),)


def columns_of(results: Sequence[SearchResult]) -> tuple[str, ...]:
    """Settings that tell searches of one variant and budget apart."""
    return tuple(name for name in axes.independent([one.search.cell for one in results]) if name not in OWN_COLUMNS)


def _place(result: SearchResult, names: Sequence[str]) -> tuple[tuple[bool, float, str], ...]:
    """Sorts by budget, the whole machine last, then by the settings that tell searches apart."""
    known = axes.settings(result.search.cell)
    budget = known.get("budget_bytes")
    return (_sortable(math.inf if budget is None else budget), *(_sortable(known.get(name, 0)) for name in names))


def _sortable(value: Setting) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")


def _row(result: SearchResult, names: Sequence[str]) -> Row:
    known, finding = axes.settings(result.search.cell), result.finding
    fails = NOTHING if finding.fails is None else f"{finding.fails:,}"
    width = NOTHING if finding.fails is None else f"{finding.fails - (finding.fits or 0):,}"
    texts = (
        *(setting(known[name]) if name in known else NOTHING for name in names),
        result.variant,
        result.budget,
        result.longest,
        fails,
        width,
        f"{len(finding.probes):,}",
        result.stopped_by,
    )
    return Row(texts, ok=finding.fits is not None)
