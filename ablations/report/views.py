"""What an experiment's figures and tables both start from: series of groups along one axis, per kind of workload."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablations.harness.cell import Scope
from ablations.harness.record import Record
from ablations.harness.store import PlannedExperiment
from ablations.report import axes
from ablations.report.axes import Setting
from ablations.report.capacity import SearchResult, search_results
from ablations.report.groups import Attempt, Group, attempts_of, groups_of
from ablations.report.growth import Growth, growth
from ablations.report.lines import Fit, Point, exponent, slope
from ablations.report.statistics import CannotTell
from ablations.report.style import rank
from ablations.report.units import listed, setting

MODE_WORDS: Mapping[str, str] = {
    "forward": "forward",
    "forward_recorded": "forward, recorded for gradients",
    "backward": "backward",
    "forward_backward": "forward + backward",
    "training_step": "training step",
    "decode": "one token decoded",
    "learn": "training",
}

SCOPES: tuple[Scope, ...] = ("attention", "model")
"""In the order of a report."""


@dataclass(frozen=True)
class Series:
    """Groups of one variant in one mode that differ only along the horizontal axis.

    Attributes:
        variant: Its name.
        mode: Of the workload.
        others: Further settings that tell this series from others of the variant.
        horizontal: Name of the axis, or `None` if no number varies.
        groups: Along the axis; a variant without that setting has one group, whose place on the axis is `None`.
    """

    variant: str
    mode: str
    others: tuple[tuple[str, Setting], ...]
    horizontal: str | None
    groups: tuple[Group, ...]

    @property
    def label(self) -> str:
        """Variant and further settings: `reformer, n_hashes=4`."""
        return ", ".join([self.variant, *(f"{name}={setting(value)}" for name, value in self.others)])

    @property
    def is_reference(self) -> bool:
        """Whether the variant lacks the setting that the figure is drawn over."""
        return self.horizontal is not None and all(self.place(group) is None for group in self.groups)

    def place(self, group: Group) -> float | None:
        """Where a group stands on the horizontal axis."""
        value = group.settings.get(self.horizontal or "")
        return None if isinstance(value, str) else value

    def fit(self) -> Fit | CannotTell:
        """Exponent over length, slope over any other axis, through the points that have a result."""
        if self.is_reference or self.horizontal is None:
            return CannotTell(f"{self.variant} has no {self.horizontal}" if self.horizontal else "nothing varies")
        return exponent(self.points) if self.horizontal == "length" else slope(self.points)

    def growth(self) -> Growth | CannotTell:
        """A constant and a power of the horizontal axis, through the points that have a result."""
        return growth(self.points)

    @property
    def points(self) -> list[Point]:
        """Place and estimate of every group that has both."""
        return [(x, g.estimate) for g in self.groups if g.estimate and (x := self.place(g)) is not None]

    @property
    def support(self) -> str:
        """The places that a fit goes through, and those without a result, which it does not."""
        fit = self.fit()
        used = listed(fit.xs) if isinstance(fit, Fit) else self._results_at
        return "; ".join(part for part in (used, self.gaps) if part)

    @property
    def _results_at(self) -> str:
        return f"results at {listed([x for x, _ in self.points])}" if self.points else ""

    @property
    def gaps(self) -> str:
        """The places without a result and what became of them; empty without any."""
        found: dict[str, list[Setting]] = {}
        for group in self.groups:
            if group.estimate is None:
                found.setdefault(group.failure_words, []).append(group.settings.get(self.horizontal or "", "any"))
        gaps = [f"{listed(places)} ({words})" for words, places in found.items()]
        return f"no result at {', '.join(gaps)}" if gaps else ""


@dataclass(frozen=True)
class KindResults:
    """All groups of one kind of workload in an experiment, whole models or attention alone.

    Attributes:
        kind: `time`, `memory` or `learn`.
        scope: What takes the steps.
        columns: Settings that a table needs a column for.
        independent: Those that tell series and places apart.
        horizontal: The one that figures are drawn over, or `None` if no number varies.
        groups: In order of the plan.
    """

    kind: str
    scope: Scope
    columns: tuple[str, ...]
    independent: tuple[str, ...]
    horizontal: str | None
    groups: tuple[Group, ...]

    @property
    def compares(self) -> bool:
        """Whether there is another's code among them."""
        return any(group.cell.implementation != "ours" for group in self.groups)

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes present, forward first."""
        present = {group.mode for group in self.groups}
        return tuple(mode for mode in MODE_WORDS if mode in present)

    def series(self, mode: str) -> tuple[Series, ...]:
        """Series of one mode, in the fixed order of variants, then by their settings' values."""
        found: dict[tuple[str, tuple[tuple[str, Setting], ...]], list[Group]] = {}
        for group in self.groups:
            if group.mode == mode:
                found.setdefault((group.variant, self._others(group)), []).append(group)
        series = [
            Series(variant, mode, others, self.horizontal, tuple(self._along(groups)))
            for (variant, others), groups in found.items()
        ]
        return tuple(sorted(series, key=lambda one: (rank(one.variant), self._values(one))))

    def _values(self, series: Series) -> list[tuple[bool, float, str]]:
        others = dict(series.others)
        return [_sortable(others.get(name)) for name in self.independent]

    def _others(self, group: Group) -> tuple[tuple[str, Setting], ...]:
        names = [name for name in self.independent if name != self.horizontal and name in group.settings]
        return tuple((name, group.settings[name]) for name in names)

    def _along(self, groups: Iterable[Group]) -> list[Group]:
        return sorted(groups, key=lambda group: _sortable(group.settings.get(self.horizontal or "")))

    def ordered(self, mode: str) -> tuple[Group, ...]:
        """Groups of one mode as a table lists them: by the columns' values, variants side by side."""
        groups = [group for group in self.groups if group.mode == mode]
        return tuple(sorted(groups, key=lambda group: (self._key(group), rank(group.variant))))

    def _key(self, group: Group) -> tuple[tuple[bool, float, str], ...]:
        return tuple(_sortable(group.settings.get(name)) for name in self.columns)


