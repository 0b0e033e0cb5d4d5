"""When steps are timed and how: by a clock that stands still until a test lets time pass."""

import itertools
import random
from collections.abc import Callable, Iterable

import pytest
import torch

from ablations.harness.measure.time import Samples, back_to_back, by_host, sample_steps
from tests.harness import clock as clocks
from tests.harness.clock import Clock

clock = clocks.clock
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def sampled(
    clock: Clock,
    lengths: Iterable[float],
    *,
    device: torch.device = CPU,
    min_samples: int = 3,
    seconds: float = 0.0,
    before: Callable[[], None] = lambda: None,
) -> Samples:
    return sample_steps(clock.steps(lengths), before=before, device=device, min_samples=min_samples, seconds=seconds)


def plain_warm_up(lengths: list[float]) -> int:
    """How many steps warm up, by the rule as written: medians of five within two per cent, a tenth of a second."""
    for n in range(10, len(lengths) + 1):
        before, after = sorted(lengths[n - 10 : n - 5])[2], sorted(lengths[n - 5 : n])[2]
        if sum(lengths[:n]) >= 0.1 and abs(after / before - 1) < 0.02:
            return n
    raise AssertionError("it never settles")


@pytest.mark.parametrize("seed", range(20))
def test_the_warm_up_ends_with_the_first_step_at_which_the_median_has_settled(seed: int, clock: Clock) -> None:
    draw = random.Random(seed)
    lengths = [0.02 * (1 + 2 * 0.8**n) * draw.uniform(0.97, 1.03) for n in range(200)]
    samples = sampled(clock, [0.5, *lengths], seconds=1.5)
    assert len(samples.warm_up) == 1 + plain_warm_up(lengths)
    assert samples.warm_up[1:] == pytest.approx(lengths[: len(samples.warm_up) - 1])
    assert samples.warm_up[0] == pytest.approx(0.5)
    assert samples.steady


def test_short_steps_warm_up_for_a_tenth_of_a_second(clock: Clock) -> None:
    assert len(sampled(clock, itertools.repeat(0.004)).warm_up) == 1 + 25


def test_a_gpu_warms_up_for_a_second_however_even_its_steps_are(clock: Clock) -> None:
    assert len(sampled(clock, itertools.repeat(0.0625), device=CUDA).warm_up) == 1 + 16
    assert len(sampled(clock, itertools.repeat(0.0625), device=CPU).warm_up) == 1 + 10


def test_steps_too_short_for_that_warm_up_a_thousand_times(clock: Clock) -> None:
    assert len(sampled(clock, itertools.repeat(1e-7)).warm_up) == 1 + 1000


def test_a_warm_up_that_does_not_settle_ends_after_six_seconds_and_says_so(clock: Clock) -> None:
    samples = sampled(clock, itertools.cycle((0.25, 0.5)), seconds=1.5)
    assert 6.0 <= sum(samples.warm_up[1:]) < 6.5
    assert not samples.steady


@pytest.mark.parametrize(("seconds", "patience"), [(0.0, 0.4), (0.25, 1.0)])
def test_ten_steps_that_do_not_settle_wait_four_times_as_long_as_is_sampled(
    seconds: float, patience: float, clock: Clock
) -> None:
    samples = sampled(clock, itertools.cycle((0.01, 0.02)), seconds=seconds)
    assert patience - 1e-9 <= sum(samples.warm_up[1:]) < patience + 0.02
    assert not samples.steady
    assert len(sampled(clock, itertools.cycle((0.1, 0.2))).warm_up) == 1 + 10


@pytest.mark.parametrize(("sample", "steady"), [(8.3, True), (8.5, False), (7.5, False)])
def test_one_long_step_is_warm_up_enough_and_the_first_sample_tells_whether_it_had_settled(
    sample: float, steady: bool, clock: Clock
) -> None:
    samples = sampled(clock, [11.0, 8.0, sample, 1.0, 1.0])
    assert samples.warm_up == pytest.approx((11.0, 8.0))
    assert samples.steady == steady


