"""Experiments expand to the cells they promise."""

import json
import subprocess
import sys
from itertools import groupby
from typing import get_args

import pytest

from ablations.harness.cell import Cell, PeakMemory, TimeStep
from ablations.harness.errors import UserError
from ablations.harness.experiment import AXES, Experiment, Grid, Profile, Scale, parse_axes, parse_axis, parse_profile
from ablations.harness.plan import in_order, make_plan, pending
from ablations.harness.search import Search
from ablations.suite import EXPERIMENTS, chosen, with_ceilings
from reformer.config import LSHAttention
from tests.harness.cells import SIZES, cell, config, here, record

Comparison = tuple[object, ...]

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


PROFILES: tuple[Profile, ...] = get_args(Profile)
SCALES = [
    pytest.param(experiment, profile, id=f"{experiment.name} {profile}")
    for experiment in EXPERIMENTS
    for profile in PROFILES
    if profile in experiment.scales
]
OF_PEERS: tuple[Profile, ...] = ("smoke", "cpu", "gpu")


@pytest.mark.parametrize(("experiment", "profile"), SCALES)
def test_every_experiment_expands_at_every_scale(experiment: Experiment, profile: Profile) -> None:
    searches = experiment.searches(profile, "cpu")
    cells = (*experiment.cells(profile, "cpu"), *(one.probe(length) for one in searches for length in ends(one)))
    assert cells
    assert len({cell.id for cell in cells}) == len(cells)
    assert all(cell.length == cell.config.max_len for cell in cells)
    # Every named variant keeps its name: nothing else in the grid turns a switch.
    scale = experiment.scales[profile]
    axes = (*(grid.axes for grid in scale.grids), *(search.axes for search in scale.searches))
    named = {name for one in axes for name in one["variant"]}
    assert {cell.config.variant for cell in cells} == named
    ours = [one for cell in cells if cell.implementation == "ours" for one in cell.config.attentions]
    backends = {one.backend for one in ours if isinstance(one, LSHAttention)}
    assert backends <= {"triton" if profile in ("gpu", "paper") else "blocked"}


def ends(search: Search) -> set[int]:
    return {search.cell.length, search.most}


def test_an_axis_that_a_variant_does_not_have_multiplies_no_cells() -> None:
    cells = TRIAL.cells("cpu", "cpu")
    dense = [one for one in cells if one.config.variant == "dense"]
    reformer = [one for one in cells if one.config.variant == "reformer"]
    assert len(dense) == 2 * (2 * 2 + 1)
    assert len(reformer) == 2 * len(dense)


def test_seeds_are_outermost_and_what_is_compared_stands_together() -> None:
    cells = in_order(make_plan((TRIAL,), "cpu", "cpu"))
    assert [one.seed for one in cells] == sorted(one.seed for one in cells)
    # Times of the shorter length, then peaks; a model without hash rounds stands between those of one and of four.
    first = [(one.length, one.workload.kind, *n_hashes(one)) for one in cells[:6]]
    assert first == [(16, kind, *rounds) for kind in ("time", "memory") for rounds in ((1,), (), (4,))]


def n_hashes(one: Cell) -> tuple[int, ...]:
    return tuple({attention.n_hashes for attention in one.config.attentions if isinstance(attention, LSHAttention)})


def peers_by_comparison(profile: Profile) -> dict[Comparison, list[Cell]]:
    """Cells in order of the run; a comparison comes once."""
    (peers,) = chosen(["peers"], profile)
    runs = [(key, list(cells)) for key, cells in groupby(peers.cells(profile, "cpu"), key=comparison)]
    assert len({key for key, _ in runs}) == len(runs), "a comparison that was left comes again"
    return dict(runs)


def comparison(one: Cell) -> Comparison:
    return (one.seed, one.length, one.config.n_layers, one.dtype, one.batch, one.scope, one.workload.kind, one.mode)


@pytest.mark.parametrize("profile", OF_PEERS)
def test_a_round_visits_all_contenders_of_one_comparison_back_to_back(profile: Profile) -> None:
    seeds = [contenders[0].seed for contenders in peers_by_comparison(profile).values()]
    assert seeds == sorted(seeds)


@pytest.mark.parametrize("profile", OF_PEERS)
def test_dense_attention_stands_next_to_every_number_of_hash_rounds(profile: Profile) -> None:
    for contenders in peers_by_comparison(profile).values():
        order = [rounds for rounds, _ in groupby(contenders, key=n_hashes)]
        assert len(set(order)) == len(order)
        if () in order and len(order) > 1:
            at = order.index(())
            assert set(order[max(0, at - 1) : at + 2]) == set(order)


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_order_of_contenders_is_drawn_for_a_round_and_reversed_in_the_next(profile: Profile) -> None:
    found = peers_by_comparison(profile)
    first = {contenders[0].contender for contenders in found.values() if len(contenders) > 1}
    assert {"ours", "huggingface", "lucidrains"} <= first
    pairs = [(found[key], found[1, *key[1:]]) for key in found if key[0] == 0 and (1, *key[1:]) in found]
    assert pairs
    for zeroth, next_one in pairs:
        names, reversed_names = names_of(zeroth), names_of(next_one)[::-1]
        assert [name for name in names if name in reversed_names] == reversed_names


