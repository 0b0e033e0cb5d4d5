"""The table of exactness: how far two ways to compute the same thing lie apart, and how many parameters there are."""

from collections.abc import Mapping, Sequence

from ablations.harness.cell import Exactness
from ablations.harness.measurement import Discrepancy
from ablations.report import axes
from ablations.report.groups import Attempt, Group, groups_of
from ablations.report.style import rank
from ablations.report.table import NOTHING, Column, Row, Table, setting_columns
from ablations.report.units import count, listed, setting

CHECKS: Mapping[str, str] = {
    "inversion": "Inversion: the layers' input against what undoing the layers makes of their output.",
    "chunking": "Chunking: loss and gradients with the feed-forward half in chunks against those in one piece.",
    "parameters": "Parameters: nothing is computed, the parameters are counted.",
}


def exactness_table(attempts: Sequence[Attempt]) -> tuple[Table, ...]:
    """A row per group that differs in nothing but its seed; none where nothing was checked."""
    groups = [group for group in groups_of(_checked(attempts)) if _found(group)]
    if not groups:
        return ()
    names = axes.shown([group.cell for group in groups])
    titles = ("largest difference", "of values up to", "relative difference", "compared", "parameters", "n")
    columns = (
        *setting_columns(names, [group.settings for group in groups]),
        Column("variant", numeric=False),
        *map(Column, titles),
    )
    rows = tuple(_row(group, names) for group in sorted(groups, key=lambda group: rank(group.variant)))
    present = {str(group.settings["check"]) for group in groups}
    notes = (
        *(words for check, words in CHECKS.items() if check in present),
        "Of several seeds the largest. Relative: root of the mean square of the differences over that of the values.",
    )
    return (Table("Exactness", columns, rows, notes),)


def _checked(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if isinstance(attempt.cell.workload, Exactness)]


def _found(group: Group) -> list[Discrepancy]:
    return [found for found in group.measurements if isinstance(found, Discrepancy)]


def _row(group: Group, names: Sequence[str]) -> Row:
    found = _found(group)
    leading = (*(setting(group.settings[name]) if name in group.settings else NOTHING for name in names), group.variant)
    parameters, seeds = listed(sorted({one.n_parameters for one in found})), count(len(found), "seed")
    if not any(one.n_compared for one in found):
        return Row((*leading, *[NOTHING] * 4, parameters, seeds))
    return Row(
        (
            *leading,
            f"{max(one.largest_difference for one in found):.2g}",
            f"{max(one.largest_value for one in found):.2g}",
            f"{max(one.relative_difference for one in found):.2g}",
            listed(sorted({one.n_compared for one in found})),
            parameters,
            seeds,
        )
    )
