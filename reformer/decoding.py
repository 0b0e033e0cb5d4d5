"""Cached decoding: one token at a time, without running the whole sequence again.

The contract. Hashing is fixed for the whole of a decoding. A cached step computes for the new position exactly what a
forward pass over everything so far, with the same rotations, computes for it from the layer inputs that earlier
positions had when they were computed. What it does not do is to revise earlier positions: a longer sequence is sorted
and cut into chunks anew, so that in a forward pass an earlier position may come to see other keys than it did before.
Where no LSH layer stands below another layer this is the forward pass itself; elsewhere it is an approximation, whose
size `decoding_error` measures.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import Parameter

from reformer.attention import CrossAttention, SelfAttention
from reformer.blocks import Block, BoundBranch, Branch, Call, Memory
from reformer.checks import check_is_tensor, check_seed, check_tokens
from reformer.kinds import Past
from reformer.model import ReformerLM
from reformer.reversible import Half

Transform = Callable[[Tensor], Tensor]


class Decoder:
    """A language model in the middle of writing, for a batch of sequences that may differ in length.

    Args:
        model: A causal language model. It is run in evaluation mode, whatever its mode, and without gradients.
        capacity: The longest sequence that will be reached, prompt and new tokens together, from 1 to `config.max_len`.
        seed: Fixes the hashing.
        memory: What cross-attention reads, exactly if the model has cross-attention; `prefill` checks it.

    Raises:
        ValueError: The model is not causal, `capacity` is not within 1 and `config.max_len`, or `seed` is no whole
            number.
    """

    def __init__(self, model: ReformerLM, *, capacity: int, seed: int, memory: Memory | None = None) -> None:
        check_seed("seed", seed)
        if not model.config.causal:
            raise ValueError("config.causal=False: a model that sees the future cannot write from left to right")
        if not 1 <= capacity <= model.config.max_len:
            raise ValueError(
                f"capacity={capacity} positions, prompt and new tokens together, is not within 1..max_len = "
                f"{model.config.max_len}; shorten the prompt, ask for fewer tokens or raise max_len"
            )
        self._model = model
        self._capacity = capacity
        self._call = Call(seed, training=False, memory=memory)
        device = model.trunk.embedding.weight.device
        rotations = [block.rotation(self._call) for block in model.trunk.layers]
        self._rotations = [None if rotation is None else rotation.to(device) for rotation in rotations]
        self._caches: list[_LayerCache] = []
        self._length_B = torch.zeros(0, dtype=torch.int64)
        self._width = 0
        self._ragged = False

    @torch.no_grad()
    def prefill(self, token_BL: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Read the prompts. What was read or written before is forgotten.

        Args:
            token_BL: int64 token ids, [B, L], L from 1 to the capacity.
            valid_BL: bool, true for the first positions of each row and false for the padding behind them; `None` if
                there is no padding.

        Returns:
            logit_BV for the token after each prompt.

        Raises:
            ValueError: An argument is not as described, padding stands before a token, a prompt is empty, the memory
                does not fit, or fused attention is given a mask; names the argument.
        """
        trunk = self._model.trunk
        trunk.check(token_BL, self._call._replace(valid_BL=valid_BL))
        _check_prefixes(valid_BL)
        if token_BL.shape[1] > self._capacity:
            raise ValueError(
                f"token_BL has length {token_BL.shape[1]}, but capacity={self._capacity}; "
                "make a Decoder with a larger one"
            )
        batch, self._width = token_BL.shape
        self._ragged = valid_BL is not None
        self._length_B = (
            torch.full((batch,), self._width, device=token_BL.device) if valid_BL is None else valid_BL.sum(1)
        )
        self._caches = [_LayerCache(block, self._call.memory) for block in trunk.layers]
        position = torch.arange(self._width, device=token_BL.device)
        layers = [
            cache.reading(self._call._replace(valid_BL=valid_BL), rotation, position, self._capacity)
            for cache, rotation in zip(self._caches, self._rotations, strict=True)
        ]
        hidden_BLD = trunk.through(layers, token_BL, position)
        return self._logits(hidden_BLD[torch.arange(batch, device=token_BL.device), self._length_B - 1])

    @torch.no_grad()
    def step(self, token_B: Tensor) -> Tensor:
        """Append one token to each sequence.

        Args:
            token_B: int64 token ids, one for each sequence.

        Returns:
            logit_BV for the token after it.

        Raises:
            ValueError: `token_B` is not as described, nothing was read before, or the capacity is used up, counted in
                positions of the longest prompt with its padding.
        """
        self._check_step(token_B)
        trunk, position_B = self._model.trunk, self._length_B
        self._width += 1
        self._length_B = position_B + 1
        valid_BL = None
        if self._ragged:
            valid_BL = torch.arange(self._width, device=token_B.device) < self._length_B[:, None]
        layers = [
            cache.writing(self._call, rotation, position_B, self._width, valid_BL)
            for cache, rotation in zip(self._caches, self._rotations, strict=True)
        ]
        hidden_B1D = trunk.through(layers, token_B[:, None], position_B[:, None])
        return self._logits(hidden_B1D[:, 0])

    @torch.no_grad()
    def recomputed(self, token_BL: Tensor) -> Tensor:
        """The logits after the last position by a forward pass over everything, hashed alike.

        Args:
            token_BL: int64 token ids, everything so far without padding; nothing of it is remembered.

        Returns:
            logit_BV.

        Raises:
            ValueError: As in `Reformer.forward`.
        """
        trunk = self._model.trunk
        trunk.check(token_BL, self._call, self._rotations)
        return self._logits(trunk.run(token_BL, self._call, self._rotations)[:, -1])

    def cached(self, layer: int) -> Past:
        """What the layer remembers of everything so far.

        Args:
            layer: From 0 to `config.n_layers - 1`.

        Returns:
            key_BHLK, value_BHLK, and bucket_BHRL if the layer hashes.

        Raises:
            IndexError: There is no such layer, or nothing was read before.
        """
        return self._caches[layer].past(self._width)

    def reorder(self, row_B: Tensor) -> None:
        """Go on from other sequences of the batch: row b becomes what row `row_B[b]` was.

        Args:
            row_B: int64, rows of the present batch; any number of them, any of them more than once.

        Raises:
            ValueError: `row_B` is not one-dimensional and int64, or there is no such row: before `prefill`, none.
        """
        check_is_tensor("row_B", row_B)
        batch = self._length_B.shape[0]
        if row_B.dim() != 1 or row_B.dtype != torch.int64 or not bool(((row_B >= 0) & (row_B < batch)).all()):
            raise ValueError(f"row_B={row_B.tolist()} must be a list of int64 rows from 0 to {batch - 1}")
        self._length_B = self._length_B[row_B]
        if self._call.memory is not None:
            hidden_BED, valid_BE = self._call.memory
            memory = Memory(hidden_BED[row_B], None if valid_BE is None else valid_BE[row_B])
            self._call = self._call._replace(memory=memory)
        for cache in self._caches:
            cache.reorder(row_B)

    def _check_step(self, token_B: Tensor) -> None:
        check_is_tensor("token_B", token_B)
        if not self._caches:
            raise ValueError("step comes after prefill: a Decoder must have read a prompt before it can go on")
        if token_B.shape != self._length_B.shape:
            raise ValueError(
                f"token_B has shape {tuple(token_B.shape)}; it must be {tuple(self._length_B.shape)}, "
                "one token for each sequence"
            )
        config = self._model.config
        check_tokens("token_B", token_B[:, None], vocab_size=config.vocab_size, max_len=1)
        if self._width == self._capacity:
            raise ValueError(f"the capacity of {self._capacity} positions is used up; make a Decoder with a larger one")

    def _logits(self, hidden_BD: Tensor) -> Tensor:
        logit_BV: Tensor = self._model.head(hidden_BD)
        return logit_BV


