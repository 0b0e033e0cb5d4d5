"""The longest sequence of each variant within a memory budget."""

from collections.abc import Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.report.capacity import SearchResult, by_budget
from ablations.report.figures import canvas, scales
from ablations.report.figures.canvas import Figure
from ablations.report.figures.failures import STATUS_MARKERS
from ablations.report.style import STATUS_WORDS, look, rank
from ablations.report.svg import slug

TITLE = "Longest sequence that trains"
CAPTION = (
    f"{TITLE} within a memory budget. Each line ends at the longest length that trained; a cross marks the shortest "
    "that ran out of memory, an open marker a length beyond which nothing was tried or found."
)


def capacity_figures(results: Sequence[SearchResult], prefix: str) -> tuple[Figure, ...]:
    """One figure, a panel per budget; none as long as no length is known to fit.

    Args:
        results: Of searches that differ in variant and budget; of several that differ in something else all are drawn.
        prefix: A slug, unique on the page, that the figure's name begins with.
    """
    if not any(one.finding.fits for one in results):
        return ()
    name = f"{prefix}-capacity"
    budgets = by_budget(results)
    variants = sorted({one.variant for one in results}, key=rank)
    with canvas.styled(name):
        drawing, panels = canvas.side_by_side(len(budgets))
        for axes, (budget, within) in zip(panels, budgets, strict=True):
            _panel(axes, budget, within, variants)
        panels[0].set_yticks(range(len(variants)), variants)
        panels[0].set_ylim(len(variants) - 0.5, -0.5)
        canvas.legend(drawing, _handles())
        values = " ".join(f"{one.variant}, {one.budget}: {one.longest} ({one.stopped_by})." for one in results)
        return (canvas.finished(drawing, name, title=TITLE, caption=CAPTION, values=values),)


def _panel(axes: Axes, budget: str, results: Sequence[SearchResult], variants: Sequence[str]) -> None:
    axes.set_title(budget, loc="left")
    known = [length for one in results for length in (one.finding.fits, one.finding.fails) if length]
    scales.along_lengths(axes, _powers(known))
    for one in results:
        _draw(axes, one, float(variants.index(one.variant)))
    sns.despine(ax=axes)


def _powers(lengths: Sequence[int]) -> list[float]:
    """Powers of two from below the shortest length to above the longest."""
    if not lengths:
        return [1.0, 2.0]
    first, last = min(lengths).bit_length() - 2, (max(lengths) - 1).bit_length()
    return [2.0**power for power in range(max(0, first), last + 1)]


def _draw(axes: Axes, result: SearchResult, y: float) -> None:
    colour, marker = look(result.variant).colour, look(result.variant).marker
    fits, fails, of = result.finding.fits, result.finding.fails, slug(result.variant)
    if fits:
        face = colour if result.exact else "white"
        axes.plot([axes.get_xlim()[0], fits], [y, y], color=colour)
        axes.plot(
            [fits], [y], marker=marker, color=colour, markerfacecolor=face, linestyle="none", gid=f"fits-{of}-{fits}"
        )
    if fails:
        axes.plot([fails], [y], marker=STATUS_MARKERS["oom"], color=colour, markeredgewidth=2, gid=f"oom-{of}-{fails}")


def _handles() -> list[Line2D]:
    fits, at_least, oom = (Line2D([], [], color=canvas.NEUTRAL, linestyle="none") for _ in range(3))
    fits.set(marker="o", label="longest that trained")
    at_least.set(marker="o", markerfacecolor="white", label="at least")
    oom.set(marker=STATUS_MARKERS["oom"], markeredgewidth=2, label=STATUS_WORDS["oom"])
    return [fits, at_least, oom]
