"""The table of contents: every experiment, in running order."""

from collections.abc import Sequence

from ablations.experiments import depth, hash_rounds, learn_enwik8, peers, sequence_length
from ablations.harness.errors import UserError
from ablations.harness.experiment import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    sequence_length.EXPERIMENT,
    hash_rounds.EXPERIMENT,
    depth.EXPERIMENT,
    learn_enwik8.EXPERIMENT,
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
