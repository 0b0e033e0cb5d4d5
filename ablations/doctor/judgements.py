"""From what was measured to what can be trusted: each check's numbers and its band. Knows nothing of processes."""

import statistics
from collections.abc import Iterable, Sequence

from ablations.doctor.cells import BLOCK_BYTES, BLOCKS, SLEEP_SECONDS
from ablations.doctor.findings import Finding, found
from ablations.harness.measurement import CONTENDED_SHARE, Ceilings, KernelSeconds, PeakBytes, StepTimes
from ablations.harness.record import Record
from ablations.harness.work import copy_rate, matrix_rate
from ablations.report.groups import samples
from ablations.report.units import BYTES, BYTES_PER_SECOND, FLOPS, PERCENT, RATIO, SECONDS, interval_text
from ablations.report.verdict import Verdict, verdict

KNOWN_BYTES = BLOCKS * BLOCK_BYTES
SYSTEM_BAND = 0.02
"""Of the known bytes, what the system's view may lack or add: it counts pages, and the interpreter's own ones."""
SLEEP_BAND = 0.1
"""Of the sleep, by how much waking up may be late."""
SLEEP_PROCESSOR_SHARE = 0.1
TIMEOUT_BAND_SECONDS = 2.0
"""Between the limit and the record: to end the process and to see that it has ended."""
CEILING_BAND = 0.2
"""Of a rate, by how much two processes may differ."""

QUIET = "Stop what else runs on this machine, and let it cool down; then run the doctor again."
CLOCKS = "Do not trust times from here; a virtual machine may need another clock source."

Round = tuple[Record, Record]
"""Records of the one and of the other, taken one after the other."""


def known_memory(record: Record) -> Finding:
    """Tensors of a known size count to the byte, and for the system within 2 %."""
    check, peak = "known memory", record.measurement
    if not isinstance(peak, PeakBytes):
        return _not_measured(check, record)
    words = f"{peak.peak_bytes:,} bytes measured of {KNOWN_BYTES:,}"
    seen = peak.os_peak_bytes
    words += f"; OS view {BYTES.text(seen)}" if seen is not None else f"; OS view null: {peak.os_peak_missing}"
    close = seen is None or abs(seen / KNOWN_BYTES - 1) <= SYSTEM_BAND
    remedy = "Do not trust peaks from here; report the versions of torch and of the system."
    return found(check, words, good=peak.peak_bytes == KNOWN_BYTES and close, remedy=remedy)


def known_sleep(record: Record) -> Finding:
    """A sleep takes as long as it should, or little more, and next to no processor time."""
    check, times = "known sleep", record.measurement
    if not isinstance(times, StepTimes):
        return _not_measured(check, record)
    slept, worked = statistics.median(samples(times)), statistics.median(times.cpu_seconds)
    low, high = SLEEP_SECONDS, SLEEP_SECONDS * (1 + SLEEP_BAND)
    words = f"{SECONDS.text(slept)} measured of {SECONDS.text(low)}, {SECONDS.text(worked)} of it processor time"
    # Clocks tick at most a microsecond apart.
    on_time = low - 1e-6 <= slept <= high
    return found(check, words, good=on_time and worked <= SLEEP_PROCESSOR_SHARE * slept, remedy=f"{QUIET} {CLOCKS}")


def out_of_memory(record: Record, after: Record) -> Finding:
    """Who takes too much is refused and becomes a record, and the next cell runs."""
    words = f"ended as {record.status} ({record.reason}); the next cell as {after.status}"
    remedy = "A cell that needs too much may take others with it: run few things at once, and keep swap off."
    return found("out of memory", words, good=(record.status, after.status) == ("oom", "ok"), remedy=remedy)


def timeout(record: Record, *, limit_seconds: float, left: int | None) -> Finding:
    """Who never ends is ended soon after its limit.

    Args:
        record: Of the probe.
        limit_seconds: What it was given.
        left: Processes that it left behind; `None` where that cannot be known.
    """
    late = record.seconds - limit_seconds
    processes = "processes left: unknown here" if left is None else f"{left} processes left"
    words = f"ended as {record.status} {late:.1f} s after its limit of {limit_seconds:.1f} s; {processes}"
    good = record.status == "timeout" and late <= TIMEOUT_BAND_SECONDS and not left
    return found("timeout", words, good=good, remedy="End what is left by hand; give runs a --timeout and watch them.")


def equal_cells(rounds: Sequence[Round]) -> Finding:
    """One and the same cell is not found slower or faster than itself."""
    found_or_failed = _verdict("A/A", rounds)
    if isinstance(found_or_failed, Finding):
        return found_or_failed
    words = f"a cell over itself {_ratio(found_or_failed)}: {found_or_failed.answer.replace('_', ' ')}"
    good = found_or_failed.answer in ("same", "cannot_tell")
    return found("A/A", words, good=good, remedy=QUIET)


