"""How long a sequence fits: searches with what they found and why they ended, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablations.harness.cell import Capacity
from ablations.harness.measurement import Trained
from ablations.harness.record import Record
from ablations.harness.search import Finding, Search, found
from ablations.report.style import STATUS_WORDS
from ablations.report.units import BYTES

CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class SearchResult:
    """A planned search and how far it has come.

    Attributes:
        search: What was asked.
        finding: The lengths that were tried, and what is next.
        records: Of the cells that were tried, in order.
    """

    search: Search
    finding: Finding
    records: tuple[Record, ...]

    @property
    def variant(self) -> str:
        """Of the model."""
        return self.search.cell.contender

    @property
    def exact(self) -> bool:
        """Whether the longest length is known but for the width of the bracket."""
        return self.finding.fits is not None and self.finding.stop == "bracketed"

    @property
    def longest(self) -> str:
        """The longest length that trains: `4,096`, `at least 4,096`, `below 128`, or that nobody can tell."""
        fits = self.finding.fits
        if fits is None:
            below = f"below {self.finding.fails:,}" if self.finding.stop == "bracketed" else CANNOT_TELL
            return below if self.finding.probes else "missing"
        return f"{fits:,}" if self.exact else f"at least {fits:,}"

    @property
    def stopped_by(self) -> str:
        """What ended the search."""
        match self.finding.stop:
            case None:
                return "not finished: run again"
            case "bracketed":
                return f"out of memory at {self.finding.fails:,}"
            case "at_most":
                return self.search.most_reason
            case "unsettled":
                cell, status = self.finding.probes[-1]
                return f"{STATUS_WORDS[status]} at {cell.length:,}, which says nothing of memory"

    @property
    def budget_bytes(self) -> int | None:
        """What training may take; `None` is what is free."""
        workload = self.search.cell.workload
        assert isinstance(workload, Capacity), "a search tries nothing else"
        return workload.budget_bytes

    @property
    def budget(self) -> str:
        """What training might take: as asked for, or what was free."""
        return budget_words([self])


def budget_words(results: Sequence[SearchResult]) -> str:
    """What training might take in searches of equal `budget_bytes`: as asked for, or what was free."""
    if results[0].budget_bytes is not None:
        return BYTES.text(results[0].budget_bytes)
    measurements = [record.measurement for one in results for record in one.records]
    free = [one.budget_bytes for one in measurements if isinstance(one, Trained)]
    if not free:
        return "what is free"
    least, most = BYTES.text(min(free)), BYTES.text(max(free))
    return f"what was free, {least}" if least == most else f"what was free, {least} to {most}"


def by_budget(results: Sequence[SearchResult]) -> list[tuple[str, list[SearchResult]]]:
    """Each budget in words, and the searches within it; whatever was free counts as one budget."""
    found: dict[int | None, list[SearchResult]] = {}
    for one in results:
        found.setdefault(one.budget_bytes, []).append(one)
    return [(budget_words(members), members) for members in found.values()]


def search_results(searches: Sequence[Search], records: Mapping[str, Record]) -> tuple[SearchResult, ...]:
    """Each search as far as these records, by their cells' ids, tell of it."""
    statuses = {cell_id: record.status for cell_id, record in records.items()}
    results = []
    for search in searches:
        finding = found(search, statuses)
        results.append(SearchResult(search, finding, tuple(records[cell.id] for cell, _ in finding.probes)))
    return tuple(results)
