"""The rule by which one series of rounds is called slower than another."""

import numpy as np
import pytest

from ablations.report.verdict import CHANGED, CLEARLY, Verdict, clearly, verdict


def rounds(*ratios: float) -> Verdict:
    """Each round three times as slow as the one before, its sides alike in that."""
    return verdict([((ratio * 3.0**index,) * 3, (3.0**index,) * 3) for index, ratio in enumerate(ratios)])


@pytest.mark.parametrize(
    ("ratios", "answer"),
    [
        ((1.16, 1.14, 1.15), "slower"),
        ((0.86, 0.87, 0.85), "faster"),
        ((1.01, 0.99, 1.0), "same"),
        ((1.02, 0.90, 1.15), "cannot_tell"),
        # Clearly beyond 5 %, but no more than 10 %: neither a change nor the same.
        ((1.08, 1.081, 1.079), "cannot_tell"),
        # Far beyond 10 %, but from 0.9 to 1.7 as far as three rounds can say.
        ((1.4, 1.05, 1.25), "cannot_tell"),
        ((1.5,), "cannot_tell"),
    ],
)
def test_rounds_are_judged_by_value_and_interval(ratios: tuple[float, ...], answer: str) -> None:
    assert rounds(*ratios).answer == answer


def test_the_two_sides_change_places_with_the_answer() -> None:
    pairs = [((1.2, 1.3, 1.25), (1.0, 1.1, 1.05)), ((2.3, 2.4, 2.5), (2.0, 2.1, 1.9)), ((1.2, 1.2), (1.0, 1.0))]
    assert verdict(pairs).answer == "slower"
    assert verdict([(other, one) for one, other in pairs]).answer == "faster"


def test_another_limit_moves_what_is_a_change_and_what_is_the_same() -> None:
    three_per_cent = [((1.03 + wobble,), (1.0,)) for wobble in (-0.002, 0.0, 0.002)]
    assert verdict(three_per_cent).answer == "same"
    assert verdict(three_per_cent, changed=1.02).answer == "slower"
    assert verdict([(other, one) for one, other in three_per_cent], changed=1.02).answer == "faster"
    half_as_much_again = [((1.15 + wobble,), (1.0,)) for wobble in (-0.01, 0.0, 0.01)]
    assert verdict(half_as_much_again, changed=1.5).answer == "same"


def test_the_usual_limits_are_those_of_the_rule_for_others() -> None:
    assert clearly(CHANGED) == CLEARLY == pytest.approx(1 + (CHANGED - 1) / 2)


def planted(slowdown: float, spread: float, trials: int = 2000) -> list[str]:
    """Eight rounds each, both sides of which come from processes that differ by `spread`."""
    generator = np.random.default_rng(37)
    sides = np.exp(generator.normal(0, spread, size=(trials, 8, 2)))
    return [verdict([((slowdown * one,), (other,)) for one, other in trial]).answer for trial in sides.tolist()]


@pytest.mark.parametrize("spread", [0.01, 0.029])
def test_processes_that_differ_by_up_to_three_per_cent_raise_no_alarm(spread: float) -> None:
    same = planted(1.0, spread)
    assert same.count("slower") + same.count("faster") == 0
    assert planted(1.15, spread).count("slower") >= 0.97 * len(same)
    # What lies at the limit itself is found about every other time, as it must be.
    assert 0.3 < planted(1.10, spread).count("slower") / len(same) < 0.7
