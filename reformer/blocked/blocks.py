"""The chunks of several heads in one line, cut into blocks that fit a cache."""

from typing import NamedTuple

import torch
from torch import Tensor

from reformer.functional.windows import Grid

SCORES = 2**19
"""Scores in a block, 2 MiB in float32: fewer cost more calls, more leave the cache."""


class Block(NamedTuple):
    """Some neighbouring windows of a line.

    Attributes:
        number: Counted along the line.
        first: Its first window, which begins at the chunk of the same number.
        n_windows: C.
        chunk_len: W.
        n_before: Chunks in a window before the one of its queries.
        n_seen: Chunks in a window.
    """

    number: int
    first: int
    n_windows: int
    chunk_len: int
    n_before: int
    n_seen: int

    @property
    def keys(self) -> slice:
        """The slots that its windows look at, in a row."""
        return slice(self.first * self.chunk_len, (self.first + self.n_windows + self.n_seen - 1) * self.chunk_len)

    @property
    def queries(self) -> slice:
        """The slots of its queries."""
        return self.seen(self.n_before)

    def seen(self, place: int) -> slice:
        """The slots of the chunks that stand at one place of its windows."""
        start = self.first + place
        return slice(start * self.chunk_len, (start + self.n_windows) * self.chunk_len)

    @property
    def score_shape(self) -> tuple[int, int, int]:
        """C, W, M."""
        return self.n_windows, self.chunk_len, self.n_seen * self.chunk_len

    def by_chunk(self, x_xK: Tensor) -> Tensor:
        """What belongs to one chunk of each window, [C, W, K]."""
        return x_xK.view(self.n_windows, self.chunk_len, x_xK.shape[1])

    def by_window(self, x_xK: Tensor) -> Tensor:
        """What belongs to its keys, [C, M, K]; windows overlap in memory."""
        n_windows, chunk_len, window_len = self.score_shape
        width = x_xK.shape[1]
        return x_xK.as_strided((n_windows, window_len, width), (chunk_len * width, width, 1))

    def own(self, x_xK: Tensor) -> Tensor:
        """What belongs to its queries, [C, W, K], of what belongs to its keys."""
        start = self.n_before * self.chunk_len
        return self.by_chunk(x_xK[start : start + self.n_windows * self.chunk_len])


class Line(NamedTuple):
    """The chunks of several heads, ring after ring, so that every window is a run of neighbours.

    A ring is all rounds of a head, or one round. Before its first chunk stand copies of those that its first window
    reaches back to, behind its last of those that its last window reaches on to; free chunks, if rounds have ends. A
    window begins at every chunk. Where it begins among the last of a ring, it is nobody's: what comes of it must not
    be used.

    Attributes:
        grid: The rounds of one head in chunks.
        n_heads: Heads on the line.
    """

    grid: Grid
    n_heads: int

    @property
    def _with_copies(self) -> int:
        """Chunks of a ring and copies around it."""
        return self.grid.ring_len + self.grid.n_seen - 1

    @property
    def _n_rings(self) -> int:
        return self.n_heads * self.grid.n_chunks // self.grid.ring_len

    @property
    def _n_windows(self) -> int:
        return self._n_rings * self._with_copies

    @property
    def n_slots(self) -> int:
        """Slots on the line, those of free chunks that the last windows reach on to included."""
        return (self._n_windows + self.grid.n_seen - 1) * self.grid.chunk_len

    def blocks(self) -> list[Block]:
        """All of it, in order."""
        chunk_len, n_seen = self.grid.chunk_len, self.grid.n_seen
        size = max(1, SCORES // (chunk_len**2 * n_seen))
        return [
            Block(number, first, min(size, self._n_windows - first), chunk_len, self.grid.n_before, n_seen)
            for number, first in enumerate(range(0, self._n_windows, size))
        ]

    def laid(self, x_HRS: Tensor, free: float) -> Tensor:
        """What stands in each slot of the line, of what each head's rounds hold in sorted order, [slots]."""
        line_x = x_HRS.new_full((self.n_slots,), free)
        chunk_GCW = self._rings(line_x[:, None]).squeeze(-1)
        length = x_HRS.shape[-1]
        own_GC = chunk_GCW[:, self.grid.n_before : self.grid.n_before + self.grid.ring_len].flatten(1)
        own_GC.unflatten(1, (-1, self._round_slots))[..., :length].copy_(x_HRS.view(self._n_rings, -1, length))
        for copy, original in self._copies:
            chunk_GCW[:, copy] = chunk_GCW[:, original]
        return line_x

    def add_copies(self, x_SK: Tensor) -> None:
        """Add what belongs to copies of chunks to what belongs to the chunks."""
        chunk_GCWK = self._rings(x_SK)
        for copy, original in self._copies:
            chunk_GCWK[:, original] += chunk_GCWK[:, copy]

    def slots(self, position_HRS: Tensor) -> Tensor:
        """Where on the line each position stands in each round, slot_HRL, int32."""
        device, n_rounds = position_HRS.device, self.grid.n_rounds
        in_ring = self.grid.ring_len // self.grid.chunks_per_round
        round_HR1 = torch.arange(self.n_heads * n_rounds, dtype=torch.int32, device=device).view(-1, n_rounds, 1)
        copies = round_HR1 // in_ring * (self.grid.n_seen - 1) + self.grid.n_before
        start_HR1 = round_HR1 * self._round_slots + copies * self.grid.chunk_len
        slot_HRS = start_HR1 + torch.arange(position_HRS.shape[-1], dtype=torch.int32, device=device)
        return torch.empty_like(slot_HRS).scatter_(-1, position_HRS.long(), slot_HRS)

    @property
    def _round_slots(self) -> int:
        return self.grid.chunks_per_round * self.grid.chunk_len

    def _rings(self, x_SK: Tensor) -> Tensor:
        """By ring and chunk, [rings, C, W, K], without what stands behind the last ring."""
        chunk_len = self.grid.chunk_len
        of_rings_xK = x_SK[: self._n_windows * chunk_len]
        return of_rings_xK.view(self._n_rings, self._with_copies, chunk_len, x_SK.shape[1])

    @property
    def _copies(self) -> list[tuple[int, int]]:
        """Chunks of a ring that are copies, and what of."""
        if self.grid.window.wrap == "none":
            return []
        first, length = self.grid.n_before, self.grid.ring_len
        outside = (chunk for chunk in range(self._with_copies) if not first <= chunk < first + length)
        return [(chunk, first + (chunk - first) % length) for chunk in outside]
