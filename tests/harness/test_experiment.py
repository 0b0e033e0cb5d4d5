"""Experiments expand to the cells they promise."""

import json
import subprocess
import sys
from itertools import groupby, pairwise
from typing import get_args

import pytest

from ablations.harness.cell import LSH_PEERS, Cell, PeakMemory, TimeStep
from ablations.harness.errors import UserError
from ablations.harness.experiment import AXES, Experiment, Grid, Profile, Scale, parse_axes, parse_axis, parse_profile
from ablations.harness.plan import in_order, make_plan, pending
from ablations.suite import EXPERIMENTS, chosen
from reformer.config import LSHAttention
from tests.harness.cells import SIZES, cell, config, here, record

MODEL = {key: value for key, value in SIZES.items() if key != "n_layers"}
AXES_OF_A_TRIAL: dict[str, tuple[int | str, ...]] = {
    "seed": (0, 1),
    "batch": (3,),
    "n_layers": (2,),
    "length": (16, 32),
    "n_hashes": (1, 4),
    "variant": ("dense", "reformer"),
}
TRIAL = Experiment(
    name="trial",
    title="Trial",
    question="?",
    scales={
        "cpu": Scale(
            model=MODEL,
            grids=(
                Grid(workloads=(TimeStep(mode="forward"), PeakMemory(mode="forward")), axes=AXES_OF_A_TRIAL),
                Grid(workloads=(TimeStep(mode="forward"),), axes={**AXES_OF_A_TRIAL, "length": (32, 64)}),
            ),
        )
    },
)


@pytest.mark.parametrize("profile", get_args(Profile))
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_every_experiment_expands_at_every_scale(experiment: Experiment, profile: Profile) -> None:
    cells = experiment.cells(profile, "cpu")
    assert cells
    assert len({cell.id for cell in cells}) == len(cells)
    assert all(cell.length == cell.config.max_len for cell in cells)
    # Every named variant keeps its name: nothing else in the grid turns a switch.
    assert {"dense", "reformer"} <= {cell.config.variant for cell in cells}
    ours = [one for cell in cells if cell.implementation == "ours" for one in cell.config.attentions]
    backends = {one.backend for one in ours if isinstance(one, LSHAttention)}
    assert backends == {"triton" if profile == "gpu" else "blocked"}


def test_an_axis_that_a_variant_does_not_have_multiplies_no_cells() -> None:
    cells = TRIAL.cells("cpu", "cpu")
    dense = [one for one in cells if one.config.variant == "dense"]
    reformer = [one for one in cells if one.config.variant == "reformer"]
    assert len(dense) == 2 * (2 * 2 + 1)
    assert len(reformer) == 2 * len(dense)


def test_seeds_are_outermost_and_variants_innermost() -> None:
    cells = in_order(make_plan((TRIAL,), "cpu", "cpu"))
    assert all(one.seed <= other.seed for one, other in pairwise(cells))
    first = [one.config.variant for one in cells[:4]]
    assert first == ["dense", "dense", "reformer", "reformer"]


@pytest.mark.parametrize("profile", get_args(Profile))
def test_a_round_visits_all_implementations_of_one_thing_back_to_back(profile: Profile) -> None:
    (peers,) = chosen(["peers"])
    cells = peers.cells(profile, "cpu")
    hashing = [one for one in cells if one.implementation in {"ours", *LSH_PEERS} and one.scope == "attention"]
    things = [rounds_of_one_thing(one) for one in hashing]
    # Once left, a thing does not come again in its round.
    assert [thing for thing, _ in groupby(things)] == list(dict.fromkeys(things))
    assert [one.seed for one in cells] == sorted(one.seed for one in cells)


def rounds_of_one_thing(one: Cell) -> tuple[object, ...]:
    (attention,) = one.config.attentions
    assert isinstance(attention, LSHAttention)
    return (one.seed, one.workload, one.length, one.dtype, attention.n_hashes)


def test_peers_have_no_backend_of_ours() -> None:
    axes: dict[str, tuple[int | str, ...]] = {
        **AXES_OF_A_TRIAL,
        "variant": ("reformer",),
        "backend": ("eager", "blocked"),
        "implementation": ("ours", "huggingface"),
    }
    grid = Grid(workloads=(TimeStep(mode="forward"),), axes=axes)
    trial = TRIAL.model_copy(update={"scales": {"cpu": Scale(model=MODEL, grids=(grid,))}})
    cells = trial.cells("cpu", "cpu")
    ours = [one for one in cells if one.implementation == "ours"]
    assert len(ours) == 2 * (len(cells) - len(ours))


