"""What a session counts: held against the committed file, or written over it."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.performance import kept


class Book:
    """The counters of a session.

    Args:
        path: The committed file.
        updating: Whether the file is to become what is counted; then nothing is held against it.
    """

    def __init__(self, path: Path, *, updating: bool) -> None:
        self._path, self._updating, self._version = path, updating, kept.VERSION
        self._kept = kept.read(path)
        self._counted: dict[str, kept.Counters] = {}
        self._complete = False

    def enter(self, key: str, counted: kept.Counters) -> None:
        """Fail where the file has other counters of this key, or none."""
        self._counted[key] = counted
        self._fail([] if self._updating else kept.differences(self._kept, self._version, key, counted))

    def has_all_of(self, keys: Iterable[str]) -> None:
        """Fail where the file has more than these keys, or where updating and not all of them were counted."""
        known = frozenset(keys)
        if not self._updating:
            return self._fail(kept.missing(self._kept, self._version, known))
        self._complete = known == self._counted.keys()
        return self._fail([] if self._complete else ["not all cells were counted, so the file stays as it was"])

    def close(self) -> None:
        """Write the file if that was asked for and all is there."""
        if self._complete:
            kept.write(self._path, self._version, self._counted)

    def _fail(self, lines: list[str]) -> None:
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)
