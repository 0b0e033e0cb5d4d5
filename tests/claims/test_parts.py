"""A part holds or fails only if its whole interval says so, and a verdict follows from all parts."""

import itertools

import pytest

from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import (
    Answer,
    Part,
    State,
    at_least,
    at_most,
    below,
    every,
    judged_by,
    never_here,
    said,
    within,
)
from ablations.report.statistics import CannotTell, Estimate, Interval, IntervalKind, of_readings
from ablations.report.units import RATIO

from .records import machine

NOTHING = Evidence(machine(()))


def estimate(low: float, high: float, kind: IntervalKind = "95 %") -> Estimate:
    return Estimate((low + high) / 2, Interval(low, high, kind), None, 5, 3)


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(1.0, 2.0, "holds"), (1.0, 3.0, "holds"), (2.0, 4.0, "cannot tell"), (3.5, 4.0, "fails")],
)
def test_at_most_asks_the_whole_interval(low: float, high: float, state: State) -> None:
    assert at_most(estimate(low, high), 3, RATIO, ()).state == state


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(4.0, 5.0, "holds"), (3.0, 5.0, "holds"), (2.0, 4.0, "cannot tell"), (1.0, 2.5, "fails")],
)
def test_at_least_asks_the_whole_interval(low: float, high: float, state: State) -> None:
    assert at_least(estimate(low, high), 3, RATIO, ()).state == state


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (-1.0, 2.0, "holds"),
        (-4.0, 1.0, "cannot tell"),
        (2.0, 4.0, "cannot tell"),
        (-9.0, 9.0, "cannot tell"),
        (-5.0, -3.5, "fails"),
        (4.0, 6.0, "fails"),
    ],
)
def test_within_asks_the_whole_interval_on_both_sides(low: float, high: float, state: State) -> None:
    assert within(estimate(low, high), 3, RATIO, ()).state == state


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(1.0, 2.0, "holds"), (1.0, 3.0, "cannot tell"), (3.0, 3.0, "fails"), (3.5, 4.0, "fails")],
)
def test_below_is_not_met_by_what_is_equal(low: float, high: float, state: State) -> None:
    assert below(estimate(low, high), 3, RATIO, ()).state == state


@pytest.mark.parametrize("value", [1.0, 5.0])
def test_without_an_interval_nothing_holds_and_nothing_fails(value: float) -> None:
    one_process = of_readings([value], exact=False)
    assert at_most(one_process, 3, RATIO, ()).state == "cannot tell"
    assert "no interval: one process" in at_most(one_process, 3, RATIO, ()).words
    assert at_most(of_readings([value, value + 0.1], exact=False), 3, RATIO, ()).state == "cannot tell"
    assert at_most(CannotTell("no seed"), 3, RATIO, ()) == Answer("cannot tell", "no seed")


def test_a_count_is_sure_and_said_to_be_exact() -> None:
    counted = of_readings([2.0], exact=True)
    assert at_most(counted, 3, RATIO, ()).state == "holds"
    assert said(counted, RATIO) == "2.00 x (exact)"


@pytest.mark.parametrize(
    ("states", "together"),
    [
        (("holds", "holds"), "holds"),
        (("holds", "fails"), "fails"),
        (("holds", "cannot tell"), "cannot tell"),
        (("cannot tell", "fails"), "fails"),
    ],
)
def test_several_answers_hold_if_every_one_does(states: tuple[State, ...], together: State) -> None:
    assert every([Answer(state, "words") for state in states]).state == together


def part(state: State, *, decisive: bool = False) -> Part:
    def ask(_evidence: Evidence) -> Answer:
        if state == "no evidence":
            raise NoEvidenceError("nobody asked")
        return Answer(state, "so much")

    return Part(f"that it {state}", ask, decisive)


H: State = "holds"
F: State = "fails"
C: State = "cannot tell"
N: State = "no evidence"
T: State = "noted"


@pytest.mark.parametrize(
    ("decisive", "others", "verdict"),
    [
        (H, (H,), "reproduced"),
        (H, (T,), "reproduced"),
        (H, (F,), "partly"),
        (H, (C,), "partly"),
        (H, (N,), "partly"),
        (C, (H,), "partly"),
        (C, (C,), "partly"),
        (F, (H,), "not reproduced"),
        (F, (N,), "not reproduced"),
        (N, (H,), "not testable here"),
        (N, (N, T), "not testable here"),
    ],
)
def test_the_decisive_part_settles_the_verdict(decisive: State, others: tuple[State, ...], verdict: str) -> None:
    for order in itertools.permutations([part(decisive, decisive=True), *map(part, others)]):
        assert judged_by(*order)(NOTHING).verdict == verdict


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ((F, F), "not reproduced"),
        ((F, C), "not reproduced"),
        ((F, N), "not reproduced"),
        ((F, H), "partly"),
        ((C, N), "partly"),
        ((N, N), "not testable here"),
        ((T, N), "not testable here"),
    ],
)
def test_without_a_decisive_part_what_holds_counts(states: tuple[State, ...], verdict: str) -> None:
    assert judged_by(*map(part, states))(NOTHING).verdict == verdict


def test_reasons_name_what_does_not_hold_what_cannot_be_told_and_what_is_missing() -> None:
    found = judged_by(part(H), part(F), part(C), part(N), note="Read this")(NOTHING)
    assert found.ours == "that it holds: so much; that it fails: so much; that it cannot tell: so much"
    assert found.reason == (
        "does not hold: that it fails. cannot tell: that it cannot tell. "
        "no evidence (nobody asked) of: that it no evidence. Read this"
    )


def test_what_no_record_can_decide_is_not_testable_whatever_is_noted() -> None:
    found = never_here("It is too large", part(T))(NOTHING)
    assert (found.verdict, found.reason) == ("not testable here", "It is too large")
    assert found.ours == "that it noted: so much"
