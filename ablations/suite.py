"""The table of contents: every experiment, in running order."""

from collections.abc import Sequence

from ablations.experiments import (
    blog_slopes,
    ceilings,
    chunking,
    constant_tokens,
    deep_and_long,
    depth,
    duplication,
    enwik8_controls,
    enwik8_depth,
    enwik8_factors,
    feed_forward_chunks,
    hash_rounds,
    images64_factors,
    images64_rounds,
    inversion,
    learn_enwik8,
    long_range_arena,
    max_length,
    one_million,
    parameters,
    peers,
    sequence_length,
    translation,
)
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
    constant_tokens.EXPERIMENT,
    feed_forward_chunks.EXPERIMENT,
    blog_slopes.EXPERIMENT,
    long_range_arena.EXPERIMENT,
    deep_and_long.EXPERIMENT,
    one_million.EXPERIMENT,
    inversion.EXPERIMENT,
    chunking.EXPERIMENT,
    parameters.EXPERIMENT,
    duplication.EXPERIMENT,
    enwik8_factors.EXPERIMENT,
    images64_factors.EXPERIMENT,
    images64_rounds.EXPERIMENT,
    enwik8_depth.EXPERIMENT,
    translation.EXPERIMENT,
    enwik8_controls.EXPERIMENT,
)


def chosen(names: Sequence[str], profile: Profile) -> tuple[Experiment, ...]:
    """The experiments of these names, in running order; for no name, all that have a scale of the profile.

    Raises:
        UserError: There is no experiment of a name, or it has no such scale.
    """
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    for name in names:
        if name not in known:
            raise UserError(f"There is no experiment {name!r}; known are {', '.join(known)}.")
        if profile not in (scales := known[name].scales):
            raise UserError(f"Experiment {name} has no profile {profile}; it has {', '.join(scales)}.")
    return tuple(one for one in EXPERIMENTS if (one.name in names if names else profile in one.scales))


def with_ceilings(experiments: Sequence[Experiment], profile: Profile, device: Device) -> tuple[Experiment, ...]:
    """The experiments, and before them the machine's ceilings in each type of number that their grids use."""
    cells = (cell for experiment in experiments for cell in experiment.cells(profile, device))
    dtypes = dict.fromkeys(cell.dtype for cell in cells)
    return (ceilings.in_types(tuple(dtypes)), *experiments) if dtypes else tuple(experiments)
