"""How far above its floor a time lies, how well it uses the machine, and what bounds it, as tables show it."""

from collections.abc import Sequence

from ablations.harness.work import Ceiling, Work, work_of
from ablations.report.groups import Group
from ablations.report.table import NOTHING
from ablations.report.units import PERCENT, RATIO, SECONDS
from ablations.report.views import KindResults

FLOOR_TITLES = ("floor", "over floor", "utilisation", "bound by")

BELOW_FLOOR = "‼"
BELOW_FLOOR_NOTE = (
    f"{BELOW_FLOOR} Below the floor: check. What it reads may lie in a cache, which the floor does not assume; else a "
    "count or a ceiling is wrong."
)
NO_FLOOR_NOTE = "No floor: this machine's ceilings were not measured."
MODEL_FLOOR_NOTE = (
    "Floor: the least that a step can take on this machine: operations of all matrix products, none done twice, over "
    "the fastest one, or what goes into and comes out of attention, the weights and their gradients over the fastest "
    "copy, whichever is longer."
)
UTILISATION_NOTE = (
    "Utilisation: operations of matrix products, none done twice, over those of the fastest product in the same time. "
    "Bound by: which of the two makes the floor, operations (compute) or bytes (memory)."
)


def floor_cells(seconds: float | None, work: Work, dtype: str, ceiling: Ceiling | None) -> tuple[str, str, str, str]:
    """One text per title of `FLOOR_TITLES`, for something that took so long or has no result; marked if below."""
    floor = ceiling.seconds(work, dtype) if ceiling else None
    if ceiling is None or not floor:
        return (NOTHING, NOTHING, NOTHING, NOTHING)
    bound = ceiling.bound(work, dtype) or NOTHING
    if seconds is None:
        return (SECONDS.text(floor), NOTHING, NOTHING, bound)
    mark = f" {BELOW_FLOOR}" if seconds < floor else ""
    used = PERCENT.text(ceiling.utilisation(work, dtype, seconds) or 0.0)
    return (SECONDS.text(floor), RATIO.text(seconds / floor) + mark, used, bound)


def group_floor_cells(group: Group, ceiling: Ceiling | None) -> tuple[str, str, str, str]:
    """The same of a group of timed steps."""
    seconds = group.estimate.value if group.estimate else None
    return floor_cells(seconds, work_of(group.cell), group.cell.dtype, ceiling)


def floor_seconds(group: Group, ceiling: Ceiling | None) -> float | None:
    """The least that a step of the group can take here; `None` without a measured ceiling."""
    return None if ceiling is None else ceiling.seconds(work_of(group.cell), group.cell.dtype)


def is_below_floor(group: Group, ceiling: Ceiling | None) -> bool:
    """Whether it took less than the floor says: a cache may have helped, or a count or the ceiling is wrong."""
    floor = floor_seconds(group, ceiling) if group.kind == "time" else None
    return floor is not None and group.estimate is not None and group.estimate.value < floor


def below_floor(kinds: Sequence[KindResults], ceiling: Ceiling | None) -> tuple[str, ...]:
    """A sentence on each group that took less than the floor says."""
    return tuple(
        f"Below the floor, to be checked: {group.cell.description.rsplit(' seed=')[0]}."
        for kind in kinds
        for group in kind.groups
        if is_below_floor(group, ceiling)
    )
