"""What is handed out: every cell once, and of each search one probe at a time, whatever order records come back in."""

import random

from ablations.harness.cell import Capacity, Cell
from ablations.harness.record import Environment, Record, Status
from ablations.harness.search import Search, found
from ablations.harness.worklist import Worklist
from reformer.config import DenseAttention, SinusoidalPositions
from tests.harness.cells import cell, config, record
from tests.report.records import environment

HERE: Environment = environment()
LIMITS = {"dense": 33, "reversible_only": 70}


def search(variant: str) -> Search:
    model = config(variant, length=8, attention=DenseAttention(), positions=SinusoidalPositions())
    first = cell(config=model, length=8, workload=Capacity())
    return Search(cell=first, attention=DenseAttention(), granule=4, most=128, most_reason="no time")


SEARCHES = tuple(map(search, LIMITS))


def becomes(one: Cell) -> Record:
    if not isinstance(one.workload, Capacity):
        return record(one, HERE)
    fits = one.length <= LIMITS[one.config.variant]
    return ended(one, "ok" if fits else "oom")


def ended(one: Cell, status: Status) -> Record:
    if status == "ok":
        return record(one, HERE)
    return record(one, HERE, status=status, reason="planted", measurement=None)


def measured_alone(work: Worklist) -> list[Cell]:
    """As an engine does that has one place."""
    taken = []
    while one := work.take():
        taken.append(one)
        work.give(becomes(one))
    return taken


def test_cells_come_in_order_then_searches_in_turn() -> None:
    cells = [cell(seed=seed) for seed in (3, 1, 2)]
    work = Worklist(cells, SEARCHES)
    taken = measured_alone(work)
    assert taken[:3] == cells
    probes = [(one.config.variant, one.length) for one in taken[3:]]
    assert probes[:6] == [(variant, length) for length in (8, 16, 32) for variant in LIMITS]
    assert work.done
    assert work.take() is None


def test_every_search_comes_to_the_end_it_has_alone() -> None:
    taken = measured_alone(Worklist([], SEARCHES))
    for one in SEARCHES:
        alone = measured_alone(Worklist([], [one]))
        assert [probe for probe in taken if probe.config.variant == one.cell.config.variant] == alone
        finding = found(one, {probe.id: becomes(probe).status for probe in taken})
        assert (finding.next, finding.cells) == (None, tuple(alone))
        assert finding.fits == LIMITS[one.cell.config.variant] // 4 * 4


def lengths(cells: tuple[Cell, ...]) -> list[int]:
    return [one.length for one in cells]


def test_with_several_out_at_once_a_search_waits_for_its_own_probe() -> None:
    work = Worklist([cell()], SEARCHES)
    assert [work.take(), work.take(), work.take()] == [cell(), SEARCHES[0].cell, SEARCHES[1].cell]
    assert work.take() is None
    assert not work.done
    assert lengths(work.remaining) == []
    work.give(becomes(SEARCHES[1].cell))
    assert lengths(work.remaining) == [16]
    assert work.take() == SEARCHES[1].probe(16)
    assert work.take() is None


def test_the_same_cells_are_measured_whatever_order_records_come_back_in() -> None:
    cells = [cell(seed=seed) for seed in range(5)]
    expected = sorted(one.id for one in measured_alone(Worklist(cells, SEARCHES)))
    draw = random.Random(7)
    for _ in range(20):
        work = Worklist(cells, SEARCHES)
        out: list[Cell] = []
        taken: list[str] = []
        while not work.done:
            while len(out) < 3 and (one := work.take()):
                out.append(one)
                taken.append(one.id)
            probing = [one.config.variant for one in out if isinstance(one.workload, Capacity)]
            assert len(set(probing)) == len(probing), "two probes of one search are out at once"
            work.give(becomes(out.pop(draw.randrange(len(out)))))
        assert sorted(taken) == expected


def test_what_earlier_runs_settled_is_not_handed_out_again() -> None:
    whole = measured_alone(Worklist([], SEARCHES))
    for n_known in range(len(whole) + 1):
        settled = {one.id: becomes(one).status for one in whole[:n_known]}
        work = Worklist([], SEARCHES, settled)
        assert work.done == (n_known == len(whole))
        assert sorted(one.id for one in measured_alone(work)) == sorted(one.id for one in whole[n_known:])


def test_the_last_of_several_records_of_a_probe_counts() -> None:
    work = Worklist([], SEARCHES[:1])
    probe = work.take()
    assert probe is not None
    work.give(ended(probe, "oom"))
    assert [one.length for one in work.remaining] == [4]
    work.give(ended(probe, "ok"))
    assert [one.length for one in work.remaining] == [16]


def test_a_probe_that_was_killed_ends_its_search_and_no_other() -> None:
    work = Worklist([], SEARCHES)
    dense = work.take()
    assert dense is not None
    work.give(ended(dense, "killed"))
    assert {one.config.variant for one in measured_alone(work)} == {"reversible_only"}


def test_a_search_given_twice_runs_once() -> None:
    assert measured_alone(Worklist([], SEARCHES * 2)) == measured_alone(Worklist([], SEARCHES))
