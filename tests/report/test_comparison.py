"""Comparisons: paired within rounds, set against ours, and against the floor."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from ablations.harness.cell import Cell
from ablations.harness.measurement import Measurement
from ablations.harness.store import MachineResults
from ablations.harness.work import Ceiling, ceiling_of
from ablations.report.comparison import blocks, ratio_to
from ablations.report.comparison_tables import ceilings_table, comparison_tables
from ablations.report.figures import figures
from ablations.report.floor import FLOOR_TITLES, below_floor
from ablations.report.groups import Group
from ablations.report.render import render
from ablations.report.statistics import CannotTell, Estimate, paired_ratio
from ablations.report.table import Table
from ablations.report.views import ExperimentResults, KindResults, experiment_results
from tests.report.contenders import LSH, ceiling_cell, contender, measured, times
from tests.report.records import measurement

SLOWNESS = {"ours": 1.0, "huggingface": 5.0, "lucidrains": 4.0, "sdpa_flash": 0.5, "lsh_only": 0.8, "reformer": 1.0}
SEEDS = (0, 1, 2)


def planted(one: Cell) -> Measurement | tuple[str, str]:
    """Seconds by contender; each round is slower than the one before, for everybody."""
    if one.workload.kind in ("ceiling", "memory"):
        return measurement(one)
    if one.implementation == "sdpa_cudnn":
        return ("unsupported", "No viable backend")
    if one.implementation == "lucidrains" and one.scope == "model":
        return ("not_run", "extra `peers` is not installed")
    base = 0.1 * SLOWNESS[one.contender] * 3.0**one.seed
    return times(base * factor for factor in (0.99, 1.0, 1.0, 1.02))


def attention_cells(seeds: Iterable[int] = SEEDS) -> list[Cell]:
    cells = [ceiling_cell(seed=seed) for seed in seeds]
    for seed in seeds:
        for length in (512, 1024):
            cells += [
                contender(one, length=length, n_hashes=rounds, seed=seed)
                for rounds in (1, 4)
                for one in ("ours", "huggingface", "lucidrains")
            ]
            cells += [contender(one, length=length, seed=seed) for one in ("sdpa_flash", "sdpa_cudnn")]
    return cells


def model_cells() -> list[Cell]:
    return [
        contender(implementation, variant=variant, scope="model", mode="training_step", seed=seed, workload=workload)
        for seed in SEEDS
        for workload in ("time", "memory")
        for variant, implementation in (
            ("reformer", "ours"),
            ("reformer", "huggingface"),
            ("reformer", "lucidrains"),
            ("lsh_only", "ours"),
        )
    ]


def results_of(machine: MachineResults) -> ExperimentResults:
    return experiment_results(machine.plan.experiments[0], machine.records)


def attention_kind(machine: MachineResults) -> KindResults:
    (kind,) = (kind for kind in results_of(machine).kinds if kind.scope == "attention")
    return kind


@pytest.fixture
def machine() -> MachineResults:
    return measured(attention_cells() + model_cells(), planted)


def table(machine: MachineResults, caption: str) -> Table:
    results = results_of(machine)
    ceiling = ceiling_of(machine.records)
    tables = [one for kind in results.kinds for one in comparison_tables(kind, ceiling)]
    (found,) = (one for one in tables if caption in one.caption)
    return found


def test_each_of_ours_opens_a_block_in_which_dense_attention_stands_too(machine: MachineResults) -> None:
    found = blocks(attention_kind(machine), "forward_backward")
    places = [(b.base.settings["length"], b.base.settings["n_hashes"]) for b in found if b.base]
    assert places == [(512, 1), (512, 4), (1024, 1), (1024, 4)]
    for block in found:
        names = [group.variant for group in block.groups]
        assert names == ["ours", "huggingface", "lucidrains", "sdpa_flash", "sdpa_cudnn"]
        assert block.base is block.groups[0]


def test_the_base_of_whole_models_is_the_reversible_one(machine: MachineResults) -> None:
    kind = next(kind for kind in results_of(machine).kinds if (kind.kind, kind.scope) == ("time", "model"))
    (block,) = blocks(kind, "training_step")
    assert [group.variant for group in block.groups] == ["reformer", "lsh_only", "huggingface", "lucidrains"]


def ratio(group: Group, base: Group) -> Estimate:
    found = ratio_to(base, group)
    assert isinstance(found, Estimate)
    return found


def test_what_slows_a_round_slows_both_sides_of_its_ratio(machine: MachineResults) -> None:
    block = blocks(attention_kind(machine), "forward_backward")[0]
    for group in block.groups[1:4]:
        found = ratio(group, block.groups[0])
        assert found.value == pytest.approx(SLOWNESS[group.variant])
        assert found.interval is not None
        assert found.interval.kind == "95 %"
        # Times differ by a factor of nine from round to round, their ratios by what lies within a round.
        assert found.interval.high / found.interval.low < 1.1


def test_a_ratio_comes_from_the_rounds_that_measured_both() -> None:
    def lost(one: Cell) -> Measurement | tuple[str, str]:
        gone = {("huggingface", 0), ("ours", 2)}
        return ("oom", "no memory") if (one.implementation, one.seed) in gone else planted(one)

    block = blocks(attention_kind(measured(attention_cells(), lost)), "forward_backward")[0]
    found = ratio(block.groups[1], block.groups[0])
    assert found.n_processes == 1
    assert found.value == pytest.approx(5.0)


def test_without_a_common_round_there_is_no_ratio() -> None:
    def lost(one: Cell) -> Measurement | tuple[str, str]:
        return ("oom", "no memory") if (one.implementation == "ours") == (one.seed == 0) else planted(one)

    block = blocks(attention_kind(measured(attention_cells(), lost)), "forward_backward")[0]
    assert ratio_to(block.groups[0], block.groups[1]) == CannotTell("no round measured both")


def test_one_long_step_a_round_gives_an_interval_over_rounds() -> None:
    found = paired_ratio([((2.0,), (1.0,)), ((9.0,), (3.0,)), ((20.0,), (8.0,))])
    assert found.value == 2.5
    assert found.interval is not None
    # Logarithms of 2, 3 and 2.5: mean 0.9027, standard deviation 0.2029, and 4.3027 of t at two degrees of freedom.
    assert found.interval.low == pytest.approx(math.exp(0.9027 - 4.3027 * 0.2029 / 3**0.5), rel=1e-3)
    assert found.interval.high == pytest.approx(math.exp(0.9027 + 4.3027 * 0.2029 / 3**0.5), rel=1e-3)
    assert found.interval.kind == "95 %"
    assert (found.n_samples, found.n_processes) == (6, 3)


def test_one_round_has_a_ratio_but_no_interval() -> None:
    found = paired_ratio([([2.0, 2.1, 1.9] * 9, [1.0, 1.1, 0.9] * 9)])
    assert (found.value, found.interval, found.no_interval) == (2.0, None, "one process")


def test_the_same_records_give_the_same_interval() -> None:
    pairs = [([1.0, 1.5, 1.2], [0.5, 0.6, 0.7]), ([1.1, 1.4, 1.3], [0.4, 0.8, 0.6])]
    one, other = (paired_ratio(pairs) for _ in range(2))
    assert one == other


def test_a_table_shows_time_ratio_and_floor(machine: MachineResults) -> None:
    found = table(machine, "Time per step, forward + backward, attention alone")
    assert [column.title for column in found.columns] == [
        "length",
        "n_hashes",
        "contender",
        "time",
        "interval",
        "n (processes)",
        "over ours",
        "interval",
        "rounds",
        *FLOOR_TITLES,
    ]
    ours, theirs = found.rows[:2]
    assert ours.cells[:4] == ("512", "1", "ours", "300 ms")
    assert ours.cells[6:9] == ("—", "—", "—")
    assert theirs.cells[2] == "huggingface"
    assert theirs.cells[6] == "5.00 x"
    assert theirs.cells[8:10] == ("3", ours.cells[9])
    assert ours.cells[9] != "—"
    unsupported = next(row for row in found.rows if row.cells[2] == "sdpa_cudnn")
    assert not unsupported.ok
    assert unsupported.cells[3] == "unsupported"


def test_memory_is_compared_too_and_has_no_floor(machine: MachineResults) -> None:
    found = table(machine, "Peak memory of one step, training step, whole models")
    assert [column.title for column in found.columns][-3:] == ["over ours", "interval", "rounds"]
    assert {row.cells[-2] for row in found.rows} == {"—", "exact"}


def test_what_took_less_than_the_floor_says_is_marked(machine: MachineResults) -> None:
    slow = Ceiling({"float32": 1e3}, 1e12)
    kinds = results_of(machine).kinds
    assert below_floor(kinds, ceiling_of(machine.records)) == ()
    told = below_floor(kinds, slow)
    assert any("attention ours" in one and "Below the floor, to be checked" in one for one in told)
    (marked,) = comparison_tables(attention_kind(machine), slow)
    assert "‼" in marked.rows[0].cells[-3]
    assert any("‼ Below the floor: check" in note for note in marked.notes)


def test_a_table_says_how_much_more_lucidrains_hashes(machine: MachineResults) -> None:
    (said,) = (note for note in table(machine, "attention alone").notes if "lucidrains" in note)
    assert "at length 1024 a vector meets 8 directions in each round, in ours 16" in said
    without = measured([one for one in attention_cells() if one.implementation != "lucidrains"], planted)
    assert not any("lucidrains" in note for note in table(without, "attention alone").notes)


def with_other_buckets(*, peers: bool) -> MachineResults:
    """What `attention_cells` has at 1,024 tokens and four rounds, and ours in 6 x 8 buckets, peers too or not."""
    cells = [one for one in attention_cells() if one.scope == "machine" or one.length == 1024]
    others = LSH if peers else ("ours",)
    cells += [contender(one, length=1024, n_hashes=4, seed=seed, n_buckets=(6, 8)) for one in others for seed in SEEDS]
    return measured(cells, planted)


def test_ours_with_other_buckets_stands_beside_ours_in_tables_alone() -> None:
    machine = with_other_buckets(peers=False)
    found = blocks(attention_kind(machine), "forward_backward")
    assert [len(block.groups) for block in found] == [5, 5]
    assert [[aside.settings["n_buckets"] for aside in block.asides] for block in found] == [[], [48]]
    shown = table(machine, "attention alone")
    (row,) = (row for row in shown.rows if row.cells[1] == "ours, n_buckets=6 x 8")
    assert row.cells[0] == "4"
    assert row.cells[5] == "1.00 x"
    assert any("n_buckets=..." in note for note in shown.notes)


def test_other_buckets_that_peers_have_too_are_a_comparison_of_their_own() -> None:
    found = blocks(attention_kind(with_other_buckets(peers=True)), "forward_backward")
    buckets = [block.base.settings["n_buckets"] for block in found if block.base]
    assert sorted(buckets) == [32, 32, 48]
    assert [len(block.groups) for block in found] == [5, 5, 5]
    assert not any(block.asides for block in found)


def test_without_ceilings_there_is_no_floor() -> None:
    machine = measured([one for one in attention_cells() if one.scope != "machine"], planted)
    found = table(machine, "attention alone")
    assert {row.cells[-4:] for row in found.rows} == {("—", "—", "—", "—")}
    assert any("No floor" in note for note in found.notes)
    assert ceilings_table(results_of(machine).attempts) == ()


def test_ceilings_have_a_table(machine: MachineResults) -> None:
    (found,) = ceilings_table(results_of(machine).attempts)
    assert [row.cells for row in found.rows] == [("float32", "2.50 TFLOP/s", "1.50 TB/s", "3")]


def test_backends_are_never_averaged() -> None:
    cells = [contender("ours", backend=backend, seed=seed) for seed in SEEDS for backend in ("eager", "blocked")]
    cells += [contender("huggingface", seed=seed) for seed in SEEDS]
    machine = measured(cells, planted)
    found = blocks(attention_kind(machine), "forward_backward")
    assert [(b.base.settings["backend"], len(b.groups)) for b in found if b.base] == [("blocked", 2), ("eager", 2)]
    assert "backend" in [column.title for column in table(machine, "attention alone").columns]
    assert len({one.svg for one in figures(attention_kind(machine), "x")}) == 1


def test_a_report_with_comparisons_renders(machine: MachineResults, tmp_path: Path) -> None:
    render([machine], tmp_path)
    text = (tmp_path / "index.md").read_text()
    assert "Ceilings of this machine" in text
    assert "extra &#96;peers&#96; is not installed" in text
    drawn = sorted(path.stem for path in (tmp_path / "figures").glob("*.svg"))
    assert drawn == [
        "testbench-cpu-peers-attention-time-forward_backward-float32",
        "testbench-cpu-peers-model-memory-training_step-float32",
        "testbench-cpu-peers-model-time-training_step-float32",
    ]
    floors = (tmp_path / "figures" / f"{drawn[0]}.svg").read_text()
    assert floors.count('floor"') == 2, "one in each panel"


def test_a_comparison_without_ours_still_has_its_rows() -> None:
    machine = measured([contender("huggingface", seed=seed) for seed in SEEDS], planted)
    found = table(machine, "attention alone")
    assert [row.cells[0] for row in found.rows] == ["huggingface"]
    assert "ours is not planned" in found.rows[0].cells
