"""The table of contents: every experiment, in running order; last that of other packages' contenders, if any."""

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
    outside,
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
        UserError: There is no experiment of a name, or it has no such scale; or a contender's name is none.
    """
    experiments = (*EXPERIMENTS, *_of_other_packages(names))
    known = {experiment.name: experiment for experiment in experiments}
    for name in names:
        if name not in known:
            raise UserError(
                f"There is no experiment {name!r}; known are {', '.join(dict.fromkeys((*known, outside.NAME)))}."
            )
        if profile not in (scales := known[name].scales):
            raise UserError(f"Experiment {name} has no profile {profile}; it has {', '.join(scales)}.")
    return tuple(one for one in experiments if (one.name in names if names else profile in one.scales))


def _of_other_packages(names: Sequence[str]) -> tuple[Experiment, ...]:
    """The experiment of what is registered, if it is among what was asked for; it is looked up nowhere else."""
    wanted = outside.NAME in names
    found = outside.registered_experiment() if wanted or not names else None
    if wanted and found is None:
        raise UserError(
            f"No package that is installed here registers a contender, and experiment {outside.NAME} has no others. "
            "Install one with an entry point in the group reformer_suite.contenders; docs/outside.md shows how."
        )
    return (found,) if found else ()


def with_ceilings(experiments: Sequence[Experiment], profile: Profile, device: Device) -> tuple[Experiment, ...]:
    """The experiments, and before them the machine's ceilings in each type of number that their grids use."""
    cells = (cell for experiment in experiments for cell in experiment.cells(profile, device))
    dtypes = dict.fromkeys(cell.dtype for cell in cells)
    return (ceilings.in_types(tuple(dtypes)), *experiments) if dtypes else tuple(experiments)
