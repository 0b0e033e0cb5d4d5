"""Which length to probe next in search of the longest that fits, given what became of the probes so far.

Lengths double until one runs out of memory; between it and the longest that fits the search then halves, until what is
left between them is one granule wide or a twentieth of the longest that fits, whichever is wider. All lengths are
multiples of the granule: memory grows with length there, and not everywhere in between, where chunks are padded. No
length is tried beyond one that ran out of memory. What ends otherwise (killed, timed out, failed) says nothing of
memory: the search stops there and says so, even where the system killed the process, which may have been for another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import model_validator

from ablations.harness.cell import Cell
from ablations.harness.record import Status
from reformer.config import Count, Frozen, Pattern, ReformerConfig

WIDTH = 0.05
"""Of the longest length that fits: how far the shortest that does not may lie from it in the end."""

Stop = Literal["bracketed", "at_most", "unsettled"]
"""Why a search asks for no more: the bracket is narrow enough, the longest length to try fits, or a probe ended in a
way that says nothing of memory."""


class Search(Frozen):
    """A search for the longest sequence with which a model trains.

    Attributes:
        cell: The first probe; others differ from it in length alone.
        attention: Of the model, before any length has settled its bucket count.
        granule: Lengths are multiples of it, `cell.length` too.
        most: The longest to try, whatever memory there is.
        most_reason: Why no longer one.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or a length is no multiple of the granule, or the first above `most`.
    """

    cell: Cell
    attention: Pattern
    granule: Count
    most: Count
    most_reason: str

    @model_validator(mode="after")
    def _lengths_are_multiples(self) -> Self:
        for length in (self.cell.length, self.most):
            if length % self.granule:
                raise ValueError(f"length={length} is no multiple of {self.granule}, twice the length of a chunk")
        if self.cell.length > self.most:
            raise ValueError(f"length={self.cell.length} is more than {self.most}, the longest to try")
        return self

    def probe(self, length: int) -> Cell:
        """The cell that tries this length.

        Raises:
            pydantic.ValidationError: The model serves no such length.
        """
        return at_length(self.cell, self.attention, length)


def at_length(cell: Cell, attention: Pattern, length: int) -> Cell:
    """The same cell with sequences of another length, and as many buckets as `attention` makes of it."""
    config = ReformerConfig(**dict(cell.config) | {"max_len": length, "attention": attention})
    return Cell(**dict(cell) | {"config": config, "length": length})


@dataclass(frozen=True)
class Finding:
    """How far a search has come.

    Attributes:
        probes: The cells that were tried, in order, with what became of them.
        fits: The longest length that trained, or `None`.
        fails: The shortest length that ran out of memory, or `None`.
        next: What to try next, or `None` at the end.
        stop: Why it ended, or `None` as long as it has not.
    """

    probes: tuple[tuple[Cell, Status], ...]
    fits: int | None
    fails: int | None
    next: Cell | None
    stop: Stop | None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All that were tried, and the one to try next."""
        return (*(cell for cell, _ in self.probes), *((self.next,) if self.next else ()))


def found(search: Search, statuses: Mapping[str, Status]) -> Finding:
    """Replay the search: from its first probe on, as far as `statuses` knows what became of each.

    Args:
        search: Which.
        statuses: Of cells, by their ids; those that the search does not come across have no say.
    """
    probes: list[tuple[Cell, Status]] = []
    fits, fails = None, None
    length: int | None = search.cell.length
    while length is not None:
        cell = search.probe(length)
        if cell.id not in statuses:
            return Finding(tuple(probes), fits, fails, cell, None)
        status = statuses[cell.id]
        probes.append((cell, status))
        if status == "ok":
            fits = length
        elif status == "oom":
            fails = length
        else:
            return Finding(tuple(probes), fits, fails, None, "unsettled")
        length = next_length(search, fits, fails)
    return Finding(tuple(probes), fits, fails, None, "at_most" if fails is None else "bracketed")


def next_length(search: Search, fits: int | None, fails: int | None) -> int | None:
    """The length to try once this one fits and that one fails, at least one of them known; `None` at the end."""
    low = fits or 0
    if fails is None:
        return min(2 * low, search.most) if low < search.most else None
    if fails - low <= max(search.granule, WIDTH * low):
        return None
    return (low + fails) // (2 * search.granule) * search.granule
