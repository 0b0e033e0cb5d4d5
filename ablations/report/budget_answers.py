"""What memory budgets answer: the longest sequences that were found to train, and which single sizes train."""

from collections.abc import Iterable, Iterator, Sequence

from ablations.harness.cell import Capacity, Cell
from ablations.report import axes
from ablations.report.capacity import CANNOT_TELL, SearchResult, by_budget
from ablations.report.groups import Group, groups_of
from ablations.report.sentences import OF_INTEREST, SET_AGAINST
from ablations.report.style import rank
from ablations.report.units import BYTES, count, setting
from ablations.report.views import ExperimentResults

FOLLOWS = frozenset({"n_buckets"})
"""From the length."""


def search_answers(results: ExperimentResults) -> Iterator[str]:
    """A sentence per budget; between the bracket's ends nothing is known."""
    begun = [one for one in results.searches if one.records]
    cells = [one.search.cell for one in begun]
    for budget, found in by_budget(begun):
        told = [f"{_label(one.search.cell, cells, {'length'})} {_longest(one)}" for one in _shown(found)]
        yield f"Within {budget}, the longest sequence that trains: {'; '.join(told)}; n = 1 search each."


def _shown(found: Sequence[SearchResult]) -> list[SearchResult]:
    """Those of the variant of interest and of what it is set against, in all their settings; else the first."""
    names = {one.variant for one in found}
    mine = next((name for name in OF_INTEREST if name in names), None)
    theirs = next((name for name in SET_AGAINST if name in names and name != mine), None)
    return [one for name in (mine, theirs) for one in found if one.variant == name] or list(found[:1])


def _longest(one: SearchResult) -> str:
    longest = one.longest if one.longest == CANNOT_TELL else f"{one.longest} tokens"
    return f"{longest} ({one.stopped_by})"


def _label(cell: Cell, among: Sequence[Cell], told: Iterable[str]) -> str:
    """The variant, and what tells its cells apart beside what the sentence says of all of them."""
    names = [name for name in axes.independent(among) if name not in FOLLOWS | {"budget_bytes", *told}]
    own = axes.settings(cell)
    return ", ".join([cell.contender, *(f"{name}={setting(own[name])}" for name in names if name in own)])


def fit_answers(results: ExperimentResults) -> Iterator[str]:
    """A sentence per size and budget, unless they were tried in search of the longest."""
    groups = groups_of([one for one in results.attempts if isinstance(one.cell.workload, Capacity)])
    if results.searches or not any(one.record for group in groups for one in group.attempts):
        return
    cells = [group.cell for group in groups]
    by_size: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: rank(group.variant)):
        by_size.setdefault(_size(group.cell), []).append(group)
    for size, found in by_size.items():
        fates = "; ".join(f"{_label(one.cell, cells, {'length', 'n_layers'})} {_fate(one)}" for one in found)
        yield f"{size}: {fates}."


def _size(cell: Cell) -> str:
    assert isinstance(cell.workload, Capacity), "nothing else has a budget"
    layers, budget = count(cell.config.n_layers, "layer"), cell.workload.budget_bytes
    within = "what was free" if budget is None else BYTES.text(budget)
    return f"With {layers} on {count(cell.length, 'token')} within {within}"


def _fate(group: Group) -> str:
    """One run that found no memory is enough to say so; what ended otherwise says nothing of memory."""
    statuses = dict(group.failures)
    runs = f"n = {count(len(group.attempts), 'run')}"
    if not statuses:
        return f"trains ({runs})"
    fate = "does not train" if "oom" in statuses else CANNOT_TELL
    return f"{fate} ({group.failure_words}, {runs})"
