"""How do contenders of other packages compare with this project's LSH attention, and with dense attention?

Run alone: `python run_all.py --only outside`; docs/outside.md says how to add one. There is such an experiment only
where a package that is installed registers a contender, and nothing but contenders and what they stand beside is in it.
Cost: `--dry-run` estimates it; a contender counts like a peer, several times ours.

Attention alone takes query, key and value tensors and computes output and gradients; whole models take training steps
with Adam. A round (seed) visits all of one comparison one after the other, ratios are taken within rounds. What cannot
be loaded has cells all the same, whose records say why.
"""

from collections.abc import Mapping

from ablations.experiments.peers import GPU_BATCHES, MEDIUM, SMALL
from ablations.harness.cell import OUTSIDE, PeakMemory, TimeStep, Workload
from ablations.harness.contender import Contender, ContenderError, contenders, load
from ablations.harness.experiment import Experiment, Grid, Scale

NAME = "outside"

Values = tuple[int | str, ...]

ROUNDS = (0, 1, 2)
ONCE = (0,)
ATTENTION: tuple[Workload, ...] = (
    TimeStep(mode="forward", seconds=0.3),
    TimeStep(mode="forward_backward", seconds=0.3),
    PeakMemory(mode="forward_backward", resident=False),
)
MODEL: tuple[Workload, ...] = (
    TimeStep(mode="training_step", seconds=0.3),
    PeakMemory(mode="training_step", resident=False),
)
DENSE = ("query_chunked", "sdpa_flash")


def registered_experiment() -> Experiment | None:
    """Of the contenders that are registered here; `None` without any.

    Raises:
        UserError: One has a name that no contender can have.
    """
    found = {one.name: _loaded(one.name) for one in contenders()}
    return experiment(found) if found else None


def _loaded(name: str) -> Contender | None:
    try:
        return load(name)
    except ContenderError:
        return None


def experiment(found: Mapping[str, Contender | None]) -> Experiment:
    """Of contenders by name; one that is `None` could not be loaded."""
    return Experiment(
        name=NAME,
        title="Contenders of other packages",
        question="How do time and memory of contenders from other packages compare with LSH and dense attention?",
        scales={"smoke": _smoke(found), "cpu": _cpu(found), "gpu": _gpu(found)},
    )


def _smoke(found: Mapping[str, Contender | None]) -> Scale:
    axes = _axes(seed=ONCE, backend=("blocked",), n_hashes=(2,))
    return Scale(model=dict(SMALL), grids=(*_attention(found, axes | _at(256)), *_models(found, axes | _at(256))))


def _cpu(found: Mapping[str, Contender | None]) -> Scale:
    axes = _axes(backend=("blocked",))
    attention = (grid for length in (1024, 4096) for grid in _attention(found, axes | _at(length)))
    return Scale(model=dict(MEDIUM), grids=(*attention, *_models(found, axes | _at(1024))))


def _gpu(found: Mapping[str, Contender | None]) -> Scale:
    axes = _axes(backend=("triton",), dtype=("bfloat16",))
    places = [axes | _at(length) | {"batch": (batch,)} for length, batch in GPU_BATCHES.items()]
    return Scale(
        model=dict(MEDIUM),
        grids=(*(grid for place in places for grid in _attention(found, place)), *_models(found, places[0])),
    )


def _axes(**others: Values) -> dict[str, Values]:
    axes: dict[str, Values] = {
        "seed": ROUNDS,
        "batch": (1,),
        "dtype": ("float32",),
        "n_layers": (1,),
        "chunk_len": (64,),
        "n_hashes": (4,),
    }
    return axes | others


def _at(length: int) -> dict[str, Values]:
    return {"length": (length,)}


def _attention(found: Mapping[str, Contender | None], axes: Mapping[str, Values]) -> tuple[Grid, ...]:
    """Ours with those that are like LSH attention, and dense attention with all others."""
    having = {name: one for name, one in found.items() if one is None or one.attention}
    lsh = {"variant": ("lsh_only",), "implementation": ("ours", *_like("lsh", having))}
    dense = {"variant": ("dense_separate_qk",), "implementation": (*DENSE, *_like("dense", having))}
    sides = (lsh, dense) if having else ()
    return tuple(Grid(workloads=ATTENTION, axes={**axes, **side}, scope="attention") for side in sides)


def _models(found: Mapping[str, Contender | None], axes: Mapping[str, Values]) -> tuple[Grid, ...]:
    having = {name: one for name, one in found.items() if one and one.model}
    ours = {"variant": ("reformer", "dense"), "implementation": ("ours",)}
    lsh = {"variant": ("reformer",), "implementation": _like("lsh", having)}
    dense = {"variant": ("dense",), "implementation": _like("dense", having)}
    sides = (ours, lsh, dense) if having else ()
    return tuple(Grid(workloads=MODEL, axes={**axes, "n_layers": (2,), **side}) for side in sides)


def _like(what: str, found: Mapping[str, Contender | None]) -> tuple[str, ...]:
    return tuple(OUTSIDE + name for name, one in found.items() if (one.like if one else "dense") == what)
