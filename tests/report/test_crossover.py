"""Where one variant begins to take less than another: planted crossings, and every way of not knowing."""

import numpy as np
import pytest

from ablations.harness.cell import Cell, TimeStep
from ablations.report.crossover import Never, crossover
from ablations.report.crossover_tables import crossover_tables, ratios
from ablations.report.statistics import CannotTell, Estimate, of_readings, over_processes
from ablations.report.views import KindResults, experiment_results

from . import records

Points = list[tuple[float, Estimate]]


def noisy(*ratios: float, spread: float = 0.01, rounds: int = 3) -> Points:
    """Ratios at 512, 1024, ... tokens, each round off by a fraction."""
    generator = np.random.default_rng(3)
    readings = np.array(ratios)[:, None] * np.exp(generator.normal(0, spread, size=(len(ratios), rounds)))
    return [(512 * 2**index, over_processes([float(one) for one in row])) for index, row in enumerate(readings)]


def exact(*ratios: float) -> Points:
    return [(512 * 2**index, of_readings([ratio], exact=True)) for index, ratio in enumerate(ratios)]


def test_a_planted_crossing_is_found_between_two_lengths() -> None:
    # 2 at 1,024 and a half at 2,048: one in the middle of their logarithms.
    found = crossover(noisy(4.0, 2.0, 0.5, 0.25))
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(1024 * 2**0.5, rel=0.02)
    assert found.interval is not None
    assert found.interval.kind == "95 %"
    assert found.interval.low < found.value < found.interval.high
    assert found.interval.high / found.interval.low < 1.1


def test_at_the_ends_of_its_interval_the_ratio_is_as_far_from_one_as_its_noise_reaches() -> None:
    points = noisy(1.5, 1.2, 0.8, 0.5, spread=0.02, rounds=5)
    found = crossover(points)
    assert isinstance(found, Estimate)
    assert found.interval is not None
    logs = np.log([ratio.readings for _, ratio in points])
    pooled = np.sqrt(((logs - logs.mean(axis=1, keepdims=True)) ** 2).sum() / 16)
    xs = np.log2([x for x, _ in points])
    for end in (found.interval.low, found.interval.high):
        share = np.log2(end) - 10
        error = 2.1199 * pooled * np.hypot(share, 1 - share) / 5**0.5
        assert abs(np.interp(np.log2(end), xs, logs.mean(axis=1))) == pytest.approx(error, rel=0.02)


def test_an_exact_crossing_lies_between_its_two_neighbours() -> None:
    found = crossover(exact(2.0, 1.5, 0.5))
    assert isinstance(found, Estimate)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high, found.interval.kind) == (1024, 2048, "range")
    assert found.value == pytest.approx(1024 * 2 ** (np.log(1.5) / np.log(3)))


def test_a_ratio_that_stays_on_one_side_never_crosses_there() -> None:
    assert crossover(noisy(1.8, 1.4, 1.2)) == Never("above")
    assert crossover(exact(0.8, 0.4)) == Never("below")


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (noisy(1.5, 1.2, 1.001), "too close at some lengths"),
        (noisy(1.5, 0.5, 1.5), "more than once"),
        (noisy(1.5), "both have a result at 1"),
        ([], "both have a result at 0"),
        (noisy(1.5, 0.5, rounds=1), "one round at each length"),
    ],
)
def test_what_cannot_be_told_says_why(points: Points, reason: str) -> None:
    found = crossover(points)
    assert isinstance(found, CannotTell)
    assert reason in found.reason


def results(fate: records.Fate = records.ok) -> KindResults:
    cells = records.grid(
        "lengths",
        variants=("dense", "lsh_only", "reformer"),
        workloads=(TimeStep(mode="forward_backward"),),
        length=(128, 256, 512, 1024, 2048, 4096),
    )
    found = experiment_results(records.planned("lengths", cells), records.records(cells, fate)).kind("time")
    assert found is not None
    return found


def test_the_table_names_the_planted_crossing_of_each_variant() -> None:
    (table,) = crossover_tables(results())
    cells = {row.cells[1]: row.cells for row in table.rows}
    # Two rounds of hashing: 2^0.8 times the time at 512 tokens, and then 0.9 less in the exponent.
    crossing = 512 * 2 ** (0.8 / 0.9)
    assert float(cells["lsh_only"][2].replace(",", "")) == pytest.approx(crossing, rel=0.1)
    assert float(cells["reformer"][2].replace(",", "")) == pytest.approx(crossing * 1.3 ** (1 / 0.9), rel=0.1)
    assert cells["reformer"][5] == "128, 256, 512, 1024, 2048, 4096"


def lost(cell: Cell) -> records.Outcome:
    """Dense finds no memory beyond 1,024 tokens, and at 256 the two sides have no round in common."""
    if cell.config.variant == "dense" and (cell.length > 1024 or (cell.length, cell.seed) == (256, 0)):
        return ("oom", "no memory")
    return (
        ("killed", "by hand") if (cell.config.variant, cell.length, cell.seed) == ("reformer", 256, 1) else ("ok", "")
    )


def test_only_lengths_that_both_were_measured_at_are_compared() -> None:
    dense, _, reformer = results(lost).series("forward_backward")
    assert [x for x, _ in ratios(dense, reformer)] == [128, 512, 1024]
    (table,) = crossover_tables(results(lost))
    assert table.rows[-1].cells[5] == "128, 512, 1024"


def test_no_number_is_taken_over_cells_of_different_support() -> None:
    """A variant that fails where steps are long must not look the faster for it."""
    whole, part = results(), results(lost)
    for mine, theirs in zip(whole.series("forward_backward"), part.series("forward_backward"), strict=True):
        for one, other in zip(mine.groups, theirs.groups, strict=True):
            # What is at one length depends on nothing at any other.
            if not other.failures:
                assert other.estimate == one.estimate