def _check_prefixes(valid_BL: Tensor | None) -> None:
    if valid_BL is not None and not bool(valid_BL[:, 0].all() & (valid_BL[:, 1:] <= valid_BL[:, :-1]).all()):
        raise ValueError(
            "valid_BL must be true for the first positions of each prompt, one at least, and false behind them: "
            "move padding to the right"
        )


class _LayerCache:
    """What one layer remembers of every position so far, and of the encoder's output."""

    def __init__(self, block: Block, memory: Memory | None) -> None:
        self._block = block
        self._self_attention = cast(SelfAttention, block.attention.inner)
        self._past: _RoomyPast | None = None
        self._memory: tuple[Tensor, ...] | None = None
        if block.cross_attention is not None and memory is not None:
            valid_BE = memory.valid_BE
            if valid_BE is None:
                valid_BE = torch.ones(memory.hidden_BED.shape[:2], dtype=torch.bool, device=memory.hidden_BED.device)
            self._memory = (*_cross(block).memory_heads(memory.hidden_BED), valid_BE)

    def reading(self, call: Call, rotation_HRKN: Tensor | None, position_L: Tensor, capacity: int) -> list[Half]:
        """The layer's halves on whole prompts, which they remember."""
        replay = self._block.replay(call, "attention", call.valid_BL, rotation_HRKN)

        def attend(x_BLD: Tensor) -> Tensor:
            heads = self._self_attention.heads(x_BLD, position_L, replay)
            self._past = _RoomyPast(self._self_attention.past(heads), capacity)
            return self._self_attention.whole(heads, replay)

        return self._halves(call, attend)

    def writing(
        self, call: Call, rotation_HRKN: Tensor | None, position_B: Tensor, width: int, valid_BL: Tensor | None
    ) -> list[Half]:
        """The layer's halves on one more position of each sequence, which they remember."""
        replay = self._block.replay(call, "attention", None, rotation_HRKN)

        def attend(x_B1D: Tensor) -> Tensor:
            assert self._past is not None, "Decoder.prefill comes first"
            heads = self._self_attention.heads(x_B1D, position_B[:, None, None], replay)
            self._past.write(position_B, self._self_attention.past(heads))
            return self._self_attention.at(position_B, heads.query_BHLK, self.past(width), valid_BL)

        return self._halves(call, attend)

    def past(self, width: int) -> Past:
        """What is remembered of the first `width` positions."""
        assert self._past is not None, "Decoder.prefill comes first"
        return self._past.first(width)

    def reorder(self, row_B: Tensor) -> None:
        """Row b becomes what row `row_B[b]` was."""
        assert self._past is not None, "Decoder.prefill comes first"
        self._past.reorder(row_B)
        if self._memory is not None:
            self._memory = tuple(part[row_B] for part in self._memory)

    def _halves(self, call: Call, attend: Transform) -> list[Half]:
        halves: list[Half] = [_InferenceHalf(self._block.attention, attend)]
        if self._block.cross_attention is not None:
            halves.append(_InferenceHalf(self._block.cross_attention, self._read_memory))
        halves.append(BoundBranch(self._block.feed_forward, self._block.replay(call, "feed_forward", None)))
        return halves

    def _read_memory(self, x_BLD: Tensor) -> Tensor:
        assert self._memory is not None, "Decoder.prefill has checked it"
        return _cross(self._block).reading(x_BLD, *self._memory)


