"""What others take of the processors, from texts of /proc/stat with known counts."""

import itertools
import os

import pytest
import torch

from ablations.harness.measure.contention import Moment, busy_seconds, others_seconds, read_stat
from ablations.harness.measure.time import sample_steps
from ablations.harness.measurement import CONTENDED_SHARE, StepTimes
from tests.harness import clock as clocks
from tests.harness.clock import Clock

clock = clocks.clock
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)


def stat(**seconds: float) -> str:
    """A text in which processors 0 and 3 did so, and 1 something else: user, nice, and so on to guest_nice."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
    of_two = [round(TICKS * seconds.get(name, 0.0)) for name in names]
    lines = [("cpu", [999_999] * 10), ("cpu0", of_two), ("cpu1", [777] * 10), ("cpu3", of_two)]
    text = "\n".join(f"{name} {' '.join(map(str, counts))}" for name, counts in lines)
    return f"{text}\nintr 3911672 0 0\nctxt 12\nbtime 1700000000\n"


@pytest.mark.parametrize(
    ("field", "counts"),
    [
        ("user", True),
        ("nice", True),
        ("system", True),
        ("irq", True),
        ("softirq", True),
        ("steal", True),
        ("idle", False),
        ("iowait", False),
        ("guest", False),
        ("guest_nice", False),
    ],
)
def test_a_processor_is_busy_unless_it_waits_and_guests_are_not_counted_twice(field: str, counts: bool) -> None:
    assert busy_seconds(stat(**{field: 3.0}), {0, 3}) == (6.0 if counts else 0.0)
    assert busy_seconds(stat(**{field: 3.0}), {3, 8}) == (3.0 if counts else 0.0)


def test_a_kernel_that_tells_no_more_than_four_counts_is_understood() -> None:
    assert busy_seconds(f"cpu0 {TICKS} 0 {TICKS} 9 9 0 0 {TICKS}\n", {0}) == 3.0


def test_others_are_what_kept_the_processors_busy_but_for_this_process() -> None:
    began = Moment(wall=10.0, own=4.0, stat=stat(user=100.0, steal=7.0))
    ended = Moment(wall=12.0, own=5.5, stat=stat(user=101.0, steal=7.25))
    # Both processors: two seconds of use and half a second stolen, of which 1.5 were this process's.
    seconds, why_not = others_seconds(began, ended, measured=2.0)
    assert seconds == pytest.approx(1.0)
    assert why_not is None


def test_what_others_took_between_steps_is_left_out_in_proportion() -> None:
    began = Moment(wall=10.0, own=4.0, stat=stat())
    ended = Moment(wall=12.0, own=4.0, stat=stat(user=0.5))
    seconds, _ = others_seconds(began, ended, measured=0.5)
    assert seconds == pytest.approx(0.25)


def test_ticks_that_fall_short_of_what_this_process_took_are_no_negative_others() -> None:
    began = Moment(wall=10.0, own=4.0, stat=stat())
    ended = Moment(wall=12.0, own=6.02, stat=stat(user=1.0))
    assert others_seconds(began, ended, measured=2.0) == (0.0, None)


def test_what_cannot_be_known_is_none_with_its_reason() -> None:
    began, ended = Moment(10.0, 4.0, stat()), Moment(10.3, 4.1, stat(user=0.2))
    assert others_seconds(began, ended._replace(stat=None), measured=0.3) == (None, "the system has no /proc/stat")
    seconds, why = others_seconds(began, ended, measured=0.3)
    assert (seconds, why) == (
        None,
        "samples took 0.3 s, too short for processor time that is counted in ticks of 10 ms",
    )
    standing = others_seconds(began, Moment(12.0, 5.0, stat()), measured=2.0)
    assert standing == (None, "/proc/stat counts nothing on this system")


def test_a_system_without_the_file_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", refused)
    assert read_stat() is None


@pytest.mark.parametrize(("others", "contended"), [(0.0, False), (0.08, False), (0.12, True), (0.9, True)])
def test_a_neighbour_of_more_than_a_twentieth_of_the_machine_makes_a_cell_contended(
    others: float, contended: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps of a tenth of a second on two processors; `others` are a neighbour's seconds within that second."""
    texts = iter([stat(user=20.0), stat(user=20.0 + (1.5 + others) / 2)])
    monkeypatch.setattr("ablations.harness.measure.time.read_stat", lambda: next(texts))
    samples = sample_steps(
        lambda: clock.spend(0.1, 0.15), before=lambda: None, device=torch.device("cpu"), min_samples=10, seconds=0.0
    )
    times = StepTimes(
        wall_seconds=tuple(sample.wall for sample in samples.timed),
        cpu_seconds=tuple(sample.cpu for sample in samples.timed),
        device_seconds=None,
        warm_up_seconds=samples.warm_up,
        steady=samples.steady,
        tokens_per_step=1,
        threads=2,
        cores=2,
        others_seconds=samples.others_seconds,
        others_missing=samples.others_missing,
        host_seconds=None,
        energy=None,
        energy_missing="no GPU in use",
    )
    assert times.others_seconds == pytest.approx(others)
    assert times.contended == contended
    assert CONTENDED_SHARE * 2 == 0.1


def test_a_window_of_samples_does_not_contain_the_warm_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = itertools.count()
    read_at: list[float] = []

    def read() -> str:
        read_at.append(clock.wall)
        return stat(user=float(next(busy)))

    monkeypatch.setattr("ablations.harness.measure.time.read_stat", read)
    sample_steps(lambda: clock.spend(0.5), before=lambda: None, device=torch.device("cpu"), min_samples=4, seconds=0.0)
    assert [read_at[0] - 100.0, read_at[1] - read_at[0]] == pytest.approx([11 * 0.5, 4 * 0.5])
    assert len(read_at) == 2
