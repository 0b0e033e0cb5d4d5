"""Answers: one sentence with numbers that the records bear out, or why there is none."""

import re
from statistics import median

from ablations.harness.cell import Cell
from ablations.harness.measurement import StepTimes
from ablations.report.answers import answer
from ablations.report.views import experiment_results

from . import records


def answered(cells: tuple[Cell, ...], fate: records.Fate = records.ok) -> str:
    return answer(experiment_results(records.planned("q", cells), records.records(cells, fate)))


def test_over_length_the_ratio_is_of_the_longest_that_both_have() -> None:
    cells = records.grid("q", variants=("dense", "reformer"), length=(512, 1024, 2048), seeds=(0, 1, 2))
    said = answered(
        cells, lambda one: ("oom", "") if one.length == 2048 and one.config.variant == "dense" else ("ok", "")
    )
    assert said.startswith("At sequence length 1024, a forward and backward pass of reformer takes ")
    assert said.endswith("n = 3 rounds).")
    found = re.search(r"takes ([\d.]+) times as long as one of dense \(95 % interval", said)
    assert found
    assert abs(float(found[1]) / ratio(cells, 1024) - 1) < 0.005


def ratio(cells: tuple[Cell, ...], length: int) -> float:
    """The median over rounds of the ratio of medians, the long way round."""
    seconds: dict[tuple[str, int], float] = {}
    for one in records.records(cells):
        if isinstance(one.measurement, StepTimes) and one.cell.mode == "forward_backward" and one.cell.length == length:
            seconds[one.cell.config.variant, one.cell.seed] = median(one.measurement.wall_seconds)
    return median(seconds["reformer", seed] / seconds["dense", seed] for seed in (0, 1, 2))


def test_over_depth_memory_comes_first_and_is_exact() -> None:
    said = answered(records.grid("q", variants=records.CORNERS, n_layers=(1, 2, 4)))
    assert said.startswith("At depth 4, a forward and backward pass of reformer needs ")
    assert "times the peak memory of one of dense (" in said


def test_over_hash_rounds_a_variant_is_set_against_itself() -> None:
    said = answered(records.grid("q", variants=("dense", "lsh_only"), n_hashes=(1, 2, 4)))
    assert "At hash rounds 4, a forward and backward pass of lsh_only takes" in said
    assert "one at 1" in said


def test_of_training_the_difference_is_taken_seed_by_seed() -> None:
    said = answered(records.grid("q", variants=("dense", "reformer"), workloads=(records.LEARN,), seeds=(0, 1, 2)))
    assert re.search(r"reformer is at \d\.\d{3} held-out bits per byte and dense at", said)
    assert re.search(r"seed by seed [+-]?\d\.\d{3} \(95 % interval .* n = 3 seeds\)", said)


def test_where_the_interval_holds_no_difference_that_is_said() -> None:
    said = answered(records.grid("q", variants=("dense", "dense_checkpointed", "reversible_only"), length=(512,)))
    holds_one = re.search(r"interval ([\d.]+) to ([\d.]+)", said)
    assert holds_one
    undecided = float(holds_one[1]) <= 1 <= float(holds_one[2])
    assert said.endswith("cannot be told.") == undecided


def test_one_round_has_no_interval_and_without_a_result_nothing_can_be_told() -> None:
    cells = records.grid("q", variants=("dense", "reformer"), length=(512, 1024), seeds=(0,))
    assert "one round has no interval, n = 1 round" in answered(cells)
    assert answered(cells, lambda _: ("oom", "full")) == "Cannot tell: no cell has a result (out of memory)."
