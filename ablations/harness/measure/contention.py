"""What everything but this process took of its processors while something was measured."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""Of a processor in /proc/stat. What guests took, which stands behind them, is in `user` already."""
SHORTEST_SECONDS = 0.4
"""The kernel counts ticks of 10 ms for each processor: below this a single one is more than a fortieth of the time."""


class Moment(NamedTuple):
    """Where the clocks stood.

    Attributes:
        wall: Seconds by the wall clock.
        own: Seconds of processor time of this process.
        stat: Text of /proc/stat, or `None` where the system has none.
    """

    wall: float
    own: float
    stat: str | None


def read_stat() -> str | None:
    """The kernel's counters of its processors, or `None` where it shows none."""
    try:
        return Path("/proc/stat").read_text()
    except OSError:
        return None


def others_seconds(began: Moment, ended: Moment, *, measured: float) -> tuple[float | None, str | None]:
    """Processor time that others took, or `None` and the reason.

    Others are everything that kept the processors busy which this process may use, but for itself: other processes,
    the kernel's interrupts, and what the hypervisor gave to other machines.

    Args:
        began: When the time in question began.
        ended: When it ended.
        measured: Seconds that steps took of it; what lay between them is taken to have had its share of the others.
    """
    window = ended.wall - began.wall
    if began.stat is None or ended.stat is None:
        return None, "the system has no /proc/stat"
    if window < SHORTEST_SECONDS:
        return None, f"samples took {window:.2g} s, too short for processor time that is counted in ticks of 10 ms"
    processors = _processors()
    busy = busy_seconds(ended.stat, processors) - busy_seconds(began.stat, processors)
    if busy == 0:
        return None, "/proc/stat counts nothing on this system"
    return max(0.0, busy - (ended.own - began.own)) * measured / window, None


def busy_seconds(stat: str, processors: Collection[int]) -> float:
    """How long these processors have been busy since the system started, added up."""
    ticks = 0
    for line in stat.splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu" and int(name.removeprefix("cpu")) in processors:
            taken = dict(zip(FIELDS, map(int, counts), strict=False))
            ticks += sum(taken[field] for field in BUSY)
    return ticks / os.sysconf("SC_CLK_TCK")


def _processors() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