def _sortable(value: Setting | None) -> tuple[bool, float, str]:
    return (value is not None, 0.0, value) if isinstance(value, str) else (value is not None, value or 0.0, "")


@dataclass(frozen=True)
class ExperimentResults:
    """A planned experiment with what became of each of its cells, those that its searches tried among them."""

    planned: PlannedExperiment
    attempts: tuple[Attempt, ...]
    kinds: tuple[KindResults, ...]
    searches: tuple[SearchResult, ...]

    def kind(self, name: str) -> KindResults | None:
        """The results of one kind of workload on whole models, if the experiment has it."""
        return next((kind for kind in self.kinds if (kind.kind, kind.scope) == (name, "model")), None)


def experiment_results(planned: PlannedExperiment, records: Sequence[Record]) -> ExperimentResults:
    """Match records with the plan and sum them up. Records of cells that the plan does not have are left alone."""
    searches = search_results(planned.searches, {record.cell.id: record for record in records})
    probes = (cell for one in searches for cell in one.finding.cells)
    attempts = attempts_of((*planned.cells, *probes), records)
    groups = groups_of(attempts)
    kinds = (_kind_results(kind, scope, groups) for scope in SCOPES for kind in ("time", "memory", "learn"))
    return ExperimentResults(planned, attempts, tuple(kind for kind in kinds if kind.groups), searches)


def _kind_results(kind: str, scope: Scope, groups: Sequence[Group]) -> KindResults:
    own = tuple(group for group in groups if (group.kind, group.cell.scope) == (kind, scope))
    cells = [group.cell for group in own]
    return KindResults(kind, scope, axes.shown(cells), axes.independent(cells), axes.horizontal(cells), own)
