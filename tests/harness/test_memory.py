"""Memory of steps whose figure is known, and what of it is kept."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.errors import UnsupportedError
from ablations.harness.measure import memory
from ablations.harness.measure.kept import Kept, kept_by_kind
from ablations.harness.measure.memory import _counted, left_tensor_bytes, peak_resident_bytes, peak_tensor_bytes
from ablations.harness.measurement import PeakBytes
from ablations.harness.runner import Runner
from ablations.harness.steps import build_trial
from ablations.harness.workloads.memory import measure_memory
from reformer.layers import StreamNorm
from tests.harness.cells import cell, config, here

MIB = 2**20
CPU = torch.device("cpu")
STEP = PeakMemory(mode="forward_backward", resident=False)


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
    assert _counted(trace) == (12, 0)


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


def test_three_blocks_of_64_mib_measure_192_mib_exactly() -> None:
    def step() -> None:
        blocks = [torch.empty(64 * MIB, dtype=torch.uint8) for _ in range(3)]
        del blocks

    assert peak_tensor_bytes(step) == 192 * MIB


def test_a_spike_of_20_milliseconds_is_seen() -> None:
    def step() -> None:
        before = torch.ones(3 * MIB, dtype=torch.uint8)
        time.sleep(0.02)
        spike = torch.ones(40 * MIB, dtype=torch.uint8)
        time.sleep(0.02)
        del spike
        time.sleep(0.02)
        del before

    assert peak_tensor_bytes(step) == 43 * MIB
    seen, missing = peak_resident_bytes(step)
    assert missing or (seen or 0) > 38 * MIB


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(here()) as one:
        yield one


def peaks_of(runner: Runner, one: Cell) -> PeakBytes:
    record = runner.run(one, timeout_seconds=120)
    assert isinstance(record.measurement, PeakBytes), record.reason
    return record.measurement


@pytest.mark.parametrize("variant", ["dense", "reformer"])
def test_five_processes_measure_the_same_bytes(variant: str, runner: Runner) -> None:
    one = cell(variant, length=300, workload=PeakMemory(mode="training_step", resident=False))
    first, *others = (peaks_of(runner, one) for _ in range(5))
    assert first.ledger is not None
    assert all(other == first for other in others)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_large_parent_does_not_show_in_the_resident_peak_of_a_cell() -> None:
    parent = bytearray(b"x") * (600 * MIB)
    with Runner(here()) as fresh:
        peaks = peaks_of(fresh, cell("reformer", length=300, workload=PeakMemory(mode="forward_backward")))
    assert len(parent) == 600 * MIB
    assert peaks.os_peak_bytes is not None
    assert peaks.os_peak_bytes < 100 * MIB


def test_what_is_left_counts_results_and_what_autograd_or_anyone_else_keeps() -> None:
    x = torch.ones(1000, requires_grad=True)
    elsewhere: list[Tensor] = []

    def forward() -> Tensor:
        elsewhere.append(torch.ones(70, dtype=torch.float64))
        torch.ones(5000)
        # The exponential is kept by both its own node and the sine's, once; the sum's result alone is there.
        return x.exp().sin().sum()

    assert left_tensor_bytes(forward) == 1000 * 4 + 70 * 8 + 4


def test_kinds_are_told_apart_whoever_keeps_them() -> None:
    norm, other = StreamNorm(6), torch.nn.LayerNorm(6)
    with torch.no_grad():
        for module in (norm, other):
            module.weight.fill_(1), module.bias.zero_()
    x = torch.ones(2, 5, 6, requires_grad=True)
    held: list[Tensor] = []

    def forward() -> Tensor:
        index = torch.arange(9)
        # A stream that autograd keeps, a vector that it keeps likewise but no norm of a stream has read, whole numbers
        # and a mask that it keeps, a stream and whole numbers that an object keeps.
        stream = x * 2
        held[:] = [torch.ones(2, 5, 6), torch.ones(11, dtype=torch.int16), torch.ones(13)]
        read = norm(stream) + other(x * 3)
        total: Tensor = read.masked_fill(torch.ones(2, 5, 6, dtype=torch.bool), 0).flatten()[index].sum()
        return total

    assert kept_by_kind(forward, CPU) == Kept(streams=2 * 60 * 4, integers=9 * 8 + 11 * 2)


def test_looking_leaves_nothing_behind() -> None:
    trial = build_trial(cell("dense", length=40))
    before = left_tensor_bytes(trial.output)
    kept_by_kind(trial.output, CPU)
    assert left_tensor_bytes(trial.output) == before
    assert left_tensor_bytes(lambda: kept_by_kind(trial.output, CPU)) == 0


def test_what_tracing_left_in_the_process_is_passed_by() -> None:
    with FakeTensorMode():
        left = torch.empty(7)
    assert left_tensor_bytes(lambda: kept_by_kind(build_trial(cell("dense", length=40)).output, CPU)) == 0
    assert type(left) is FakeTensor


def weighed(variant: str, n_layers: int) -> PeakBytes:
    length = 100
    one = cell(variant, length=length, config=config(variant, length=length, n_layers=n_layers), workload=STEP)
    return measure_memory(one, STEP)


def test_of_reversible_layers_nothing_is_kept_but_buckets() -> None:
    shallow, deep = (weighed("reversible_only", n_layers) for n_layers in (2, 5))
    assert shallow.saved_bytes == deep.saved_bytes
    shallow, deep = (weighed("reformer", n_layers) for n_layers in (2, 5))
    assert shallow.ledger is not None
    assert deep.ledger is not None
    assert (shallow.saved_bytes, deep.saved_bytes) != (None, None)
    # Two heads, 100 positions and one round in int16, of three layers.
    rounds = config("reformer", length=100).attentions[0].n_hashes  # type: ignore[union-attr]
    assert (deep.saved_bytes or 0) - (shallow.saved_bytes or 0) == 3 * 2 * 100 * rounds * 2
    assert deep.ledger.buckets - shallow.ledger.buckets == 3 * 2 * 100 * rounds * 2
    assert (deep.ledger.streams, deep.ledger.activations) == (shallow.ledger.streams, shallow.ledger.activations)


def test_a_forward_step_keeps_nothing_and_has_no_gradients() -> None:
    one = cell("reformer", length=48, workload=PeakMemory(mode="forward", resident=False))
    peaks = measure_memory(one, PeakMemory(mode="forward", resident=False))
    assert (peaks.saved_bytes, peaks.gradient_bytes, peaks.optimiser_bytes) == (0, 0, 0)
    assert peaks.ledger is not None
    assert peaks.ledger.transient == peaks.peak_bytes > 0


def test_attention_alone_is_not_told_in_parts() -> None:
    peaks = measure_memory(cell("reformer", length=48, scope="attention", workload=STEP), STEP)
    assert peaks.ledger is None
    assert "whole models" in (peaks.ledger_missing or "")
    assert 0 < (peaks.saved_bytes or 0) <= peaks.peak_bytes


def test_more_kept_than_alive_at_the_peak_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "left_tensor_bytes", lambda make: 2**40)
    with pytest.raises(RuntimeError, match="one of both is wrong"):
        measure_memory(cell("dense", workload=STEP), STEP)


def test_parts_of_steps_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="forward_backward"):
        measure_memory(cell("dense"), PeakMemory(mode="backward"))
