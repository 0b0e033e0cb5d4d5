"""Which cells there are to measure, in which order, and which are done."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ablations.harness.cell import OUTSIDE, Cell, Device
from ablations.harness.environment import PEER_PACKAGES, hardware
from ablations.harness.experiment import Experiment, Profile
from ablations.harness.measurement import LearningCurve
from ablations.harness.record import Environment, Record, Status
from ablations.harness.search import Search, found
from ablations.harness.store import Plan, PlannedExperiment

UNMEASURED: frozenset[Status] = frozenset({"killed", "timeout", "error"})
"""Ends that say nothing of the cell; running out of memory does."""
ATTEMPTS = 3
"""How often a cell may end so before it is left alone. The cause may lie outside it: another process that took the
memory, a machine that was suspended, a mistake that was mended since."""


def make_plan(
    experiments: Sequence[Experiment],
    profile: Profile,
    device: Device,
    *,
    axes: Sequence[str] = (),
    memory_budget: str | None = None,
) -> Plan:
    """Every cell and every search of every experiment.

    Args:
        experiments: With the options below already in their grids and searches.
        profile: Which of their scales.
        device: Where cells run.
        axes: The options `--axis`, noted beside what they led to.
        memory_budget: The option `--memory-budget`, noted where there are searches, which alone it changes.

    Raises:
        UserError: An experiment's grid holds something that cannot exist.
    """
    return Plan(
        experiments=tuple(
            PlannedExperiment(
                profile=profile,
                name=experiment.name,
                title=experiment.title,
                question=experiment.question,
                cells=experiment.cells(profile, device),
                searches=experiment.searches(profile, device),
                axes=tuple(axes),
                memory_budget=memory_budget if experiment.scales[profile].searches else None,
            )
            for experiment in experiments
        ),
    )


def in_order(plan: Plan) -> tuple[Cell, ...]:
    """All cells of grids, seeds outermost: a run that is cut short has measured all of them once before any twice."""
    cells = [cell for experiment in plan.experiments for cell in experiment.cells]
    return tuple(sorted(cells, key=lambda cell: cell.seed))


def searches_of(plan: Plan) -> tuple[Search, ...]:
    """All searches, in running order."""
    return tuple(search for experiment in plan.experiments for search in experiment.searches)


def with_probes(plan: Plan, statuses: Mapping[str, Status]) -> tuple[Cell, ...]:
    """All cells of grids, then of each search those it has come to, the next one among them."""
    probes = (cell for search in searches_of(plan) for cell in found(search, statuses).cells)
    return (*in_order(plan), *probes)


def settled(records: Iterable[Record], environment: Environment, *, retry_failed: bool) -> dict[str, Status]:
    """What became of the cells, by id, that have a final record from this machine with these packages.

    A record that says "not run" is never final, nor is one of training from before schema 5, whose batches were drawn
    otherwise: beside today's it would be compared with what saw other data. One that says killed, timed out or error is
    final if the cell has ended so `ATTEMPTS` times; one that says out of memory, at once. With `retry_failed` neither
    of these is.
    """
    last: dict[str, Status] = {}
    failures: Counter[str] = Counter()
    for record in records:
        if _same_setup(record, environment) and not _saw_other_batches(record):
            last[record.cell_id] = record.status
            failures[record.cell_id] += record.status in UNMEASURED
    return {
        cell_id: status
        for cell_id, status in last.items()
        if _is_final(status, failures[cell_id], retry_failed=retry_failed)
    }


def _is_final(status: Status, n_failures: int, *, retry_failed: bool) -> bool:
    if status in UNMEASURED:
        return n_failures >= ATTEMPTS and not retry_failed
    return status != "not_run" and not (status == "oom" and retry_failed)


def pending(
    cells: Iterable[Cell], records: Iterable[Record], environment: Environment, *, retry_failed: bool
) -> tuple[Cell, ...]:
    """The cells that are not settled."""
    done = settled(records, environment, retry_failed=retry_failed)
    return tuple(cell for cell in cells if cell.id not in done)


def _same_setup(record: Record, here: Environment) -> bool:
    there = record.environment
    packages, expected = (relevant_packages(one, record.cell) for one in (there, here))
    return hardware(there) == hardware(here) and packages == expected


def _saw_other_batches(record: Record) -> bool:
    return isinstance(record.measurement, LearningCurve) and record.measurement.peak_bytes is None


def relevant_packages(environment: Environment, cell: Cell) -> dict[str, str]:
    """Versions, by name: a peer's or a contender's only where that one's code is what the cell measures."""
    others = {package for name, package in PEER_PACKAGES.items() if name != cell.implementation}
    others |= {name for name in environment.packages if name.startswith(OUTSIDE) and name != cell.implementation}
    return {name: version for name, version in environment.packages.items() if name not in others}
