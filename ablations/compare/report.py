"""From two sources to a report of what both hold, or the refusal to make one."""

from collections.abc import Collection, Sequence

from ablations.claims.listing import shown
from ablations.compare.comparison import Comparison, compare_machines
from ablations.compare.judge import Limits
from ablations.compare.sources import Source, matched
from ablations.compare.view import Report
from ablations.harness.errors import UserError


def compare_sources(a: Source, b: Source, limits: Limits, machine: str | None = None, *, across: bool) -> Report:
    """Every machine that both hold records of.

    Args:
        a: What to compare with.
        b: What is judged.
        limits: From where on a difference is a change.
        machine: The only machine to compare; `None` for all.
        across: Whether records of unlike environments are to be compared.

    Raises:
        UserError: There is nothing to compare, or it comes from unlike environments and nobody asked for that.
    """
    pairs = matched(a, b, machine)
    parts = tuple(compare_machines(before, after, limits) for before, after in pairs)
    if not any(part.n_matched for part in parts):
        raise UserError(f"No cell has a record both in {shown(a.name)} and in {shown(b.name)}: nothing to compare.")
    if not across:
        _refuse_unlike(parts)
    if machine is not None:
        return Report(a.name, b.name, limits, parts)
    return Report(
        a.name,
        b.name,
        limits,
        parts,
        _beside(a, {one.before for one in parts}),
        _beside(b, {one.after for one in parts}),
    )


def _beside(source: Source, compared: Collection[str]) -> tuple[str, ...]:
    """Machines of a source that have none to be compared with."""
    return tuple(name for name in source.names if name not in compared)


def _refuse_unlike(parts: Sequence[Comparison]) -> None:
    unlike = [shown(difference.text) for part in parts for difference in part.unlike]
    if unlike:
        raise UserError(
            f"A and B are of unlike environments, whose times and peaks say little of the code: {'; '.join(unlike)}. "
            "Add --across to compare them all the same."
        )
