"""What all sentences of an answer share: which results stand at their ends, and how sure a number is."""

from collections.abc import Sequence
from typing import TypeVar

from ablations.report.groups import Group
from ablations.report.statistics import Estimate
from ablations.report.units import Unit, count, interval_text
from ablations.report.views import KindResults, Series

OF_INTEREST = ("reformer", "ours", "lsh_only", "reversible_only", "reversible_separate_qk")
"""What an experiment on cost is about: the first of these that it has."""

SET_AGAINST = ("dense", "query_chunked", "dense_query_chunked", "transformer", "lsh_only", "huggingface")
"""What that is set against: the first of these that it has, else what comes first in the order of reports."""

Of = TypeVar("Of")

Ends = tuple[Series, Group]
"""A series and one of its groups, which has a result."""


def ends(kind: KindResults, mode: str) -> list[Ends]:
    """All groups of one mode that have a result, in the order of reports."""
    return [(series, group) for series in kind.series(mode) for group in series.groups if group.estimate]


def first_and_last(settings: Sequence[Of]) -> list[Of]:
    """Of several settings of one variant those at the ends: the best of them is not picked out."""
    return [*settings[:1], *settings[1:][-1:]]


def are_alike(mine: Series, other: Series) -> bool:
    """Whether they agree in all settings that both vary."""
    ours, theirs = dict(mine.others), dict(other.others)
    return all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())


def sure(estimate: Estimate, unit: Unit, one: str) -> str:
    """The interval, and n: `95 % interval 0.31 to 0.44, n = 3 rounds`."""
    words = interval_text(estimate, unit).replace("one process", f"one {one} has no interval")
    named = "95 % interval " if estimate.interval and estimate.interval.kind == "95 %" else ""
    return f"{named}{words}, n = {count(estimate.n_processes, one)}"


def undecided(estimate: Estimate, equal: float) -> str:
    """What to add where the interval holds the value at which both are equal."""
    interval = estimate.interval
    decided = interval is None or interval.kind != "95 %" or not interval.low <= equal <= interval.high
    return "" if decided else "; whether that is more or less cannot be told"
