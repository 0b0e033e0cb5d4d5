"""How long a step takes. No other module reads these clocks to measure one."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

import torch

from ablations.harness.measure.contention import Moment, others_seconds, read_stat

WINDOW = 5
STEADY_WITHIN = 0.02
"""Steps have settled once the median of five differs from that of the five before by less than this fraction of it."""
PAIR_STEADY_WITHIN = 0.05
"""Where steps are so long that ten are too many, the last two are compared, which vary more than medians of five do."""
LEAST_WARM_UP_SECONDS: Mapping[str, float] = MappingProxyType({"cpu": 0.1, "cuda": 1.0})
"""A GPU takes a second to reach its clock; before that steps agree with each other and are all too slow."""
WARM_UP_LIMIT_SECONDS = 6.0
"""No step begins after this: one step as long as this has warmed up what there is, and ten would take minutes."""
PATIENCE = 4
"""Times as long as steps will be sampled, ten steps may wait for quieter ones; what has not settled then is flagged."""
MOST_WARM_UP_STEPS: Mapping[str, int] = MappingProxyType({"cpu": 1000, "cuda": 20_000})
"""On a GPU a step takes 50 microseconds at least: so many fill its second."""
MOST_KEPT = 1000
"""Of a warm-up, half of them its first steps and half its last."""
MOST_SAMPLES = 200
HOST_STEPS = 10
LEAST_HOST_STEPS = 3
HOST_SECONDS = 2.0


class Sample(NamedTuple):
    """One timed step; seconds. `device` is what CUDA events measured."""

    wall: float
    cpu: float
    device: float | None


class Samples(NamedTuple):
    """Timed steps, and the steps that went before them.

    Attributes:
        timed: What counts.
        warm_up: Wall clock of the very first step, then of those of the warm-up, the middle of a long one left out.
        steady: Whether they had settled.
        others_seconds: Processor time that everything else took of the processors during the timed steps, or `None`.
        others_missing: Why `others_seconds` is `None`.
    """

    timed: tuple[Sample, ...]
    warm_up: tuple[float, ...]
    steady: bool
    others_seconds: float | None
    others_missing: str | None


def sample_steps(
    step: Callable[[], None], *, before: Callable[[], None], device: torch.device, min_samples: int, seconds: float
) -> Samples:
    """Take one step, warm up until steps settle, then time them one by one.

    All rules of sampling are here: nothing but the step lies between two readings of the clock, the device is
    synchronised before each, and the garbage collector is off.

    Args:
        step: What is timed.
        before: Run untimed before each step, to clear what the last one left.
        device: Where the step works.
        min_samples: Steps timed at least.
        seconds: Time steps for at least this long, up to 200 of them.
    """
    with without_collections():
        # What the first step alone does, such as compiling, is no part of a warm-up that ends after some seconds.
        first = _next(step, before, device)
        warm_up = _warm_up(step, before, device, seconds)
        samples: list[Sample] = []
        began = _now()
        while len(samples) < MOST_SAMPLES and (len(samples) < min_samples or sum(s.wall for s in samples) < seconds):
            samples.append(_next(step, before, device))
        ended = _now()
    others, others_missing = others_seconds(began, ended, measured=sum(sample.wall for sample in samples))
    curve = warm_up if len(warm_up) <= MOST_KEPT else warm_up[: MOST_KEPT // 2] + warm_up[-MOST_KEPT // 2 :]
    # After a single long step of warm-up, the first sample tells whether that had settled.
    steady = settled(warm_up if len(warm_up) > 1 else [*warm_up, samples[0].wall])
    return Samples(tuple(samples), (first.wall, *curve), steady, others, others_missing)


def _warm_up(
    step: Callable[[], None], before: Callable[[], None], device: torch.device, sampled_seconds: float
) -> list[float]:
    least, most = LEAST_WARM_UP_SECONDS[device.type], MOST_WARM_UP_STEPS[device.type]
    patience = PATIENCE * max(sampled_seconds, least)
    taken: list[float] = []
    spent = 0.0
    while spent < WARM_UP_LIMIT_SECONDS and len(taken) < most:
        taken.append(_next(step, before, device).wall)
        spent += taken[-1]
        enough = spent >= least and len(taken) >= 2 * WINDOW
        if enough and (spent >= patience or settled(taken)):
            break
    return taken


def settled(taken: list[float]) -> bool:
    """Whether the latest steps, two at least, take as long as those before them."""
    if len(taken) < 2 * WINDOW:
        return _alike(taken[-2], taken[-1], PAIR_STEADY_WITHIN)
    return _alike(median(taken[-2 * WINDOW : -WINDOW]), median(taken[-WINDOW:]), STEADY_WITHIN)


def _alike(before: float, after: float, within: float) -> bool:
    return abs(after - before) < within * before


def by_host(step: Callable[[], None], *, before: Callable[[], None], device: torch.device) -> tuple[float, ...]:
    """Wall clock of ten steps without events around them, from an idle device to an idle device; seconds.

    Fewer where they take more than two seconds, but three at least.
    """
    taken: list[float] = []
    with without_collections():
        while len(taken) < LEAST_HOST_STEPS or (len(taken) < HOST_STEPS and sum(taken) < HOST_SECONDS):
            before()
            torch.cuda.synchronize(device)
            started = time.perf_counter()
            step()
            torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - started)
    return tuple(taken)


def back_to_back(step: Callable[[], None], *, before: Callable[[], None], device: torch.device, steps: int) -> float:
    """Wall clock of so many steps of which each begins as soon as the device is done with the last; seconds."""
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(steps):
        before()
        step()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def timed(step: Callable[[], None], device: torch.device) -> Sample:
    """One step, timed; seconds."""
    return _timed_on_gpu(step) if device.type == "cuda" else _timed_on_cpu(step)


def _next(step: Callable[[], None], before: Callable[[], None], device: torch.device) -> Sample:
    before()
    return timed(step, device)


def _timed_on_cpu(step: Callable[[], None]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu, None)


def _timed_on_gpu(step: Callable[[], None]) -> Sample:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu, begin.elapsed_time(end) / 1000)


def _now() -> Moment:
    return Moment(wall=time.perf_counter(), own=time.process_time(), stat=read_stat())


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection inside, a thorough one before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