def _cross(block: Block) -> CrossAttention:
    assert block.cross_attention is not None
    return cast(CrossAttention, block.cross_attention.inner)


class _RoomyPast:
    """A `Past` with room for later positions, written in place."""

    def __init__(self, past: Past, capacity: int) -> None:
        self._parts = [None if part is None else _with_room(part, capacity, dim) for part, dim in _along(past)]

    def write(self, position_B: Tensor, new: Past) -> None:
        """Put one position of each sequence in its place."""
        rows = torch.arange(len(position_B), device=position_B.device)
        for part, (one, dim) in zip(self._parts, _along(new), strict=True):
            if part is not None and one is not None:
                part.movedim(dim, 1)[rows, position_B] = one.squeeze(dim)

    def first(self, width: int) -> Past:
        """What is known of the first `width` positions."""
        key_BHLK, value_BHLK, bucket_BHRL = self._parts
        assert key_BHLK is not None
        assert value_BHLK is not None
        buckets = None if bucket_BHRL is None else bucket_BHRL[..., :width]
        return Past(key_BHLK[:, :, :width], value_BHLK[:, :, :width], buckets)

    def reorder(self, row_B: Tensor) -> None:
        """Row b becomes what row `row_B[b]` was."""
        self._parts = [None if part is None else part[row_B] for part in self._parts]


