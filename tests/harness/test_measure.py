"""Measurements of things whose figure is known."""

import time

import pytest
import torch

from ablations.harness.cell import Ceiling
from ablations.harness.measure.ceiling import measure_ceilings
from ablations.harness.measure.time import Sample, sample_steps

CPU = torch.device("cpu")


def test_a_sleep_measures_its_length() -> None:
    samples = sample_steps(lambda: time.sleep(0.02), before=lambda: None, device=CPU, min_samples=6, seconds=0.01)
    assert len(samples.timed) == 6
    # A busy machine may wake a sleeper late, but never early.
    assert 0.02 <= min(sample.wall for sample in samples.timed) < 0.025
    assert min(sample.cpu for sample in samples.timed) < 0.005
    assert {sample.device for sample in samples.timed} == {None}


def test_sampling_goes_on_for_the_time_given() -> None:
    samples = sample_steps(lambda: time.sleep(0.01), before=lambda: None, device=CPU, min_samples=2, seconds=0.2)
    assert 2 < len(samples.timed) <= 20
    assert sum(sample.wall for sample in samples.timed) >= 0.2


def test_ceilings_keep_every_repeat_but_the_first() -> None:
    workload = Ceiling(widths=(24, 48), copy_bytes=5000, repeats=4)
    found = measure_ceilings(workload, CPU, torch.bfloat16, seed=1)
    assert [(one.width, len(one.seconds)) for one in found.products] == [(24, 3), (48, 3)]
    assert (found.copy_bytes, len(found.copy_seconds)) == (5000, 3)
    assert min(seconds for one in found.products for seconds in one.seconds) > 0


@pytest.mark.parametrize(("each", "kept"), [(18.0, 1), (4.0, 2), (0.9, 6)])
def test_what_takes_many_seconds_is_repeated_fewer_times(
    each: float, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablations.harness.measure.ceiling.timed", lambda *_: Sample(each, each, None))
    found = measure_ceilings(Ceiling(widths=(24,), copy_bytes=5000, repeats=7), CPU, torch.bfloat16, seed=1)
    assert found.products[0].seconds == found.copy_seconds == (each,) * kept


def test_ceilings_leave_the_random_stream_of_the_process_alone() -> None:
    state = torch.get_rng_state()
    measure_ceilings(Ceiling(widths=(8,), copy_bytes=8, repeats=2), CPU, torch.float32, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
