"""Every check passes on good measurements, and fails on bad ones planted a little beyond its band."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ablations.doctor import cells, judgements
from ablations.doctor.findings import Finding, summary
from ablations.doctor.judgements import KNOWN_BYTES
from ablations.harness.measurement import Ceilings, KernelSeconds, MatrixProducts, Measurement, PeakBytes, StepTimes
from ablations.harness.record import DeviceReading, DeviceState, Record
from tests.harness.cells import cell, here, record

ENVIRONMENT = here()


def of(measurement: Measurement | None, **changes: Any) -> Record:  # noqa: ANN401
    """A record that holds this."""
    failed = {} if measurement else {"status": "error", "reason": "it broke"}
    return record(cell(), ENVIRONMENT, **{**failed, "measurement": measurement, **changes})


def steps(wall: Sequence[float], **changes: Any) -> StepTimes:  # noqa: ANN401
    """Timed steps on three cores; what cannot be known says why."""
    values = {
        "wall_seconds": tuple(wall),
        "cpu_seconds": tuple(0.001 * seconds for seconds in wall),
        "device_seconds": None,
        "warm_up_seconds": (0.3,),
        "steady": True,
        "tokens_per_step": 16,
        "threads": 2,
        "cores": 3,
        "others_seconds": 0.0,
        "others_missing": None,
        "host_seconds": None,
        "energy": None,
        "energy_missing": "no counter",
    }
    return StepTimes.model_validate(values | changes)


def peak(**changes: Any) -> PeakBytes:  # noqa: ANN401
    values = {
        "peak_bytes": KNOWN_BYTES,
        "method": "profiler_allocation_events",
        "parameter_bytes": 0,
        "gradient_bytes": 0,
        "optimiser_bytes": 0,
        "saved_bytes": 3,
        "saved_missing": None,
        "ledger": None,
        "ledger_missing": "no ledger",
        "os_peak_bytes": KNOWN_BYTES,
        "os_peak_missing": None,
        "reserved_bytes": None,
        "requested_bytes": None,
        "process_bytes": None,
        "process_missing": "no GPU in use",
    }
    return PeakBytes.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"peak_bytes": KNOWN_BYTES + 1}, "FAIL"),
        ({"peak_bytes": KNOWN_BYTES - 1}, "FAIL"),
        ({"os_peak_bytes": int(KNOWN_BYTES * 1.019)}, "ok"),
        ({"os_peak_bytes": int(KNOWN_BYTES * 1.021)}, "FAIL"),
        ({"os_peak_bytes": int(KNOWN_BYTES * 0.979)}, "FAIL"),
        ({"os_peak_bytes": None, "os_peak_missing": "refused"}, "ok"),
    ],
)
def test_a_known_size_must_be_measured_to_the_byte_and_seen_by_the_system(changes: dict[str, Any], state: str) -> None:
    found = judgements.known_memory(of(peak(**changes)))
    assert found.state == state
    assert f"of {KNOWN_BYTES:,}" in found.words
    assert ("refused" in found.words) == (changes.get("os_peak_missing") == "refused")


@pytest.mark.parametrize(
    ("slept", "worked", "state"),
    [
        (0.0501, 0.001, "ok"),
        (0.0549, 0.001, "ok"),
        (0.0551, 0.001, "FAIL"),
        (0.0499, 0.001, "FAIL"),
        (0.0501, 0.0051, "FAIL"),
    ],
)
def test_a_sleep_must_take_as_long_as_it_should_and_no_processor(slept: float, worked: float, state: str) -> None:
    # One sample is far off, as happens: the median decides.
    times = steps((slept, slept, 9.0), cpu_seconds=(worked, worked, 9.0))
    assert judgements.known_sleep(of(times)).state == state


def test_a_gpu_s_own_clock_is_the_one_that_a_sleep_is_held_against() -> None:
    late = steps((0.0501,), device_seconds=(0.09,))
    assert judgements.known_sleep(of(late)).state == "FAIL"


@pytest.mark.parametrize(
    ("greedy", "after", "state"),
    [("oom", "ok", "ok"), ("ok", "ok", "FAIL"), ("killed", "ok", "FAIL"), ("oom", "killed", "FAIL")],
)
def test_who_takes_all_memory_must_be_refused_and_the_next_cell_run(greedy: str, after: str, state: str) -> None:
    first, second = (
        of(steps((0.1,)) if status == "ok" else None, status=status, reason=None if status == "ok" else "why")
        for status in (greedy, after)
    )
    assert judgements.out_of_memory(first, second).state == state


@pytest.mark.parametrize(
    ("status", "seconds", "left", "state"),
    [
        ("timeout", 4.9, 0, "ok"),
        ("timeout", 4.9, None, "ok"),
        ("timeout", 5.1, 0, "FAIL"),
        ("timeout", 4.9, 1, "FAIL"),
        ("killed", 4.9, 0, "FAIL"),
    ],
)
def test_who_hangs_must_end_near_its_limit_and_leave_nothing(
    status: str, seconds: float, left: int | None, state: str
) -> None:
    hung = of(None, status=status, seconds=seconds)
    assert judgements.timeout(hung, limit_seconds=3.0, left=left).state == state


def rounds(factor: float, *, spread: float, n_rounds: int = 8) -> list[tuple[Record, Record]]:
    """Rounds whose first side takes so many times as long, both sides scattered by `spread` from process to process."""
    generator = np.random.default_rng(5)

    def side(centre: float) -> Record:
        middle = centre * np.exp(generator.normal(0, spread))
        return of(steps([float(middle * one) for one in (0.99, 1.0, 1.0, 1.0, 1.01)]))

    return [(side(0.1 * factor), side(0.1)) for _ in range(n_rounds)]


@pytest.mark.parametrize(("factor", "state"), [(1.0, "ok"), (1.25, "FAIL"), (0.8, "FAIL")])
def test_a_cell_that_is_found_slower_or_faster_than_itself_is_no_good(factor: float, state: str) -> None:
    found = judgements.equal_cells(rounds(factor, spread=0.01))
    assert found.state == state
    assert "8 rounds" in found.words


def test_more_work_must_be_found_and_is_not_where_everything_scatters() -> None:
    assert judgements.planted_slowdown(rounds(7 / 6, spread=0.01)).state == "ok"
    assert judgements.planted_slowdown(rounds(1.0, spread=0.01)).state == "FAIL"
    assert judgements.planted_slowdown(rounds(7 / 6, spread=0.5)).state == "FAIL"


def ceilings(rate: float, copy: float) -> Record:
    return of(
        Ceilings(
            products=(MatrixProducts(width=10, seconds=(2000 / rate,)),),
            copy_bytes=1000,
            copy_seconds=(2000 / copy,),
            threads=2,
        )
    )


@pytest.mark.parametrize(
    ("second", "state"), [((1.19, 1.0), "ok"), ((1.21, 1.0), "FAIL"), ((1.0, 1 / 1.21), "FAIL"), ((0.85, 1.15), "ok")]
)
def test_two_processes_must_find_the_same_ceilings(second: tuple[float, float], state: str) -> None:
    rate, copy = second
    found = judgements.ceilings(ceilings(1e9, 1e7), ceilings(1e9 * rate, 1e7 * copy), [of(steps((0.1,)))])
    assert found.state == state
    assert f"{max(1.0, rate):.2f} GFLOP/s" in found.words


def test_a_step_above_the_ceilings_is_no_good() -> None:
    faster = of(None, reason="a step of 1 ns would compute more")
    found = judgements.ceilings(ceilings(1e9, 1e7), ceilings(1e9, 1e7), [of(steps((0.1,))), faster])
    assert found.state == "FAIL"
    assert "a step of 1 ns" in found.words


@pytest.mark.parametrize(("share", "state"), [(0.049, "ok"), (0.051, "FAIL")])
def test_others_may_take_a_twentieth_of_the_machine(share: float, state: str) -> None:
    # Two seconds of steps on three cores, half of them beside others.
    alone, beside = (steps((0.4, 0.6), others_seconds=seconds) for seconds in (0.0, share * 6.0))
    assert judgements.contention([of(alone), of(beside)]).state == state


def test_where_others_cannot_be_seen_the_reason_is_told() -> None:
    blind = steps((0.1,), others_seconds=None, others_missing="no /proc/stat")
    found = judgements.contention([of(blind)])
    assert (found.state, found.words) == ("null", "no /proc/stat")


def reading(reasons: int) -> DeviceReading:
    return DeviceReading(
        seconds=0.1, sm_clock_mhz=1410, memory_clock_mhz=2619, celsius=51, watts=333.0, reasons=reasons
    )


@pytest.mark.parametrize(("reasons", "state"), [(0x4, "ok"), (0x40, "FAIL")])
def test_a_gpu_that_heat_slowed_down_is_no_good(reasons: int, state: str) -> None:
    seen = DeviceState(readings=(reading(0), reading(reasons)))
    found = judgements.device_state([of(steps((0.1,)), device_state=seen, device_state_missing=None)])
    assert found.state == state
    assert "1410 to 1410 MHz, at most 51 °C and 333 W" in found.words
    assert f"{reasons:#x}" in found.words


def test_without_a_reading_of_the_device_the_reason_is_told() -> None:
    found = judgements.device_state([of(steps((0.1,)))])
    assert (found.state, found.words) == ("null", "no GPU in use")


def test_what_is_null_has_a_line_with_its_reason() -> None:
    told = of(KernelSeconds(kernels=(), steps=1))
    refused = of(None, status="unsupported", reason="kernels are told apart on a GPU only")
    with_kernels, without = (
        {one.check: one for one in judgements.can_be_known(of(steps((0.1,))), of(peak()), kernels)}
        for kernels in (told, refused)
    )
    assert {name: one.words for name, one in without.items() if one.state == "null"} == {
        "energy": "no counter",
        "ledger of the peak": "no ledger",
        "process bytes by the driver": "no GPU in use",
        "kernel times": "kernels are told apart on a GPU only",
    }
    assert with_kernels["kernel times"].state == "ok"
    assert with_kernels["bytes saved for backward"].state == "ok"


BROKEN = of(None)
GOOD_ROUND = (of(steps((0.1,) * 5)), of(steps((0.1,) * 5)))


@pytest.mark.parametrize(
    "judged",
    [
        lambda: judgements.known_memory(BROKEN),
        lambda: judgements.known_sleep(BROKEN),
        lambda: judgements.equal_cells([GOOD_ROUND, (GOOD_ROUND[0], BROKEN)]),
        lambda: judgements.planted_slowdown([GOOD_ROUND, (BROKEN, GOOD_ROUND[1])]),
        lambda: judgements.ceilings(ceilings(1.0, 1.0), BROKEN, []),
        lambda: judgements.can_be_known(BROKEN, of(peak()), BROKEN)[0],
        lambda: judgements.can_be_known(of(steps((0.1,))), BROKEN, BROKEN)[0],
    ],
)
def test_a_cell_that_broke_fails_its_check_with_its_reason(judged: Callable[[], Finding]) -> None:
    found = judged()
    assert found.state == "FAIL"
    assert "ended as error: it broke" in found.words


def test_one_failure_is_enough_not_to_trust_and_each_remedy_is_told_once() -> None:
    good, unknown = Finding("a", "ok", "1"), Finding("b", "null", "no")
    assert summary([good, unknown]) == "1 ok, 1 null, 0 FAIL: measurements on this machine can be trusted."
    bad = [Finding(name, "FAIL", "2", remedy) for name, remedy in (("c", "stop"), ("d", "wait"), ("e", "stop"))]
    first, *remedies = summary([good, *bad]).splitlines()
    assert first == "1 ok, 0 null, 3 FAIL: measurements on this machine cannot be trusted, see c, d, e."
    assert remedies == ["stop", "wait"]
    assert bad[0].line == "FAIL  c: 2"
    with pytest.raises(ValueError, match="a remedy goes with a failure"):
        Finding("f", "FAIL", "3")


def test_the_planted_cell_does_a_sixth_more_layers() -> None:
    more, once = (cells.model("cpu", n_layers=n).config.n_layers for n in (cells.MORE_LAYERS, cells.LAYERS))
    assert 1.15 < more / once < 1.2
