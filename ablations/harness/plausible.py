"""Whether a record can be true on this machine: nothing is faster than the fastest that was seen of its kind."""

from collections.abc import Iterable

from ablations.harness.measurement import Ceilings, StepTimes
from ablations.harness.record import Record
from ablations.harness.work import Ceiling, ceiling_of, work_of

OPERATIONS_SLACK = 1.05
"""By how much a rate may pass the fastest product: that was the fastest of some repeats, not the fastest there is."""

BYTES_SLACK = 1.5 * OPERATIONS_SLACK
"""The same of bytes. For two bytes of a copy that are counted a processor may move three, since it reads what it is
about to write: steps that only read reach one and a half times the rate of a copy."""

Kind = tuple[str, str]
"""A machine, and which of its devices."""


class Judge:
    """Knows what machines can do at most, from the ceilings measured so far.

    Bytes are judged of steps alone that pass at least as many as were copied: what is smaller may lie in a cache, and
    then passes faster than any memory does.

    Args:
        records: Earlier ones, of this machine or several.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._ceilings: dict[Kind, list[Record]] = {}
        for record in records:
            self._remember(record)

    def judged(self, record: Record) -> Record:
        """The record, or an error in its place if it claims a rate above the machine's ceiling.

        A record of ceilings counts for all that are judged after it. Without a ceiling every record stays as it is.
        """
        self._remember(record)
        fault = self._fault(record)
        if fault is None:
            return record
        return Record.model_validate(dict(record) | {"status": "error", "reason": fault, "measurement": None})

    def _remember(self, record: Record) -> None:
        if isinstance(record.measurement, Ceilings):
            self._ceilings.setdefault(_kind(record), []).append(record)

    def _fault(self, record: Record) -> str | None:
        times, known = record.measurement, self._ceilings.get(_kind(record), [])
        ceiling = ceiling_of(known)
        if not isinstance(times, StepTimes) or ceiling is None:
            return None
        copied = max(one.measurement.copy_bytes for one in known if isinstance(one.measurement, Ceilings))
        return _impossible(record, times, ceiling, copied)


def _kind(record: Record) -> Kind:
    return (record.environment.machine, record.cell.device)


def _impossible(record: Record, times: StepTimes, ceiling: Ceiling, copied: int) -> str | None:
    """What is wrong with the fastest step, or `None`."""
    work, dtype = work_of(record.cell), record.cell.dtype
    seconds = min(times.device_seconds or times.wall_seconds)
    if seconds <= 0:
        return f"a step took {seconds:.3g} s: the clock that measured it cannot be right"
    most = ceiling.flops_per_second.get(dtype)
    if most is not None and work.flops / seconds > OPERATIONS_SLACK * most:
        return (
            f"a step of {seconds:.3g} s would compute {work.flops / seconds:.3g} FLOP/s in {dtype}, and the fastest "
            f"matrix product on this machine reached {most:.3g} FLOP/s: the time or the ceiling is wrong"
        )
    if work.bytes >= copied and work.bytes / seconds > BYTES_SLACK * ceiling.bytes_per_second:
        return (
            f"a step of {seconds:.3g} s would pass {work.bytes / seconds:.3g} bytes/s, and the fastest copy on this "
            f"machine reached {ceiling.bytes_per_second:.3g} bytes/s: the time or the ceiling is wrong"
        )
    return None
