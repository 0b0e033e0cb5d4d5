"""From planned cells and records to groups: cells that differ in nothing but their seed, summed up as one estimate."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ablations.harness.cell import Cell
from ablations.harness.measurement import LearningCurve, Measurement, PeakBytes, StepTimes
from ablations.harness.record import Record
from ablations.report.axes import Setting, settings
from ablations.report.statistics import Estimate, median_of_medians, of_readings, per
from ablations.report.style import STATUS_WORDS


@dataclass(frozen=True)
class Attempt:
    """A planned cell and its record, if there is one."""

    cell: Cell
    record: Record | None

    @property
    def status(self) -> str:
        """The record's status, or `missing`."""
        return self.record.status if self.record else "missing"

    @property
    def words(self) -> str:
        """The status as a reader sees it."""
        return STATUS_WORDS[self.status]

    @property
    def reason(self) -> str:
        """Why there is no measurement, in words."""
        return "not run yet" if self.record is None else self.record.reason or ""


@dataclass(frozen=True)
class Group:
    """Cells that differ only in their seed.

    Attributes:
        attempts: In the order of their seeds.
        settings: What `axes.settings` says of the cells, but for the seed.
        estimate: Of the step's seconds, its peak bytes, or bits per byte; `None` without a result.
    """

    attempts: tuple[Attempt, ...]
    settings: Mapping[str, Setting]
    estimate: Estimate | None

    @property
    def cell(self) -> Cell:
        """The first cell, which stands for all but for its seed."""
        return self.attempts[0].cell

    @property
    def variant(self) -> str:
        """The variant's name; of another implementation, whose code it is."""
        return self.cell.contender

    @property
    def kind(self) -> str:
        """Kind of workload: `time`, `memory`, `learn` or `ceiling`."""
        return self.cell.workload.kind

    @property
    def mode(self) -> str:
        """Of a step; the kind of a workload that has no modes."""
        return self.cell.mode

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Of the attempts that succeeded."""
        return tuple(a.record.measurement for a in self.attempts if a.record and a.record.measurement)

    @property
    def step_times(self) -> tuple[StepTimes, ...]:
        """Measurements of time."""
        return tuple(m for m in self.measurements if isinstance(m, StepTimes))

    @property
    def peaks(self) -> tuple[PeakBytes, ...]:
        """Measurements of memory."""
        return tuple(m for m in self.measurements if isinstance(m, PeakBytes))

    @property
    def curves(self) -> tuple[LearningCurve, ...]:
        """Measurements of learning."""
        return tuple(m for m in self.measurements if isinstance(m, LearningCurve))

    @property
    def times_by_seed(self) -> Mapping[int, StepTimes]:
        """Measurements of time of each round."""
        found = ((a.cell.seed, a.record.measurement) for a in self.attempts if a.record)
        return {seed: times for seed, times in found if isinstance(times, StepTimes)}

    @property
    def peaks_by_seed(self) -> Mapping[int, PeakBytes]:
        """Measurements of memory of each round."""
        found = ((a.cell.seed, a.record.measurement) for a in self.attempts if a.record)
        return {seed: peak for seed, peak in found if isinstance(peak, PeakBytes)}

    @property
    def steady(self) -> bool:
        """Whether every process had settled before its samples were taken."""
        return all(times.steady for times in self.step_times)

    @property
    def contended(self) -> bool:
        """Whether others took the processors from any process while its samples were taken."""
        return any(times.contended for times in self.step_times)

    @property
    def host_bound(self) -> bool:
        """Whether in any process the GPU waited for the host."""
        return any(times.host_bound for times in self.step_times)

    @property
    def throttled(self) -> bool:
        """Whether heat or power supply slowed the device down in the last attempt at any cell with a result."""
        states = (a.record.device_state for a in self.attempts if a.record and a.record.measurement)
        return any(state is not None and state.throttled for state in states)

    @property
    def failures(self) -> tuple[tuple[str, int], ...]:
        """Statuses other than ok and how often each occurred, in the order of `STATUS_WORDS`."""
        counts = Counter(attempt.status for attempt in self.attempts)
        return tuple((status, counts[status]) for status in STATUS_WORDS if status != "ok" and counts[status])

    @property
    def failure_words(self) -> str:
        """What became of a group without a result: `out of memory`."""
        return ", ".join(STATUS_WORDS[status] for status, _ in self.failures) or "no evaluation"

    @property
    def tokens_per_second(self) -> Estimate | None:
        """Of time measurements: tokens of a step divided by its seconds."""
        if self.estimate is None or not self.step_times:
            return None
        return per(self.step_times[0].tokens_per_step, self.estimate)


def attempts_of(cells: Iterable[Cell], records: Sequence[Record]) -> tuple[Attempt, ...]:
    """Each planned cell, in order, with its record."""
    # By today's id, not by the stored one: a record upgraded from an older schema belongs to the cell it now holds.
    by_id = {record.cell.id: record for record in records}
    return tuple(Attempt(cell, by_id.get(cell.id)) for cell in cells)


def groups_of(attempts: Sequence[Attempt]) -> tuple[Group, ...]:
    """Attempts grouped by everything but seed, in order of first appearance."""
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.cell.model_copy(update={"seed": 0}).id, []).append(attempt)
    return tuple(_group(sorted(members, key=lambda attempt: attempt.cell.seed)) for members in groups.values())


def _group(attempts: Sequence[Attempt]) -> Group:
    group = Group(tuple(attempts), settings(attempts[0].cell), estimate=None)
    return replace(group, estimate=_estimate(group))


def _estimate(group: Group) -> Estimate | None:
    if times := group.step_times:
        return median_of_medians([samples(one) for one in times])
    if peaks := group.peaks:
        exact = all(peak.method == "profiler_allocation_events" for peak in peaks)
        return of_readings([peak.peak_bytes for peak in peaks], exact=exact)
    if curves := [curve for curve in group.curves if curve.evaluations]:
        return of_readings([curve.evaluations[-1].bits_per_token for curve in curves], exact=False)
    return None


def samples(times: StepTimes) -> tuple[float, ...]:
    """Seconds per step: by the device's own clock where it has one, else by the wall clock."""
    return times.wall_seconds if times.device_seconds is None else times.device_seconds
