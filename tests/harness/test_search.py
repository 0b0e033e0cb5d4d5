"""Which length comes next, against the plain question: does it fit?"""

import json
import random
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from ablations.harness.cell import Capacity, Cell
from ablations.harness.record import Status
from ablations.harness.search import WIDTH, Finding, Search, found, next_length
from reformer.config import LSHAttention, SinusoidalPositions
from tests.harness.cells import cell, config

GRANULE = 6
ATTENTION = LSHAttention(chunk_len=3)


def search(*, start: int = 12, most: int = 12 * 2**9, variant: str = "reformer") -> Search:
    model = config(variant, length=start, attention=ATTENTION, positions=SinusoidalPositions())
    first = cell(config=model, length=start, workload=Capacity(budget_bytes=7919))
    return Search(cell=first, attention=ATTENTION, granule=GRANULE, most=most, most_reason="no time")


def ended(of: Search, becomes: Callable[[int], Status]) -> Finding:
    """The search measured to its end, one probe after the other."""
    statuses: dict[str, Status] = {}
    while probe := found(of, statuses).next:
        assert probe.id not in statuses
        statuses[probe.id] = becomes(probe.length)
    return found(of, statuses)


def within(limit: int) -> Callable[[int], Status]:
    return lambda length: "ok" if length <= limit else "oom"


def lengths(finding: Finding) -> list[int]:
    return [probe.length for probe, _ in finding.probes]


def test_the_longest_that_fits_is_found_wherever_the_limit_lies() -> None:
    draw = random.Random(20)
    of = search()
    for limit in [5, 6, 11, 12, 13, 6143, 6144, *(draw.randrange(6, 6144) for _ in range(60))]:
        finding = ended(of, within(limit))
        fits, fails = finding.fits or 0, finding.fails
        longest = limit // GRANULE * GRANULE
        if longest >= of.most:
            assert (fits, fails, finding.stop) == (of.most, None, "at_most")
            continue
        assert fails is not None
        assert fits <= longest < fails
        assert fails - fits <= max(GRANULE, WIDTH * fits)
        assert finding.stop == "bracketed"
        assert all(length % GRANULE == 0 for length in lengths(finding))
        # Nine doublings reach the end, five halvings a twentieth.
        assert len(finding.probes) <= 10 + 6


def test_no_length_is_tried_twice_nor_beyond_one_that_failed() -> None:
    for limit in range(5, 400, 7):
        finding = ended(search(), within(limit))
        failed: list[int] = []
        for probe, status in finding.probes:
            assert all(probe.length < length for length in failed)
            failed += [probe.length] if status == "oom" else []
        assert len(set(lengths(finding))) == len(finding.probes)


def test_lengths_double_then_halve_what_is_left() -> None:
    assert lengths(ended(search(), within(130))) == [12, 24, 48, 96, 192, 144, 120, 132, 126]


def test_where_the_first_length_fails_shorter_ones_are_tried() -> None:
    finding = ended(search(start=96), within(30))
    assert lengths(finding) == [96, 48, 24, 36, 30]
    assert (finding.fits, finding.fails) == (30, 36)


def test_where_not_even_a_granule_fits_nothing_does() -> None:
    finding = ended(search(start=96), within(0))
    assert lengths(finding)[-1] == GRANULE
    assert (finding.fits, finding.fails, finding.stop) == (None, GRANULE, "bracketed")


def test_the_last_doubling_ends_at_the_longest_to_try() -> None:
    finding = ended(search(most=60), within(10**6))
    assert lengths(finding) == [12, 24, 48, 60]
    assert (finding.fits, finding.stop) == (60, "at_most")


@pytest.mark.parametrize("status", ["killed", "timeout", "error", "unsupported", "not_run"])
def test_what_says_nothing_of_memory_ends_the_search_and_is_not_taken_for_a_limit(status: Status) -> None:
    finding = ended(search(), lambda length: "ok" if length < 48 else status)
    assert lengths(finding) == [12, 24, 48]
    assert (finding.fits, finding.fails, finding.stop) == (24, None, "unsettled")


def test_an_interrupted_search_goes_on_where_it_was_and_a_finished_one_has_nothing_to_do() -> None:
    whole = ended(search(), within(130))
    for n_known in range(len(whole.probes)):
        known = {probe.id: status for probe, status in whole.probes[:n_known]}
        finding = found(search(), known)
        assert finding.probes == whole.probes[:n_known]
        assert finding.next == whole.probes[n_known][0]
        assert finding.stop is None
        assert finding.cells == (*(probe for probe, _ in finding.probes), finding.next)
    assert whole.next is None


def test_records_that_the_search_does_not_come_across_have_no_say() -> None:
    of = search()
    strangers: dict[str, Status] = {of.probe(18).id: "oom", "0123456789abcdef": "killed"}
    assert found(of, strangers).next == of.cell


def test_probes_differ_in_length_alone_and_in_the_buckets_that_follow_from_it() -> None:
    of = search()
    probe = of.probe(96)
    assert (probe.length, probe.config.max_len) == (96, 96)
    (attention,) = {one for one in probe.config.attentions if isinstance(one, LSHAttention)}
    assert attention.n_buckets == (64,)
    assert of.probe(12) == of.cell

    def rest(one: Cell) -> object:
        return one.model_dump(exclude={"length": True, "config": {"max_len", "attention"}})

    assert rest(probe) == rest(of.cell)


def test_buckets_that_were_asked_for_stay() -> None:
    fixed = LSHAttention(chunk_len=3, n_buckets=(10,))
    probe = search().model_copy(update={"attention": fixed}).probe(96)
    assert {one.n_buckets for one in probe.config.attentions if isinstance(one, LSHAttention)} == {(10,)}


def test_a_search_comes_back_from_json_as_it_was() -> None:
    of = search()
    again = Search.model_validate(json.loads(of.model_dump_json()))
    assert again == of
    assert again.probe(96).id == of.probe(96).id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 13}, "length=13 is no multiple of 6"),
        ({"most": 50}, "length=50 is no multiple of 6"),
        ({"start": 24, "most": 12}, "length=24 is more than 12"),
    ],
)
def test_lengths_that_are_no_multiples_are_refused(change: dict[str, int], message: str) -> None:
    asked = {"start": 12, "most": 96} | change
    with pytest.raises(ValidationError, match=message):
        search(start=asked["start"], most=asked["most"])


def test_the_bracket_is_a_twentieth_at_most_or_a_granule() -> None:
    of = search()
    assert next_length(of, 1200, 1260) is None
    assert next_length(of, 1200, 1266) == 1230
    assert next_length(of, 6, 12) is None
