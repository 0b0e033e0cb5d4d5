"""LSH attention as pure functions: positions that hash alike meet in chunks, over several rounds (paper, section 2)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reformer.functional.chunked import attend_in_chunks
from reformer.functional.dropping import NO_DROPOUT, Drop
from reformer.functional.scores import unit_keys
from reformer.functional.sorting import invert, sort_by_bucket, take_rows
from reformer.functional.windows import Grid, Window, take_slots

BEYOND_BUCKETS = 2**32
"""More than any bucket id: keeps the buckets of different rounds apart."""


def lsh_attention(
    query_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    *,
    score_scale: float,
    window: Window,
    causal: bool,
    same_bucket_only: bool = False,
    deduplicate: bool = False,
    valid_BL: Tensor | None = None,
    drop: Drop = NO_DROPOUT,
) -> Tensor:
    """Each position against those near it in the bucket-sorted sequence, over several hash rounds.

    In every round positions are sorted by bucket, then by position, and cut into chunks; a query sees its own chunk and
    its neighbours. Rounds are combined by their log-sum-exp (appendix A). Any length works: the last chunk of a round
    may be short, which changes no value and no gradient. A position that sees nobody returns its own value.

    Args:
        query_BHLK: Shared queries; keys are the same vectors at unit length.
        value_BHLK: Values.
        bucket_BHRL: Bucket of each position in each round, from `hash_vectors`; padding in a bucket of its own, behind
            all others, moves nobody.
        score_scale: A score is the product of query and unit key times this.
        window: Which chunks a query sees.
        causal: Whether a position sees only the past.
        same_bucket_only: Whether a query sees only keys of its own round and bucket within its window (equation 4).
        deduplicate: Whether a key met several times, in several rounds or around the ring, counts once (appendix A).
        valid_BL: False where a position is padding, which nobody sees; `None` if none is.
        drop: Applied to the attention weights.

    Returns:
        out_BHLK.
    """
    rounds = HashRounds.of(bucket_BHRL, sort_by_bucket(bucket_BHRL), window)
    own_slot_CW = torch.arange(rounds.grid.n_chunks * rounds.grid.chunk_len, device=bucket_BHRL.device)
    own_slot_CW = own_slot_CW.unflatten(0, (-1, rounds.grid.chunk_len))
    out_BHCWK, lse_BHCW = attend_in_chunks(
        take_rows(query_BHLK, rounds.position_BHCW),
        unit_keys(query_BHLK) * score_scale,
        value_BHLK,
        **rounds.meetings(own_slot_CW, rounds.grid.seen_slots(bucket_BHRL.device), same_bucket_only, deduplicate),
        causal=causal,
        exclude_self=True,
        valid_BL=valid_BL,
        drop=drop,
    )
    out_BHRLK = take_rows(out_BHCWK.flatten(2, 3), rounds.slot_BHRL)
    lse_BHRL = lse_BHCW.flatten(2, 3).gather(2, rounds.slot_BHRL.flatten(2, 3)).view_as(rounds.slot_BHRL)
    return combine_rounds(out_BHRLK, lse_BHRL)


def lsh_attention_at(
    position_B: Tensor,
    query_BH1K: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    bucket_BHRL: Tensor,
    *,
    window: Window,
    causal: bool,
    same_bucket_only: bool = False,
    deduplicate: bool = False,
    valid_BL: Tensor | None = None,
) -> Tensor:
    """The one row of `lsh_attention` that belongs to `position_B`: out_BH1K.

    It takes keys that are made, `unit_keys(query_BHLK) * score_scale`: while decoding they are kept.
    """
    rounds = HashRounds.of(bucket_BHRL, sort_by_bucket(bucket_BHRL), window)
    at_BHR1 = position_B[:, None, None, None].expand(*rounds.slot_BHRL.shape[:3], 1)
    own_slot_BHR1 = rounds.slot_BHRL.gather(3, at_BHR1)
    seen_BHRM = rounds.grid.seen_slots(bucket_BHRL.device)[own_slot_BHR1.squeeze(3) // rounds.grid.chunk_len]
    out_BHR1K, lse_BHR1 = attend_in_chunks(
        query_BH1K[:, :, None].expand(-1, -1, bucket_BHRL.shape[2], -1, -1),
        key_BHLK,
        value_BHLK,
        **rounds.meetings(own_slot_BHR1, seen_BHRM, same_bucket_only, deduplicate),
        causal=causal,
        exclude_self=True,
        valid_BL=valid_BL,
        drop=NO_DROPOUT,
    )
    return combine_rounds(out_BHR1K, lse_BHR1)


class HashRounds(NamedTuple):
    """Where every position stands in every round.

    Attributes:
        grid: The rounds in chunks.
        bucket_BHRL: Bucket of each position.
        position_BHCW: Position in each slot; L, which no token has, in free ones.
        slot_BHRL: Slot of each position.
    """

    grid: Grid
    bucket_BHRL: Tensor
    position_BHCW: Tensor
    slot_BHRL: Tensor

    @classmethod
    def of(cls, bucket_BHRL: Tensor, position_BHRS: Tensor, window: Window) -> "HashRounds":
        """From buckets and the order that `sort_by_bucket` gives them."""
        n_rounds, length = bucket_BHRL.shape[2:]
        grid = Grid(window, n_rounds, length)
        return cls(grid, bucket_BHRL, grid.to_chunks(position_BHRS, fill=length), grid.slots(invert(position_BHRS)))

    def meetings(
        self, query_slot: Tensor, key_slot: Tensor, same_bucket_only: bool, deduplicate: bool
    ) -> dict[str, Any]:
        """Positions in the given slots, and what is to be known of their pairs, as `attend_in_chunks` takes them."""
        query_position_BHCW = take_slots(self.position_BHCW, query_slot, fill=-1)
        key_position_BHCM = take_slots(self.position_BHCW, key_slot, fill=-1)
        return {
            "query_position_BHCW": query_position_BHCW,
            "key_position_BHCM": key_position_BHCM,
            "alike_BHCWM": self._alike(query_slot, key_slot) if same_bucket_only else None,
            "count_BHCWM": self.times_met(query_position_BHCW, key_position_BHCM, same_bucket_only)
            if deduplicate
            else None,
        }

    def _alike(self, query_slot: Tensor, key_slot: Tensor) -> Tensor:
        """Whether two slots hold the same bucket of the same round, alike_BHCWM."""
        label_BHCW = self.grid.to_chunks(label_buckets(self.bucket_BHRL).sort(dim=-1).values, fill=-1)
        query_label, key_label = (take_slots(label_BHCW, slot, fill=-1) for slot in (query_slot, key_slot))
        return query_label[..., :, None] == key_label[..., None, :]

    def times_met(self, query_position_BHCW: Tensor, key_position_BHCM: Tensor, same_bucket_only: bool) -> Tensor:
        """How often each pair meets over all rounds, pairs that meet around the ring included, count_BHCWM."""
        chunk_BHRL = self.slot_BHRL // self.grid.chunk_len
        every = range(chunk_BHRL.shape[2])
        across = self.grid.window.wrap == "across_rounds" and not same_bucket_only
        count = torch.zeros((), dtype=torch.int16, device=chunk_BHRL.device)
        # One at a time: all rounds against all rounds at once would need memory that grows with their square.
        for mine in every:
            query_chunk = self._in_round(mine, chunk_BHRL, query_position_BHCW)[..., :, None]
            for its in every if across else (mine,):
                key_chunk = self._in_round(its, chunk_BHRL, key_position_BHCM)[..., None, :]
                meets = self.grid.looks_at(query_chunk, key_chunk)
                if same_bucket_only:
                    query_bucket = self._in_round(mine, self.bucket_BHRL, query_position_BHCW)[..., :, None]
                    meets = meets & (
                        query_bucket == self._in_round(its, self.bucket_BHRL, key_position_BHCM)[..., None, :]
                    )
                count = count + meets
        return count

    def _in_round(self, round_: int, x_BHRL: Tensor, position_BHCx: Tensor) -> Tensor:
        """What holds for each of the positions in one round."""
        inside = position_BHCx.clamp(0, x_BHRL.shape[-1] - 1).flatten(2)
        return x_BHRL[:, :, round_].gather(2, inside).view_as(position_BHCx)


def label_buckets(bucket_xRL: Tensor) -> Tensor:
    """A number for each position in each round that two of them share if they are in one bucket of one round."""
    round_R1 = torch.arange(bucket_xRL.shape[-2], device=bucket_xRL.device)[:, None]
    return bucket_xRL + round_R1 * BEYOND_BUCKETS


def combine_rounds(out_BHRLK: Tensor, lse_BHRL: Tensor) -> Tensor:
    """Average over hash rounds, each weighted by the mass it saw: softmax of the log-sum-exps (paper, appendix A)."""
    # Weights rounded to half precision would not add up to one.
    weight_BHRL = lse_BHRL.softmax(dim=2)
    return (out_BHRLK * weight_BHRL[..., None]).sum(dim=2).to(out_BHRLK.dtype)
