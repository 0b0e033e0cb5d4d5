"""One machine's results as claims ask for them: groups of cells of an experiment, or why there are none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ablations.harness.record import Record
from ablations.harness.store import MachineResults, PlannedExperiment
from ablations.report.axes import Setting
from ablations.report.capacity import search_results
from ablations.report.groups import Attempt, Group, attempts_of, groups_of
from ablations.report.units import count

MOST_REASONS = 3
"""Told of an experiment without a result; further ones are counted."""


MOST_NAMES = 6
"""Of groups whose times are not to be trusted; further ones are counted."""


class NoEvidenceError(Exception):
    """Records do not tell, and this is why: the message stands in the report."""


@dataclass(frozen=True)
class Evidence:
    """What one machine's records tell.

    A condition names `kind`, `scope`, `variant`, `mode`, `implementation`, or any setting of
    `ablations.report.axes.settings`, such as `length`, `n_hashes` or `d_ff`; a setting that a cell lacks is `None`.

    Attributes:
        results: Of that machine: its plan, and the newest record of each cell.
    """

    results: MachineResults

    @cached_property
    def _by_experiment(self) -> Mapping[str, tuple[Group, ...]]:
        records: dict[str, list[Record]] = {}
        for record in self.results.records:
            records.setdefault(record.cell.experiment, []).append(record)
        plan = self.results.plan.experiments
        return {one.name: groups_of(attempts_at(one, records.get(one.name, []))) for one in plan}

    def planned(self, experiment: str) -> PlannedExperiment | None:
        """The experiment as it was asked for here, if it was."""
        return next((one for one in self.results.plan.experiments if one.name == experiment), None)

    def groups(self, experiment: str, **conditions: Setting | None) -> tuple[Group, ...]:
        """Planned groups that meet the conditions, with a result or without.

        Raises:
            NoEvidenceError: There is none.
        """
        if experiment not in self._by_experiment:
            raise NoEvidenceError(f"{experiment} was not asked for on this machine")
        found = tuple(group for group in self._by_experiment[experiment] if meets(group, conditions))
        if not found:
            words = ", ".join(f"{name}={value}" for name, value in conditions.items())
            raise NoEvidenceError(f"{experiment} has no cells with {words}")
        return found

    def measured(self, experiment: str, **conditions: Setting | None) -> tuple[Group, ...]:
        """Those of `groups` that have a result.

        Raises:
            NoEvidenceError: None has; the message says what became of them.
        """
        planned = self.groups(experiment, **conditions)
        found = tuple(group for group in planned if group.measurements)
        if not found:
            raise NoEvidenceError(f"{experiment}: {why_not(planned)}")
        return found

    def one(self, experiment: str, **conditions: Setting | None) -> Group:
        """The only group with a result.

        Raises:
            NoEvidenceError: There is none, or several, so that the conditions do not say which is meant.
        """
        found = self.measured(experiment, **conditions)
        if len(found) > 1:
            words = "; ".join(label(group) for group in found)
            raise NoEvidenceError(f"{experiment} has several groups where one is compared: {words}")
        return found[0]


def attempts_at(planned: PlannedExperiment, records: Sequence[Record]) -> tuple[Attempt, ...]:
    """What became of each cell of an experiment, those that its searches tried among them."""
    searches = search_results(planned.searches, {record.cell.id: record for record in records})
    probes = (cell for one in searches for cell in one.finding.cells)
    return attempts_of((*planned.cells, *probes), records)


def meets(group: Group, conditions: Mapping[str, Setting | None]) -> bool:
    """Whether the group's cells are as told."""
    return all(value_of(group, name) == wanted for name, wanted in conditions.items())


def value_of(group: Group, name: str) -> Setting | None:
    """What a condition of that name compares with."""
    named: Mapping[str, Setting] = {
        "kind": group.kind,
        "scope": group.cell.scope,
        "variant": group.variant,
        "mode": group.mode,
        "implementation": group.cell.implementation,
    }
    return named.get(name, group.settings.get(name))


def label(group: Group) -> str:
    """A group in a few words: `dense length=1024 n_layers=2`."""
    cell = group.cell
    rounds = group.settings.get("n_hashes")
    return " ".join(
        [
            group.variant,
            f"length={cell.length}",
            *([f"n_layers={cell.config.n_layers}"] if cell.scope == "model" else []),
            *([f"n_hashes={rounds}"] if rounds is not None else []),
        ]
    )


def why_not(groups: Iterable[Group]) -> str:
    """What became of groups without a result: `not run yet (3 cells)`."""
    attempts = [attempt for group in groups for attempt in group.attempts if attempt.status != "ok"]
    counts = Counter(_reason(attempt) for attempt in attempts)
    told = [f"{reason} ({count(number, 'cell')})" for reason, number in counts.most_common(MOST_REASONS)]
    left = len(counts) - len(told)
    return "; ".join([*told, *([f"and {count(left, 'further reason')}"] if left else [])])


def _reason(attempt: Attempt) -> str:
    return attempt.reason if attempt.record is None else f"{attempt.words}: {attempt.reason}"


def distinct(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Each group once."""
    return tuple({group.cell.id: group for group in groups}.values())


def ids(groups: Iterable[Group]) -> tuple[str, ...]:
    """Ids of all cells with a record, each once."""
    return tuple(dict.fromkeys(one.cell.id for group in groups for one in group.attempts if one.record))


def caveats(groups: Sequence[Group]) -> tuple[str, ...]:
    """Which of the times are not to be trusted, by name, and why; empty if all are."""
    times = [group for group in distinct(groups) if group.step_times]
    told = {
        "taken while others used the processors": [label(group) for group in times if group.contended],
        "taken on a throttled device": [label(group) for group in times if group.throttled],
        "in which the GPU waited for the host": [label(group) for group in times if group.host_bound],
        "not settled before sampling": [label(group) for group in times if not group.steady],
    }
    return tuple(f"times {words}: {_first(names)}" for words, names in told.items() if names)


def _first(names: Sequence[str]) -> str:
    left = len(names) - MOST_NAMES
    return ", ".join([*names[:MOST_NAMES], *([f"and {left} more"] if left > 0 else [])])
