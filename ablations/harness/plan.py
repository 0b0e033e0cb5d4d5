"""Which cells there are to measure, in which order, and which are done."""

from collections.abc import Iterable, Sequence

from ablations.harness.cell import Cell, Device
from ablations.harness.environment import PEER_PACKAGES
from ablations.harness.experiment import Experiment, Profile
from ablations.harness.record import Environment, Record, Status
from ablations.harness.store import Plan, PlannedExperiment

RETRIED: frozenset[Status] = frozenset({"not_run"})
UNMEASURED: frozenset[Status] = frozenset({"killed", "timeout", "error"})
"""Ends that say nothing of the cell; running out of memory does."""
FAILED: frozenset[Status] = UNMEASURED | {"oom"}


def make_plan(experiments: Sequence[Experiment], profile: Profile, device: Device) -> Plan:
    """Every cell of every experiment.

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
            )
            for experiment in experiments
        ),
    )


def in_order(plan: Plan) -> tuple[Cell, ...]:
    """All cells, seeds outermost: a run that is cut short has measured everything once before anything twice."""
    cells = [cell for experiment in plan.experiments for cell in experiment.cells]
    return tuple(sorted(cells, key=lambda cell: cell.seed))


def pending(
    cells: Iterable[Cell], records: Iterable[Record], environment: Environment, *, retry_failed: bool
) -> tuple[Cell, ...]:
    """The cells without a final record from this machine with these packages.

    A record that says "not run" is not final. One that says out of memory, killed, timed out or error is, unless
    `retry_failed`: whatever else ran beside the cell may have been the cause.
    """
    again = RETRIED | FAILED if retry_failed else RETRIED
    last = {record.cell_id: record for record in records if _same_setup(record, environment)}
    return tuple(cell for cell in cells if cell.id not in last or last[cell.id].status in again)


def _same_setup(record: Record, here: Environment) -> bool:
    there = record.environment
    return there.machine == here.machine and _packages(there, record.cell) == _packages(here, record.cell)


def _packages(environment: Environment, cell: Cell) -> dict[str, str]:
    """Those that matter to the cell: a peer's package to what that peer does, and to nothing else."""
    others = {package for name, package in PEER_PACKAGES.items() if name != cell.implementation}
    return {name: version for name, version in environment.packages.items() if name not in others}
