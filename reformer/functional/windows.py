"""Cutting hash rounds into chunks, and which slots the queries of a chunk look at."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Wrap = Literal["across_rounds", "per_round", "none"]
"""How the ends of rounds are joined, see `Window`."""


class Window(NamedTuple):
    """What a query looks at.

    Attributes:
        chunk_len: W, positions in a chunk.
        n_before: Chunks seen before the own one.
        n_after: Chunks seen after the own one.
        wrap: `across_rounds`: the chunks of all rounds stand in one ring (the authors' code). `per_round`: the chunks
            of each round stand in a ring. `none`: each round has ends.
    """

    chunk_len: int
    n_before: int
    n_after: int
    wrap: Wrap


class Grid(NamedTuple):
    """A window applied to so many rounds of so many positions.

    The last chunk of a round may be short: its free slots hold position L, which no token has, so that any length gives
    the same result as if chunks could differ in size.
    """

    window: Window
    n_rounds: int
    length: int

    @property
    def chunk_len(self) -> int:
        """W, no more than L: one chunk that is short anyway need not be filled up."""
        return min(self.window.chunk_len, self.length)

    @property
    def chunks_per_round(self) -> int:
        """Chunks of one round, the short one included."""
        return -(-self.length // self.chunk_len)

    @property
    def n_chunks(self) -> int:
        """C, chunks of all rounds."""
        return self.n_rounds * self.chunks_per_round

    def to_chunks(self, x_BHRS: Tensor, *, fill: int) -> Tensor:
        """Cut every round into chunks and put all rounds' chunks in one row, x_BHCW; free slots hold `fill`."""
        missing = self.chunks_per_round * self.chunk_len - self.length
        chunks: Tensor = F.pad(x_BHRS, (0, missing), value=fill).flatten(2, 3).unflatten(2, (-1, self.chunk_len))
        return chunks

    def slots(self, slot_in_round_BHRL: Tensor) -> Tensor:
        """Slots counted through all rounds' chunks from slots counted within each round."""
        starts = torch.arange(self.n_rounds, device=slot_in_round_BHRL.device) * (
            self.chunks_per_round * self.chunk_len
        )
        return slot_in_round_BHRL + starts[:, None]

    def seen_slots(self, device: torch.device) -> Tensor:
        """Slots that each chunk's queries look at, slot_CM; -1 beyond the end of a round that has ends.

        A window wider than the ring sees each chunk once, not twice.
        """
        chunk = torch.arange(self.n_chunks, device=device)[:, None]
        per_round = self.chunks_per_round
        offset = torch.arange(self.n_seen, device=device) - self.window.n_before
        if self.window.wrap == "across_rounds":
            seen = (chunk + offset) % self.n_chunks
        elif self.window.wrap == "per_round":
            seen = chunk // per_round * per_round + (chunk + offset) % per_round
        else:
            inside = chunk % per_round + offset
            seen = torch.where((inside >= 0) & (inside < per_round), chunk + offset, -1)
        slot = seen[..., None] * self.chunk_len + torch.arange(self.chunk_len, device=device)
        return torch.where(seen[..., None] < 0, -1, slot).flatten(1)

    @property
    def ring_len(self) -> int:
        """Chunks that a window can go around: those of all rounds, or of one; or of one that has ends."""
        return self.n_chunks if self.window.wrap == "across_rounds" else self.chunks_per_round

    @property
    def n_before(self) -> int:
        """Chunks seen before the own one, less than the ring has: around it once more is where they were."""
        return self.window.n_before if self.window.wrap == "none" else self.window.n_before % self.ring_len

    @property
    def n_seen(self) -> int:
        """Chunks in a window, no more than the ring has."""
        width = self.window.n_before + self.window.n_after + 1
        return width if self.window.wrap == "none" else min(width, self.ring_len)

    def looks_at(self, chunk: Tensor, other: Tensor) -> Tensor:
        """Whether queries in one chunk look at another, both counted through all rounds; broadcasts."""
        width, distance = self.window.n_before + self.window.n_after + 1, other - chunk + self.window.n_before
        if self.window.wrap == "across_rounds":
            return distance % self.n_chunks < width
        per_round = self.chunks_per_round
        same_round = chunk // per_round == other // per_round
        if self.window.wrap == "per_round":
            return same_round & (distance % per_round < width)
        return same_round & (distance >= 0) & (distance < width)


def take_slots(x_BHCW: Tensor, slot: Tensor, *, fill: int) -> Tensor:
    """What stands in the given slots of all rounds' chunks, `fill` where the slot is -1.

    Args:
        x_BHCW: Anything by slot.
        slot: [C, M], the same for all examples and heads, or [B, H, ...].
        fill: Stands for slots that do not exist.

    Returns:
        [B, H, C, M], or the shape of `slot`.
    """
    by_slot, inside = x_BHCW.flatten(2, 3), slot.clamp(min=0)
    if slot.dim() == 2:
        taken = by_slot.index_select(2, inside.flatten()).unflatten(2, slot.shape)
    else:
        taken = by_slot.gather(2, inside.flatten(2)).view(slot.shape)
    masked: Tensor = taken.masked_fill(slot < 0, fill)
    return masked
