"""How long a sequence fits, in A and in B: the lengths that both have tried say which of them does better."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ablations.compare.judge import Answer, Judgement
from ablations.harness.cell import Cell
from ablations.harness.record import Status
from ablations.harness.search import Search
from ablations.harness.store import MachineResults
from ablations.report.capacity import SearchResult, search_results
from ablations.report.style import STATUS_WORDS

Key = tuple[str, str]
"""Which search: the id of its first probe, and the attention that other lengths start from."""


@dataclass(frozen=True)
class SearchPair:
    """A search in A and in B; `None` where it is not planned."""

    before: SearchResult | None
    after: SearchResult | None

    @property
    def cell(self) -> Cell:
        """The first probe."""
        result = self.before or self.after
        assert result is not None, "a pair is made of at least one search"
        return result.search.cell

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every probe of either, and the next."""
        return tuple(cell for result in (self.before, self.after) if result for cell in result.finding.cells)


def search_pairs(before: MachineResults, after: MachineResults) -> tuple[SearchPair, ...]:
    """Every search that is planned in either, in the order of A."""
    one, other = _results(before), _results(after)
    return tuple(SearchPair(one.get(key), other.get(key)) for key in {**one, **other})


def was_tried(result: SearchResult | None) -> bool:
    """Whether there is any probe."""
    return result is not None and bool(result.finding.probes)


def judge_search(before: SearchResult, after: SearchResult) -> Judgement:
    """How B does. A length that fitted and does not any more is worse, whatever else has become of it.

    Both searches start at one length and go the same way until a length ends differently: that one tells.

    Args:
        before: Of A, with a probe at least.
        after: Of B, likewise.
    """
    lost = [f"{length:,} fits in A, {STATUS_WORDS[status]} in B" for length, status in _only_first(before, after)]
    gained = [f"{length:,} {STATUS_WORDS[status]} in A, fits in B" for length, status in _only_first(after, before)]
    answer, reason = _answer(before, after, lost, gained)
    return Judgement(answer, before.longest, after.longest, reason=reason)


def _answer(
    before: SearchResult, after: SearchResult, lost: Sequence[str], gained: Sequence[str]
) -> tuple[Answer, str]:
    if (lost or gained) and before.budget != after.budget:
        return "cannot tell", f"the budgets differ: {before.budget} in A, {after.budget} in B"
    if lost or gained:
        return ("worse" if lost else "better"), "; ".join((*lost, *gained))
    ends = [(one.finding.fits, one.finding.fails, one.finding.stop) for one in (before, after)]
    if ends[0] == ends[1] and before.finding.stop:
        return "same", ""
    return "cannot tell", f"in A {before.stopped_by}; in B {after.stopped_by}"


def _only_first(one: SearchResult, other: SearchResult) -> Iterator[tuple[int, Status]]:
    """Lengths that fit in the one and not in the other, and what became of them there."""
    there = {cell.id: status for cell, status in other.finding.probes}
    for cell, status in one.finding.probes:
        if status == "ok" and there.get(cell.id, "ok") != "ok":
            yield cell.length, there[cell.id]


def _results(machine: MachineResults) -> Mapping[Key, SearchResult]:
    searches = [search for experiment in machine.plan.experiments for search in experiment.searches]
    records = {record.cell.id: record for record in machine.records}
    return {_key(result.search): result for result in search_results(searches, records)}


def _key(search: Search) -> Key:
    return search.cell.id, search.model_dump_json(include={"attention"})
