"""Measurements of things whose figure is known."""

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ablations.harness.cell import Ceiling
from ablations.harness.measure.ceiling import measure_ceilings
from ablations.harness.measure.memory import _peak, peak_resident_bytes, peak_tensor_bytes
from ablations.harness.measure.time import sample_steps
from ablations.harness.steps import build_trial
from tests.harness.cells import cell, config

MIB = 2**20
CPU = torch.device("cpu")


def test_64_mib_of_tensors_measure_64_mib_exactly() -> None:
    held: list[Tensor] = []

    def step() -> None:
        held.append(torch.empty(64 * MIB, dtype=torch.uint8))

    assert peak_tensor_bytes(step) == 64 * MIB


def test_many_small_tensors_measure_their_sum_exactly() -> None:
    def step() -> None:
        held = [torch.empty(16 * 1024, dtype=torch.uint8) for _ in range(4096)]
        del held

    assert peak_tensor_bytes(step) == 64 * MIB


def test_the_peak_counts_what_is_alive_at_once_and_no_more() -> None:
    def step() -> None:
        for size in (3, 5, 2):
            a = torch.empty(size * MIB, dtype=torch.uint8)
            b = torch.empty(size * MIB, dtype=torch.uint8)
            del a, b

    assert peak_tensor_bytes(step) == 10 * MIB


def test_freeing_what_was_there_before_does_not_hide_a_peak() -> None:
    before = [torch.empty(7 * MIB, dtype=torch.uint8)]

    def step() -> None:
        before.clear()
        torch.empty(4 * MIB, dtype=torch.uint8)

    assert peak_tensor_bytes(step) == 4 * MIB


def test_an_address_that_is_used_again_is_counted_each_time() -> None:
    events = [(1, 5), (1, -5), (1, 8), (2, 4), (1, -8), (2, -4)]
    trace = [{"ts": ts, "args": {"Addr": addr, "Bytes": size}} for ts, (addr, size) in enumerate(events)]
    assert _peak(trace) == 12


def test_the_exact_peak_is_the_same_every_time_and_below_the_resident_one() -> None:
    trial = build_trial(cell("reformer", length=300))
    step = trial.step("forward_backward")
    step()
    first, second = peak_tensor_bytes(step), peak_tensor_bytes(step)
    assert first == second > 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_resident_peak_sees_known_tensors_to_five_per_cent() -> None:
    def step() -> None:
        torch.zeros(192 * MIB, dtype=torch.uint8)

    peak, missing = peak_resident_bytes(step)
    assert missing is None
    assert peak == pytest.approx(192 * MIB, rel=0.05)


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


def test_what_comes_before_a_step_is_not_timed() -> None:
    samples = sample_steps(lambda: None, before=lambda: time.sleep(0.001), device=CPU, min_samples=3, seconds=0.0)
    assert min(sample.wall for sample in samples.timed) < 0.0005


def test_a_warm_up_that_does_not_settle_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.harness.measure.time.WARM_UP_LIMIT_SECONDS", 0.3)
    steps = iter(range(1000))
    samples = sample_steps(
        lambda: time.sleep(0.01 * (1 + next(steps) % 2)), before=lambda: None, device=CPU, min_samples=2, seconds=0.0
    )
    assert not samples.steady
    assert sum(samples.warm_up) >= 0.3


@pytest.mark.parametrize(("second", "steady"), [(1, True), (3, False)])
def test_one_long_step_is_warm_up_enough_and_the_first_sample_tells_whether_it_had_settled(
    second: int, steady: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablations.harness.measure.time.WARM_UP_LIMIT_SECONDS", 0.05)
    lengths = iter((0, 1, second))
    samples = sample_steps(
        lambda: time.sleep(0.06 * next(lengths)), before=lambda: None, device=CPU, min_samples=1, seconds=0.0
    )
    assert (len(samples.warm_up), len(samples.timed)) == (2, 1)
    assert samples.steady == steady


def test_what_the_first_step_alone_does_is_no_part_of_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.harness.measure.time.WARM_UP_LIMIT_SECONDS", 0.2)
    lengths = iter([0.3, 0.1, 0.05, 0.02, *[0.02] * 20])
    samples = sample_steps(
        lambda: time.sleep(next(lengths)), before=lambda: None, device=CPU, min_samples=2, seconds=0.0
    )
    # As long as the whole warm-up may take: it had its time none the less, and settled.
    assert samples.warm_up[0] >= 0.3
    assert len(samples.warm_up) > 3
    assert samples.steady
    assert max(sample.wall for sample in samples.timed) < 0.05


def test_ceilings_keep_every_repeat_but_the_first() -> None:
    workload = Ceiling(widths=(24, 48), copy_bytes=5000, repeats=4)
    found = measure_ceilings(workload, CPU, torch.bfloat16, seed=1)
    assert [(one.width, len(one.seconds)) for one in found.products] == [(24, 3), (48, 3)]
    assert (found.copy_bytes, len(found.copy_seconds)) == (5000, 3)
    assert min(seconds for one in found.products for seconds in one.seconds) > 0


def test_ceilings_leave_the_random_stream_of_the_process_alone() -> None:
    state = torch.get_rng_state()
    measure_ceilings(Ceiling(widths=(8,), copy_bytes=8, repeats=2), CPU, torch.float32, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def peak_bytes(variant: str, n_layers: int) -> int:
    length = 256
    trial = build_trial(
        cell(variant, length=length, config=config(variant, length=length, n_layers=n_layers, d_model=24, d_ff=40))
    )
    step = trial.step("forward_backward")
    step()
    return peak_tensor_bytes(step)


@pytest.mark.parametrize(("reversible", "standard"), [("reversible_only", "dense"), ("reformer", "lsh_only")])
def test_reversible_memory_does_not_grow_with_depth(reversible: str, standard: str) -> None:
    slopes = [(peak_bytes(variant, 6) - peak_bytes(variant, 2)) / 4 for variant in (reversible, standard)]
    assert slopes[1] > 0
    assert slopes[0] <= 0.05 * slopes[1]


def test_chunked_feed_forward_saves_memory_in_the_backward_pass() -> None:
    peaks = []
    for chunk in (None, 32):
        # Fused attention: scores of width L would cover the feed-forward half's peak.
        wide = config("dense_fused", length=512, d_ff=512, ff_chunk_len=chunk)
        step = build_trial(cell("dense_fused", length=512, config=wide)).step("forward_backward")
        step()
        peaks.append(peak_tensor_bytes(step))
    hidden_bytes = 512 * 512 * 4
    assert peaks[0] - peaks[1] > hidden_bytes