def test_a_peer_that_cannot_compute_a_variant_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="implementation='huggingface' at scope='model' is LSH attention only"):
        TRIAL.with_axis("implementation", ("huggingface",)).cells("cpu", "cpu")


def test_equal_cells_have_equal_ids_and_every_field_counts() -> None:
    base = cell()
    again = Cell.model_validate(json.loads(base.model_dump_json()))
    assert again.id == base.id
    changed = [
        cell(seed=1),
        cell("reversible_only"),
        cell(length=17),
        cell(batch=2),
        cell(device="cuda"),
        cell(experiment="other"),
        cell(dtype="bfloat16"),
        cell("lsh_only"),
        cell("lsh_only", implementation="huggingface"),
        cell("lsh_only", scope="attention"),
        cell("lsh_only", config=config("lsh_only", attention=LSHAttention(backend="eager"))),
        cell(workload=TimeStep(mode="forward_backward", seconds=0.01)),
    ]
    assert len({base.id, *(one.id for one in changed)}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("n_hashes=0", "n_hashes"),
        ("n_buckets=33", "n_buckets=33 is odd.*use 32 or 34"),
        ("length=0", "length"),
        ("length=many", "length='many'|max_len='many'"),
        ("variant=sparse", "no variant 'sparse'; known are dense"),
    ],
)
def test_a_point_that_cannot_exist_is_refused_by_name(axis: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TRIAL.with_axis(*parse_axis(axis)).cells("cpu", "cpu")


def test_a_length_that_a_variant_cannot_serve_is_refused_at_plan_time() -> None:
    (experiment,) = chosen(["sequence_length"])
    with pytest.raises(UserError, match=r"length=20000.*longer than the 16384 positions of axial shape \(128, 128\)"):
        experiment.with_axis("length", (20000,)).cells("cpu", "cpu")


def test_an_axis_can_be_replaced() -> None:
    cells = TRIAL.with_axis("length", (48,)).with_axis("n_buckets", (6,)).cells("cpu", "cpu")
    assert {one.length for one in cells} == {48}
    hashed = [one.config.attentions[0] for one in cells if one.config.variant == "reformer"]
    assert {one.n_buckets for one in hashed if isinstance(one, LSHAttention)} == {(6,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width=3", "no axis 'width'; known are seed"),
        ("length", "NAME=VALUE"),
        ("length=1,,2", "NAME=VALUE"),
        ("length=" + 5000 * "9", "NAME=VALUE"),
    ],
)
def test_a_wrong_axis_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_axis(text)


def test_an_axis_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="length is given twice"):
        parse_axes(["length=1", "seed=2", "length=3"])


def test_unknown_profiles_and_experiments_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="no profile 'huge'; known are smoke, cpu, gpu"):
        parse_profile("huge")
    with pytest.raises(UserError, match="no experiment 'width'; known are sequence_length, hash_rounds"):
        chosen(["depth", "width"])


def test_every_axis_can_be_named() -> None:
    assert [parse_axis(f"{axis}=1")[0] for axis in AXES] == list(AXES)


def test_a_second_run_measures_only_what_is_missing() -> None:
    environment = here()
    cells = tuple(cell(seed=seed) for seed in range(6))
    statuses = ("ok", "oom", "error", "not_run", "timeout")
    records = [
        record(one, environment, status=status, **({} if status == "ok" else {"reason": "r", "measurement": None}))
        for one, status in zip(cells, statuses, strict=False)
    ]
    assert pending(cells, records, environment, retry_failed=False) == (cells[3], cells[5])
    assert pending(cells, records, environment, retry_failed=True) == cells[1:]


def test_records_of_other_packages_do_not_count_as_done() -> None:
    environment = here()
    other = environment.model_copy(update={"packages": {**environment.packages, "torch": "1.0"}})
    assert pending([cell()], [record(cell(), other)], environment, retry_failed=False) == (cell(),)


def test_a_peer_s_version_matters_to_that_peer_alone() -> None:
    environment = here()
    other = environment.model_copy(update={"packages": {**environment.packages, "transformers": "1.0"}})
    cells = (cell("lsh_only"), cell("lsh_only", implementation="huggingface"))
    assert pending(cells, [record(one, other) for one in cells], environment, retry_failed=False) == cells[1:]


def test_planning_imports_no_torch() -> None:
    code = """
import sys
import ablations.cli, ablations.report.render, ablations.harness.sweep, ablations.harness.estimate
from ablations.harness.plan import in_order, make_plan
from ablations.suite import EXPERIMENTS
assert in_order(make_plan(EXPERIMENTS, "gpu", "cuda"))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
