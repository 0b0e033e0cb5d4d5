"""A clock that stands still until a test lets time pass, and a GPU made of nothing."""

from collections.abc import Callable, Iterable

import pytest
import torch


class Clock:
    """Stands in for the module `time` where steps are timed."""

    def __init__(self) -> None:
        self.wall = 100.0
        self.own = 7.0
        self.log: list[str] = []

    def perf_counter(self) -> float:
        self.log.append("wall")
        return self.wall

    def process_time(self) -> float:
        self.log.append("cpu")
        return self.own

    def spend(self, wall: float, own: float = 0.0) -> None:
        self.wall += wall
        self.own += own

    def steps(self, lengths: Iterable[float]) -> Callable[[], None]:
        """A step that takes the next of these lengths each time."""
        each = iter(lengths)
        return lambda: self.spend(next(each))


class Event:
    """A CUDA event on a device whose time passes at half the speed of the wall clock."""

    clock: Clock

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.clock.log.append("event")
        self.at = self.clock.wall

    def elapsed_time(self, end: "Event") -> float:
        return 1000 * (end.at - self.at) / 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr("ablations.harness.measure.time.time", one)
    monkeypatch.setattr("ablations.harness.measure.time.read_stat", lambda: None)
    # A collection of everything that torch imported takes half a second, and there is nothing to collect.
    monkeypatch.setattr("gc.collect", lambda: 0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: one.log.append("synchronise"))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Event, "clock", one, raising=False)
    return one