def names_of(contenders: list[Cell]) -> list[tuple[object, ...]]:
    return [(one.contender, one.config.attentions[0]) for one in contenders]


def test_on_a_gpu_the_longest_sequences_come_last() -> None:
    (peers,) = chosen(["peers"], "cpu")
    cells = in_order(make_plan([peers], "gpu", "cuda"))
    longest = max(one.length for one in cells)
    assert longest == 2**20
    # Once such a cell has come, no other does.
    assert [one.length == longest for one in cells] == sorted(one.length == longest for one in cells)


def test_one_of_ours_has_the_buckets_of_lucidrains() -> None:
    (peers,) = chosen(["peers"], "cpu")
    ours = [one for one in peers.cells("cpu", "cpu") if (one.implementation, one.length) == ("ours", 16384)]
    buckets = {one.config.attentions[0].n_buckets for one in ours if isinstance(one.config.attentions[0], LSHAttention)}
    assert buckets == {(16, 32), (256,)}


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
    (experiment,) = chosen(["sequence_length"], "cpu")
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
        chosen(["depth", "width"], "cpu")


def test_an_experiment_without_the_profile_is_left_out_unless_it_is_named() -> None:
    everything, at_cpu = ({one.name for one in chosen((), profile)} for profile in ("smoke", "cpu"))
    assert "inversion" in everything - at_cpu
    assert [one.name for one in chosen(["inversion", "depth"], "paper-cpu")] == ["depth", "inversion"]
    with pytest.raises(UserError, match="Experiment inversion has no profile cpu; it has smoke, paper-cpu, paper"):
        chosen(["depth", "inversion"], "cpu")


@pytest.mark.parametrize(("measured", "again"), [("cpu", "paper-cpu"), ("gpu", "paper")])
@pytest.mark.parametrize("name", ["sequence_length", "hash_rounds", "depth", "max_length"])
def test_what_the_ablations_measure_already_serves_the_paper_s_claims(
    name: str, measured: Profile, again: Profile
) -> None:
    (experiment,) = chosen([name], measured)
    assert experiment.cells(again, "cpu") == experiment.cells(measured, "cpu")
    assert experiment.searches(again, "cpu") == experiment.searches(measured, "cpu")


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
    assert pending(cells, records, environment, retry_failed=False) == cells[2:]
    assert pending(cells, records, environment, retry_failed=True) == cells[1:]


def test_a_cell_without_result_is_tried_in_three_attempts_and_no_more() -> None:
    environment, one = here(), cell()
    failures = [
        record(one, environment, status=status, reason="r", measurement=None)
        for status in ("killed", "timeout", "error", "killed")
    ]
    assert [
        len(pending([one], failures[:number], environment, retry_failed=False)) for number in range(len(failures) + 1)
    ] == [1, 1, 1, 0, 0]
    assert pending([one], failures, environment, retry_failed=True) == (one,)
    assert pending([one], [*failures, record(one, environment)], environment, retry_failed=True) == ()


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
from ablations.suite import chosen
assert in_order(make_plan(chosen((), "paper"), "paper", "cuda"))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_run_begins_each_round_with_the_ceilings_of_the_types_that_it_uses(profile: Profile) -> None:
    for names in (["peers"] if profile in OF_PEERS else ["inversion"], ["depth"]):
        experiments = chosen(names, profile)
        used = {one.dtype for experiment in experiments for one in experiment.cells(profile, "cpu")}
        cells = in_order(make_plan(with_ceilings(experiments, profile, "cpu"), profile, "cpu"))
        ceilings = [one for one in cells if one.scope == "machine"]
        assert {one.dtype for one in ceilings} == used
        assert len(ceilings) == len({(one.dtype, one.seed) for one in ceilings})
        for seed in {one.seed for one in ceilings}:
            scopes = [one.scope for one in cells if one.seed == seed]
            assert scopes[: len(used)] == ["machine"] * len(used)
            assert "machine" not in scopes[len(used) :]


def test_an_axis_of_the_experiments_leaves_the_ceilings_as_they_are() -> None:
    (depth,) = chosen(["depth"], "smoke")
    once, again = (with_ceilings([one], "smoke", "cpu")[0] for one in (depth, depth.with_axis("length", (96,))))
    assert once == again
