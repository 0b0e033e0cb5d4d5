"""The longest sequence of each variant within a memory budget, as bars."""

from collections.abc import Sequence

from ablations.report import capacity_tables
from ablations.report.axes import settings
from ablations.report.capacity import SearchResult, by_budget
from ablations.report.charts.chart import Axis, Chart, Look, Point, Trace, View, id_words, trace
from ablations.report.style import rank
from ablations.report.units import count, setting

TITLE = "Longest sequence that trains"


def capacity_chart(results: Sequence[SearchResult], name: str) -> Chart | None:
    """A view per budget; `None` as long as no length is known to fit.

    Args:
        results: Of searches.
        name: A slug, unique on the page.
    """
    if not any(one.finding.fits for one in results):
        return None
    names = capacity_tables.columns_of(results)
    views = tuple(_view(budget, within, names) for budget, within in by_budget(results))
    values = " ".join(f"{_name(one, names)}, {one.budget}: {one.longest} ({one.stopped_by})." for one in results)
    return Chart(name, TITLE, f"{TITLE}. {values}", views)


def _view(budget: str, results: Sequence[SearchResult], names: Sequence[str]) -> View:
    ordered = sorted(results, key=lambda one: (rank(one.variant), _name(one, names)))
    traces = tuple(_trace(one, _name(one, names)) for one in ordered if one.finding.fits)
    remarks = tuple(f"{_name(one, names)}: {_inexact(one)}." for one in ordered if not one.exact)
    vertical = Axis("longest sequence (tokens)", (), False)
    return View("longest length", f"within {budget}", Axis("", (), None), vertical, traces, remarks)


def _inexact(result: SearchResult) -> str:
    """What is known, how its bar tells that a longer one may fit if it has one, and what ended the search."""
    return f"{result.longest}{' (hatched)' if result.finding.fits else ''}, {result.stopped_by}"


def _name(result: SearchResult, names: Sequence[str]) -> str:
    known = settings(result.search.cell)
    return ", ".join([result.variant, *(f"{name}={setting(known[name])}" for name in names if name in known)])


def _trace(result: SearchResult, name: str) -> Trace:
    fits, cells = result.finding.fits or 0, [cell for cell, _ in result.finding.probes]
    words = (
        f"{name}, {result.budget}",
        f"{result.longest} tokens",
        f"stopped by: {result.stopped_by}; n = {count(len(cells), 'length')} tried",
        id_words([cell.id for cell in sorted(cells, key=lambda cell: abs(cell.length - fits))]),
    )
    shape: Look = "bars" if result.exact else "open bars"
    return trace(result.variant, name, [Point(name, float(fits), None, None, words)], shape=shape)