def _along(past: Past) -> list[tuple[Tensor | None, int]]:
    """Each part, and its dimension of positions."""
    return [(past.key_BHLK, 2), (past.value_BHLK, 2), (past.bucket_BHRL, 3)]


def _with_room(part: Tensor, capacity: int, dim: int) -> Tensor:
    """The part with room behind it; what stands there sorts behind every bucket until it is written."""
    missing = [*part.shape]
    missing[dim] = capacity - part.shape[dim]
    fill = 0 if part.is_floating_point() else torch.iinfo(part.dtype).max
    return torch.cat([part, part.new_full(missing, fill)], dim=dim)


class _InferenceHalf:
    """A branch whose inner part is replaced for decoding."""

    def __init__(self, branch: Branch, transform: Transform) -> None:
        self._branch = branch
        self._transform = transform

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """None that wants a gradient here."""
        return ()

    @property
    def context(self) -> tuple[Tensor, ...]:
        """None that wants a gradient here."""
        return ()

    def pieces(self, length: int) -> Sequence[slice]:
        """One piece."""
        return (slice(0, length),)

    def __call__(self, x_BLD: Tensor, piece: slice, *context: Tensor) -> Tensor:
        """The half's value."""
        del piece, context
        return self._transform(self._branch.norm(x_BLD))


class DecodingError(NamedTuple):
    """How far cached decoding is from full recomputation.

    Attributes:
        relative: For each decoded position, the norm of the difference of logits over the norm of the recomputed ones,
            both over all sequences.
        same_choice: The fraction of positions and sequences at which both would choose the same token.
    """

    relative: tuple[float, ...]
    same_choice: float


@torch.no_grad()
def decoding_error(
    model: ReformerLM, token_BL: Tensor, *, prompt_len: int, seed: int, memory: Memory | None = None
) -> DecodingError:
    """Decode a known sequence with the cache, and compare each step with a forward pass over everything so far.

    Args:
        model: A causal language model.
        token_BL: int64 token ids, without padding.
        prompt_len: Positions that are read at once, from 1 to L - 1; the others are decoded one by one.
        seed: Fixes the hashing of both.
        memory: What cross-attention reads, exactly if the model has cross-attention.

    Returns:
        The differences. They are rounding errors exactly where the contract of this module says so.

    Raises:
        ValueError: An argument is not as described, or the model is not causal; names it.
    """
    check_tokens("token_BL", token_BL, vocab_size=model.config.vocab_size, max_len=model.config.max_len)
    length = token_BL.shape[1]
    if not 1 <= prompt_len < length:
        raise ValueError(
            f"prompt_len={prompt_len} leaves nothing to read or to decode of {length} tokens; use 1 to {length - 1}"
        )
    decoder = Decoder(model, capacity=length, seed=seed, memory=memory)
    decoder.prefill(token_BL[:, :prompt_len])
    relative, same = [], []
    for position in range(prompt_len, length):
        cached_BV = decoder.step(token_BL[:, position])
        full_BV = decoder.recomputed(token_BL[:, : position + 1])
        relative.append(float((cached_BV - full_BV).norm() / full_BV.norm()))
        same.append((cached_BV.argmax(-1) == full_BV.argmax(-1)).double().mean())
    return DecodingError(tuple(relative), float(torch.stack(same).mean()))
