"""How long a step takes."""

import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

WARM_UP_SECONDS = 0.1
WARM_UP_STEPS = 2
MOST_WARM_UP_STEPS = 100
WARM_UP_LIMIT_SECONDS = 6.0
STEADY_WITHIN = 0.1
"""Warm-up ends once two steps in a row differ by less than this fraction."""
MOST_SAMPLES = 200


class Sample(NamedTuple):
    """One timed step; seconds. `device` is what CUDA events measured."""

    wall: float
    cpu: float
    device: float | None


class Samples(NamedTuple):
    """Timed steps, and the steps that went before them: the very first, then those of the warm-up."""

    timed: tuple[Sample, ...]
    warm_up: tuple[float, ...]
    steady: bool


def sample_steps(
    step: Callable[[], None], *, before: Callable[[], None], device: torch.device, min_samples: int, seconds: float
) -> Samples:
    """Take one step, warm up until steps settle, then time them one by one.

    The only loop in the project that takes times: nothing but the step lies between two readings of the clock, the
    device is synchronised before each, and the garbage collector is off.

    Args:
        step: What is timed.
        before: Run untimed before each step, to clear what the last one left.
        device: Where the step works.
        min_samples: Steps timed at least.
        seconds: Time steps for at least this long, up to 200 of them.
    """
    gc.collect()
    gc.disable()
    try:
        # What the first step alone does, such as compiling, is no part of a warm-up that ends after some seconds.
        first = _next(step, before, device)
        warm_up = _warm_up(step, before, device)
        samples: list[Sample] = []
        while len(samples) < MOST_SAMPLES and (len(samples) < min_samples or sum(s.wall for s in samples) < seconds):
            samples.append(_next(step, before, device))
    finally:
        gc.enable()
    settled = _alike(warm_up[-2], warm_up[-1]) if len(warm_up) > 1 else _alike(warm_up[-1], samples[0].wall)
    return Samples(tuple(samples), (first.wall, *warm_up), settled)


def _warm_up(step: Callable[[], None], before: Callable[[], None], device: torch.device) -> list[float]:
    taken: list[float] = []
    while True:
        taken.append(_next(step, before, device).wall)
        # One step as long as this has warmed up what there is; whether it had settled, the first sample tells.
        if sum(taken) >= WARM_UP_LIMIT_SECONDS or len(taken) >= MOST_WARM_UP_STEPS:
            return taken
        if len(taken) >= WARM_UP_STEPS and _alike(*taken[-2:]) and sum(taken) >= WARM_UP_SECONDS:
            return taken


def _next(step: Callable[[], None], before: Callable[[], None], device: torch.device) -> Sample:
    before()
    return timed(step, device)


def _alike(before: float, after: float) -> bool:
    return abs(after - before) < STEADY_WITHIN * after


def timed(step: Callable[[], None], device: torch.device) -> Sample:
    """One step, timed; seconds."""
    return _timed_on_gpu(step) if device.type == "cuda" else _timed_on_cpu(step)


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
