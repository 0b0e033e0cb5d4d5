"""Longest sequences: told by the lengths that both have tried."""

import pytest

from ablations.compare.comparison import Comparison, compare_machines
from ablations.compare.judge import Judgement, Limits
from ablations.harness.record import Record, Status
from ablations.harness.search import Search
from ablations.harness.store import MachineResults, Plan, PlannedExperiment
from tests.report import records
from tests.report.test_capacity_tables import Becomes, measured, search, within


def machine(becomes: Becomes, of: Search | None = None, *, n_most: int = 99) -> MachineResults:
    wanted = of or search("reformer")
    planned = PlannedExperiment(
        profile="cpu", name="max_length", title="Longest", question="How long?", cells=(), searches=(wanted,)
    )
    probes = tuple(measured(wanted, becomes, n_most=n_most))
    return MachineResults(environment=records.environment(), plan=Plan(experiments=(planned,)), records=probes)


def compared(before: MachineResults, after: MachineResults) -> Comparison:
    return compare_machines(before, after, Limits())


def judged(before: MachineResults, after: MachineResults) -> Judgement:
    (row,) = compared(before, after).rows
    assert row.label.what == "longest sequence"
    return row.judgement


@pytest.mark.parametrize("most", [700, 1500, 2900, 5000, 7900])
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3, 2.0])
def test_whoever_trains_longer_sequences_is_better(most: int, factor: float) -> None:
    """Beyond the width of a bracket, whatever way the searches went."""
    found = judged(machine(within(most)), machine(within(int(factor * most))))
    assert found.answer == ("same" if factor == 1.0 else "better" if factor > 1 else "worse")


def test_the_lengths_and_the_one_that_tells_are_named() -> None:
    found = judged(machine(within(3000)), machine(within(2000)))
    assert (found.before, found.after, found.reason) == ("2,944", "1,920", "2,048 fits in A, out of memory in B")


def test_a_length_that_ends_in_an_error_is_worse_although_it_says_nothing_of_memory() -> None:
    def broken(length: int) -> Status:
        return "error" if length == 2048 else "ok"

    found = judged(machine(within(3000)), machine(broken))
    assert (found.answer, found.reason) == ("worse", "2,048 fits in A, error in B")


def test_an_unfinished_search_tells_only_what_its_probes_do() -> None:
    assert judged(machine(within(3000)), machine(within(3000), n_most=2)).answer == "cannot tell"
    assert judged(machine(within(3000)), machine(within(1000), n_most=2)).answer == "worse"
    assert judged(*[machine(within(3000), n_most=2)] * 2).answer == "cannot tell"


def test_other_memory_that_was_free_is_no_verdict_on_the_code() -> None:
    whatever = search("reformer", budget_bytes=None)
    more, less = machine(within(3000), whatever), machine(within(2000), whatever)
    found = judged(more, less.model_copy(update={"records": tuple(with_free(2**30, one) for one in less.records)}))
    assert found.answer == "cannot tell"
    assert found.reason == "the budgets differ: what was free, 16.0 GiB in A, what was free, 1.00 GiB in B"


def with_free(n_bytes: int, record: Record) -> Record:
    trained = record.measurement
    freed = trained and trained.model_copy(update={"budget_bytes": n_bytes})
    return record.model_copy(update={"measurement": freed})


def test_a_search_of_one_side_alone_is_named_and_its_probes_are_no_cells() -> None:
    nothing = machine(within(3000), n_most=0)
    there, back = compared(nothing, machine(within(3000))), compared(machine(within(3000)), nothing)
    assert [one.text for one in there.new] == [
        "max_length: longest sequence: reformer, from length=512 (missing in A, 2,944 in B)"
    ]
    assert not there.missing
    assert [one.n_cells for one in back.missing] == [1]
    assert not there.rows
    assert [one.n_cells for one in compared(nothing, nothing).neither] == [1]


def test_probes_of_a_search_that_is_planned_no_more_are_compared_as_cells() -> None:
    def unplanned(one: MachineResults) -> MachineResults:
        return one.model_copy(update={"plan": Plan(experiments=())})

    comparison = compared(unplanned(machine(within(3000))), unplanned(machine(within(2000))))
    worse = [row for row in comparison.rows if row.judgement.answer == "worse"]
    assert [row.label.settings.split(",")[0] for row in worse] == ["length=2048"]
    assert comparison.missing
