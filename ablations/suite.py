"""The table of contents: every experiment, in running order."""

from collections.abc import Sequence

from ablations.experiments import ceilings, depth, hash_rounds, learn_enwik8, max_length, peers, sequence_length
from ablations.harness.cell import Device
from ablations.harness.errors import UserError
from ablations.harness.experiment import Experiment, Profile

EXPERIMENTS: tuple[Experiment, ...] = (
    sequence_length.EXPERIMENT,
    hash_rounds.EXPERIMENT,
    depth.EXPERIMENT,
    learn_enwik8.EXPERIMENT,
    max_length.EXPERIMENT,
    peers.EXPERIMENT,
)


def chosen(names: Sequence[str]) -> tuple[Experiment, ...]:
    """The experiments of these names, in running order; all of them for no name.

    Raises:
        UserError: There is no experiment of a name.
    """
    known = [experiment.name for experiment in EXPERIMENTS]
    for name in names:
        if name not in known:
            raise UserError(f"There is no experiment {name!r}; known are {', '.join(known)}.")
    return tuple(experiment for experiment in EXPERIMENTS if not names or experiment.name in names)


def with_ceilings(experiments: Sequence[Experiment], profile: Profile, device: Device) -> tuple[Experiment, ...]:
    """The experiments, and before them the machine's ceilings in each type of number that their grids use."""
    cells = (cell for experiment in experiments for cell in experiment.cells(profile, device))
    dtypes = dict.fromkeys(cell.dtype for cell in cells)
    return (ceilings.in_types(tuple(dtypes)), *experiments) if dtypes else tuple(experiments)
