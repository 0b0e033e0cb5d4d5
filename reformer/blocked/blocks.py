"""The chunks of several heads in one line, cut into blocks that fit a cache."""

from typing import NamedTuple

import torch
from torch import Tensor

from reformer.functional.windows import Grid

SCORES = 2**19
"""Scores in a block, 2 MiB in float32: fewer cost more calls, more leave the cache."""


class Block(NamedTuple):
    """Some neighbouring chunks of a line.

    Attributes:
        number: Counted along the line.
        queries: Its slots on the line.
        keys: The slots that its windows look at, in a row.
        n_chunks: C.
        chunk_len: W.
        n_seen: Chunks in a window.
    """

    number: int
    queries: slice
    keys: slice
    n_chunks: int
    chunk_len: int
    n_seen: int

    @property
    def windows(self) -> slice:
        """Where the rows of its windows stand among those of all windows of the line."""
        start, stop = self.queries.start, self.queries.stop
        return slice(start * self.n_seen, stop * self.n_seen)

    @property
    def score_shape(self) -> tuple[int, int, int]:
        """C, W, M."""
        return self.n_chunks, self.chunk_len, self.n_seen * self.chunk_len

    def by_chunk(self, x_xK: Tensor) -> Tensor:
        """What belongs to its queries, [C, W, K]."""
        return x_xK.view(self.n_chunks, self.chunk_len, x_xK.shape[1])

    def by_window(self, key_xK: Tensor) -> Tensor:
        """What belongs to its keys, [C, M, K]; windows overlap in memory."""
        n_chunks, chunk_len, window_len = self.score_shape
        width = key_xK.shape[1]
        return key_xK.as_strided((n_chunks, window_len, width), (chunk_len * width, width, 1))


class Line(NamedTuple):
    """The chunks of several heads, ring after ring, so that every window is a run of neighbours.

    A ring is all rounds of a head, or one round. Before its first chunk stand those that its first window reaches back
    to, behind its last those that its last window reaches on to. Where no window of a ring begins, a free chunk's does.

    Attributes:
        grid: The rounds of one head in chunks.
        n_heads: Heads on the line.
        device: Of what is on the line.
    """

    grid: Grid
    n_heads: int
    device: torch.device

    @property
    def ring_len(self) -> int:
        """Chunks in a ring."""
        return self.grid.n_chunks if self.grid.window.wrap == "across_rounds" else self.grid.chunks_per_round

    @property
    def _looked_at(self) -> int:
        """Chunks that the windows of a ring look at, one after the other."""
        return self.ring_len + self.grid.n_seen - 1

    @property
    def n_rings(self) -> int:
        """Rings of all heads."""
        return self.n_heads * self.grid.n_chunks // self.ring_len

    @property
    def n_chunks(self) -> int:
        """Chunks on the line."""
        return self.n_rings * self._looked_at

    @property
    def n_slots(self) -> int:
        """Slots on the line."""
        return self.n_chunks * self.grid.chunk_len

    def blocks(self) -> list[Block]:
        """All of it, in order."""
        chunk_len, n_seen = self.grid.chunk_len, self.grid.n_seen
        size = max(1, SCORES // (chunk_len**2 * n_seen))
        blocks = []
        for number, start in enumerate(range(0, self.n_chunks, size)):
            n_chunks = min(size, self.n_chunks - start)
            queries, keys = (
                slice(start * chunk_len, (start + n) * chunk_len) for n in (n_chunks, n_chunks + n_seen - 1)
            )
            blocks.append(Block(number, queries, keys, n_chunks, chunk_len, n_seen))
        return blocks

    def of_queries(self, x_CW: Tensor, free: int) -> Tensor:
        """What the chunks of all heads hold, head after head, for the queries of each place on the line, [slots]."""
        place = torch.arange(self._looked_at, device=self.device)
        return self._taken(x_CW, place, place < self.ring_len, free)

    def of_keys(self, x_CW: Tensor, free: int) -> Tensor:
        """The same for the keys, and for as many free chunks as the last window needs."""
        place = torch.arange(self._looked_at, device=self.device) - self.grid.window.n_before
        inside = (place >= 0) & (place < self.ring_len)
        held_x = self._taken(x_CW, place, inside | (self.grid.window.wrap != "none"), free)
        return torch.cat([held_x, held_x.new_full(((self.grid.n_seen - 1) * self.grid.chunk_len,), free)])

    def _taken(self, x_CW: Tensor, place: Tensor, held: Tensor, free: int) -> Tensor:
        ring = torch.arange(self.n_rings, device=self.device)[:, None]
        chunk = torch.where(held, ring * self.ring_len + place % self.ring_len, x_CW.shape[0])
        nothing_1W = x_CW.new_full((1, x_CW.shape[1]), free)
        return torch.cat([x_CW, nothing_1W]).index_select(0, chunk.flatten()).flatten()

    def slots(self, slot_HRL: Tensor) -> Tensor:
        """Where on the line each slot of each head stands, as queries do."""
        ring, chunk, inside = self._parts(slot_HRL)
        return (ring * self._looked_at + chunk) * self.grid.chunk_len + inside

    def windows(self, slot_HRL: Tensor) -> Tensor:
        """Where each slot of each head stands in all windows that look at it, [H, R, L, windows].

        Counted through the rows of all windows of the line. In place of a window that would lie beyond an end, that of
        a free chunk, which takes part in nothing.
        """
        ring, chunk, inside = (part[..., None] for part in self._parts(slot_HRL))
        place = torch.arange(self.grid.n_seen, device=self.device, dtype=torch.int32)
        looking = chunk + self.grid.window.n_before - place
        beyond = (looking < 0) | (looking >= self.ring_len)
        looking = looking.where(~beyond, self.ring_len if self.grid.window.wrap == "none" else looking % self.ring_len)
        return ((ring * self._looked_at + looking) * self.grid.n_seen + place) * self.grid.chunk_len + inside

    def _parts(self, slot_HRL: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ring, counted through all heads, chunk in the ring, and slot in the chunk."""
        head = torch.arange(self.n_heads, device=self.device, dtype=torch.int32)[:, None, None]
        chunk, inside = slot_HRL // self.grid.chunk_len, slot_HRL % self.grid.chunk_len
        return head * (self.n_rings // self.n_heads) + chunk // self.ring_len, chunk % self.ring_len, inside
