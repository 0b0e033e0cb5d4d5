"""The table of single sizes that were to train within a memory budget: which did, and which ran out of memory."""

from collections.abc import Sequence

from ablations.harness.cell import Capacity
from ablations.harness.measurement import Trained
from ablations.report import axes
from ablations.report.capacity_tables import ON_CPU, ON_GPU
from ablations.report.groups import Attempt, Group, groups_of
from ablations.report.style import rank
from ablations.report.table import NOTHING, Column, Row, Table, setting_columns
from ablations.report.units import BYTES, TRAINING_SECONDS, count, setting, with_range

ALWAYS = ("length", "n_layers")
"""What a budget is spent on: told even where nothing else was tried."""


def budget_table(attempts: Sequence[Attempt]) -> tuple[Table, ...]:
    """A row per group that differs in nothing but its seed; none without a result.

    Args:
        attempts: At planned cells; what a search tried has a table of its own.
    """
    asked = [attempt for attempt in attempts if isinstance(attempt.cell.workload, Capacity)]
    groups = sorted(groups_of(asked), key=lambda group: rank(group.variant))
    if all(attempt.status == "missing" for attempt in asked):
        return ()
    others = axes.shown([group.cell for group in groups])
    names = (*ALWAYS, *(name for name in others if name not in (*ALWAYS, "budget_bytes")))
    columns = (
        *setting_columns(names, [group.settings for group in groups]),
        Column("variant", numeric=False),
        Column("memory budget"),
        Column("two training steps", numeric=False),
        Column("seconds of the second"),
        Column("n"),
    )
    devices = {group.cell.device for group in groups}
    notes = (
        "Two steps of Adam, parameters, gradients and Adam's state included.",
        *([ON_CPU] if "cpu" in devices else []),
        *([ON_GPU] if "cuda" in devices else []),
    )
    return (Table("Training within a memory budget", columns, tuple(_row(one, names) for one in groups), notes),)


def _row(group: Group, names: Sequence[str]) -> Row:
    found = [one for one in group.measurements if isinstance(one, Trained)]
    leading = (*(setting(group.settings[name]) if name in group.settings else NOTHING for name in names), group.variant)
    budget = group.settings.get("budget_bytes")
    within = "what was free" if budget is None else BYTES.text(float(budget))
    if group.failures:
        return Row(
            (*leading, within, group.failure_words, NOTHING, count(len(group.attempts), "process", "processes")),
            ok=False,
        )
    seconds = with_range([one.seconds for one in found], TRAINING_SECONDS)
    return Row((*leading, within, "fit", seconds, count(len(found), "process", "processes")))
