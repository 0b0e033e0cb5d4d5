"""Figures as SVG text. The only part of the report that draws, and so the only one that imports matplotlib."""

from ablations.harness.work import Ceiling
from ablations.report.figures.attention import attention_figures
from ablations.report.figures.canvas import Figure, Quantity
from ablations.report.figures.capacity import capacity_figures
from ablations.report.figures.comparing import comparison_figures
from ablations.report.figures.constant_tokens import constant_tokens_figures, is_constant_tokens
from ablations.report.figures.duplication import duplication_figures
from ablations.report.figures.learning import learning_figure
from ablations.report.figures.recall import recall_figures
from ablations.report.figures.scaling import scaling_figure
from ablations.report.units import BYTES, SECONDS, TOKENS_PER_SECOND
from ablations.report.views import KindResults

__all__ = ["Figure", "capacity_figures", "figures"]

TIME = Quantity("time", SECONDS, lambda group: group.estimate)
MEMORY = Quantity("memory", BYTES, lambda group: group.estimate)
THROUGHPUT = Quantity("throughput", TOKENS_PER_SECOND, lambda group: group.tokens_per_second)


def figures(kind: KindResults, prefix: str, ceiling: Ceiling | None = None) -> tuple[Figure, ...]:
    """All figures of one kind of workload; none where no cell of it has a result.

    Args:
        kind: What to draw.
        prefix: A slug, unique on the page, that every figure's name begins with.
        ceiling: What the machine can do at most, for the floor of a comparison.
    """
    if not any(group.estimate for group in kind.groups):
        return ()
    if is_constant_tokens(kind):
        return constant_tokens_figures(kind, prefix)
    if kind.compares:
        return comparison_figures(kind, prefix, ceiling)
    if kind.kind == "learn":
        further = (*duplication_figures(kind, prefix), *recall_figures(kind, prefix), *attention_figures(kind, prefix))
        return (learning_figure(kind, f"{prefix}-learning"), *further)
    # Over length a step holds ever more tokens; over any other axis tokens per second is only time upside down.
    throughput = (THROUGHPUT,) if kind.kind == "time" and kind.horizontal == "length" else ()
    first = TIME if kind.kind == "time" else MEMORY
    return tuple(scaling_figure(kind, one, f"{prefix}-{one.key}") for one in (first, *throughput))
