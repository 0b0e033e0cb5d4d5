"""The gate's decision on gates that were really taken, and on what is drawn from them."""

from collections import Counter

import pytest

from ablations.gate.judge import LEAST_ROUNDS
from tests.gate.resampling import RECORDED, judged, recorded, resampled, thinned

DRAWN = 200
SECONDS = 360.0
"""That a gate may take on two cores."""


@pytest.mark.parametrize(("kind", "least"), [("same", 6), ("slower", 4)])
def test_there_are_enough_of_them_and_none_took_too_long(kind: str, least: int) -> None:
    gates = recorded(RECORDED, kind)
    assert len(gates) >= least
    assert max(gate.seconds for gate in gates) <= SECONDS
    assert all(len(cell.rounds) >= LEAST_ROUNDS for gate in gates for cell in (*gate.cells, gate.control))


def test_equal_code_raised_no_alarm_and_slower_attention_was_caught() -> None:
    assert "regressed" not in {judged(gate).outcome for gate in recorded(RECORDED, "same")}
    assert {judged(gate).outcome for gate in recorded(RECORDED, "slower")} == {"regressed"}


def test_of_gates_drawn_from_them_one_in_a_hundred_at_most_is_a_false_alarm() -> None:
    gates = recorded(RECORDED, "same")
    found = Counter(resampled(gates, seed).outcome for seed in range(DRAWN))
    assert found["regressed"] <= DRAWN // 100


def test_of_gates_drawn_from_them_nineteen_in_twenty_at_least_find_the_slowdown() -> None:
    gates = recorded(RECORDED, "slower")
    found = Counter(resampled(gates, seed).outcome for seed in range(DRAWN))
    assert found["regressed"] >= 0.95 * DRAWN


def test_thinning_leaves_every_verdict_alone() -> None:
    for gate in recorded(RECORDED, "slower"):
        assert thinned(gate) == gate