def planted_slowdown(rounds: Sequence[Round]) -> Finding:
    """A sixth more work is found to be slower."""
    check = "planted slowdown"
    found_or_failed = _verdict(check, rounds)
    if isinstance(found_or_failed, Finding):
        return found_or_failed
    words = f"17 % more layers over a cell {_ratio(found_or_failed)}: {found_or_failed.answer.replace('_', ' ')}"
    return found(check, words, good=found_or_failed.answer == "slower", remedy=QUIET)


def ceilings(first: Record, second: Record, judged: Iterable[Record]) -> Finding:
    """Two processes find the same ceilings, and no step is faster than they allow.

    Args:
        first: Record of the ceilings.
        second: Another one, from another process.
        judged: Records of steps, judged with these ceilings.
    """
    check = "ceilings"
    for record in (first, second):
        if not isinstance(record.measurement, Ceilings):
            return _not_measured(check, record)
    one, other = (record.measurement for record in (first, second) if isinstance(record.measurement, Ceilings))
    pairs = [(rate(one), rate(other)) for rate in (matrix_rate, copy_rate)]
    product, copy = (max(pair) / min(pair) - 1 for pair in pairs)
    above = [record.reason for record in judged if record.status == "error"]
    words = (
        f"{FLOPS.text(max(pairs[0]))} and {BYTES_PER_SECOND.text(max(pairs[1]))} in {first.cell.dtype}; a second "
        f"process differs by {PERCENT.text(product)} and {PERCENT.text(copy)}; "
        + (f"above them: {above[0]}" if above else "no step above them")
    )
    return found(check, words, good=max(product, copy) <= CEILING_BAND and not above, remedy=QUIET)


def contention(records: Iterable[Record]) -> Finding:
    """While cells ran, others took next to nothing of the machine."""
    times = [record.measurement for record in records if isinstance(record.measurement, StepTimes)]
    told = [(one.others_seconds, sum(one.wall_seconds) * one.cores) for one in times]
    others = [(seconds, available) for seconds, available in told if seconds is not None]
    if not others:
        reasons = dict.fromkeys(one.others_missing or "" for one in times)
        return Finding("contention", "null", "; ".join(reasons) or "no times to see it in")
    share = sum(seconds for seconds, _ in others) / sum(available for _, available in others)
    words = f"others took {PERCENT.text(share)} of {times[0].cores} processors while cells were timed"
    return found("contention", words, good=share <= CONTENDED_SHARE, remedy=QUIET)


def device_state(records: Sequence[Record]) -> Finding:
    """The driver can be asked, and the GPU was not slowed down."""
    states = [record.device_state for record in records if record.device_state]
    readings = [reading for state in states for reading in state.readings]
    if not readings:
        reasons = dict.fromkeys(record.device_state_missing or "no reading" for record in records)
        return Finding("device state", "null", "; ".join(reasons))
    clocks = [reading.sm_clock_mhz for reading in readings]
    reasons_seen = 0
    for reading in readings:
        reasons_seen |= reading.reasons
    words = (
        f"{len(readings)} readings: {min(clocks)} to {max(clocks)} MHz, at most {max(r.celsius for r in readings)} °C "
        f"and {max(r.watts for r in readings):.0f} W, reasons for lower clocks {reasons_seen:#x}"
    )
    throttled = any(state.throttled for state in states)
    return found("device state", words, good=not throttled, remedy=f"Heat or power slowed the GPU down. {QUIET}")


def can_be_known(times: Record, peak: Record, kernels: Record) -> list[Finding]:
    """What is null in records of this machine and why, each with a line of its own."""
    step, most = times.measurement, peak.measurement
    if not isinstance(step, StepTimes):
        return [_not_measured("time", times)]
    if not isinstance(most, PeakBytes):
        return [_not_measured("peak memory", peak)]
    kernel_words = None if isinstance(kernels.measurement, KernelSeconds) else kernels.reason
    return [
        _known("others' processor time", step.others_missing),
        _known("energy", step.energy_missing),
        _known("peak as the system sees it", most.os_peak_missing),
        _known("bytes saved for backward", most.saved_missing),
        _known("ledger of the peak", most.ledger_missing),
        _known("process bytes by the driver", most.process_missing),
        _known("kernel times", kernel_words),
    ]


def _known(what: str, missing: str | None) -> Finding:
    return Finding(what, "ok", "known") if missing is None else Finding(what, "null", missing)


def _verdict(check: str, rounds: Sequence[Round]) -> Verdict | Finding:
    """Of the two sides of all rounds, or that one of their cells has no times."""
    for record in (record for pair in rounds for record in pair):
        if not isinstance(record.measurement, StepTimes):
            return _not_measured(check, record)
    return verdict([(_seconds(one), _seconds(other)) for one, other in rounds])


def _seconds(record: Record) -> tuple[float, ...]:
    assert isinstance(record.measurement, StepTimes), "checked before"
    return samples(record.measurement)


def _ratio(of: Verdict) -> str:
    return f"{RATIO.text(of.ratio.value)} ({interval_text(of.ratio, RATIO)}, {of.ratio.n_processes} rounds)"


def _not_measured(check: str, record: Record) -> Finding:
    words = f"the cell ended as {record.status}: {record.reason}"
    return Finding(check, "FAIL", words, "Mend what the line names; without it nothing can be measured here.")