@pytest.mark.parametrize(("third", "steady"), [(2.08, True), (2.12, False)])
def test_of_a_few_long_steps_the_last_two_are_compared(third: float, steady: bool, clock: Clock) -> None:
    samples = sampled(clock, [5.0, 2.4, 2.0, third, *[1.0] * 3])
    assert len(samples.warm_up) == 1 + 3
    assert samples.steady == steady


def test_what_the_first_step_alone_does_is_no_part_of_the_warm_up(clock: Clock) -> None:
    samples = sampled(clock, [30.0, *[0.05] * 100])
    assert samples.warm_up == pytest.approx((30.0, *[0.05] * 10))
    assert max(sample.wall for sample in samples.timed) == pytest.approx(0.05)


def test_of_a_very_long_warm_up_both_ends_are_kept(clock: Clock) -> None:
    samples = sampled(clock, [9.0, *(0.001 * (1 + n % 2) for n in range(3000))], seconds=1.5)
    assert len(samples.warm_up) == 1 + 1000
    assert samples.warm_up[:3] == pytest.approx((9.0, 0.001, 0.002))
    assert not samples.steady


def test_sampling_takes_as_many_steps_as_asked_and_no_more_than_two_hundred(clock: Clock) -> None:
    assert len(sampled(clock, itertools.repeat(0.5), min_samples=7).timed) == 7
    assert len(sampled(clock, itertools.repeat(0.5), seconds=6.0).timed) == 12
    assert len(sampled(clock, itertools.repeat(0.005), seconds=60.0).timed) == 200


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (CPU, "before wall cpu step wall cpu"),
        (CUDA, "before synchronise wall cpu event step event synchronise wall cpu"),
    ],
    ids=str,
)
def test_nothing_but_the_step_lies_between_two_readings_of_the_clock(
    device: torch.device, expected: str, clock: Clock
) -> None:
    def step() -> None:
        clock.log.append("step")
        clock.spend(0.5, 0.25)

    samples = sample_steps(step, before=lambda: clock.log.append("before"), device=device, min_samples=3, seconds=0.0)
    words = expected.split()
    first_of_the_samples = len(clock.log) - 2 - 3 * len(words)
    assert clock.log[first_of_the_samples:-2] == 3 * words
    assert [(s.wall, s.cpu) for s in samples.timed] == 3 * [pytest.approx((0.5, 0.25))]
    assert [s.device for s in samples.timed] == 3 * [None if device == CPU else pytest.approx(0.25)]


def test_what_comes_before_a_step_takes_no_time_of_it(clock: Clock) -> None:
    samples = sampled(clock, itertools.repeat(0.1), before=lambda: clock.spend(3.0, 2.0))
    assert [(s.wall, s.cpu) for s in samples.timed] == 3 * [pytest.approx((0.1, 0.0))]


def test_the_host_s_clock_stops_once_a_step_and_no_event_is_recorded(clock: Clock) -> None:
    def step() -> None:
        clock.log.append("step")
        clock.spend(0.125)

    taken = by_host(step, before=lambda: clock.log.append("before"), device=CUDA)
    assert taken == (0.125,) * 10
    assert clock.log == 10 * ["before", "synchronise", "wall", "step", "synchronise", "wall"]


def test_long_steps_are_taken_less_often_by_the_host_s_clock(clock: Clock) -> None:
    assert len(by_host(lambda: clock.spend(0.5), before=lambda: None, device=CUDA)) == 4
    assert len(by_host(lambda: clock.spend(5.0), before=lambda: None, device=CUDA)) == 3


def test_steps_back_to_back_are_waited_for_once(clock: Clock) -> None:
    def step() -> None:
        clock.log.append("step")
        clock.spend(0.25)

    assert back_to_back(step, before=lambda: clock.spend(0.5), device=CUDA, steps=4) == 3.0
    assert clock.log == ["synchronise", "wall", *["step"] * 4, "synchronise", "wall"]
