"""Writing with a language model: greedy, sampled or by beam search, on top of cached decoding."""

from typing import Annotated, Literal, NamedTuple, assert_never

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from reformer.blocks import Memory
from reformer.checks import check_tokens
from reformer.config import Count, Frozen
from reformer.decoding import Decoder
from reformer.model import ReformerLM
from reformer.randomness import derived_seed


class Greedy(Frozen):
    """The most probable token at each step.

    Attributes:
        kind: Tells strategies apart.
    """

    kind: Literal["greedy"] = "greedy"


class Sample(Frozen):
    """A token drawn from the model's distribution, which may be narrowed first.

    Attributes:
        kind: Tells strategies apart.
        temperature: Logits are divided by it, 0.001 to 1,000; below 1 sharpens. For 0 use `Greedy`.
        top_k: Draw from the k most probable tokens only.
        top_p: Draw from the fewest tokens only that together have this probability, above 0 and at most 1.

    Raises:
        pydantic.ValidationError: As in `Frozen`.
    """

    kind: Literal["sample"] = "sample"
    temperature: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class Beam(Frozen):
    """The best of several continuations that are followed side by side.

    Attributes:
        kind: Tells strategies apart.
        n_beams: Continuations followed for each prompt.
        length_penalty: Continuations are compared by log-probability over `length ** length_penalty`, 0 to 10; 0
            compares plain log-probabilities, 1 their mean over tokens.

    Raises:
        pydantic.ValidationError: As in `Frozen`.
    """

    kind: Literal["beam"] = "beam"
    n_beams: Count
    length_penalty: Annotated[float, Field(ge=0, le=10)] = 1.0

    def rating(self, total: Tensor, length: Tensor) -> Tensor:
        """What continuations are compared by, the higher the better.

        Args:
            total: Their log-probabilities, natural logarithm, of any shape.
            length: Their tokens, of a shape that fits.

        Returns:
            One number for each.
        """
        return total / length.double().clamp(min=1) ** self.length_penalty


Strategy = Greedy | Sample | Beam
"""How `generate` chooses tokens."""


class Written(NamedTuple):
    """What was written after each prompt.

    Attributes:
        token_BT: int64, the new tokens, T from 1 to `n_new`; behind an end token only end tokens.
        length_B: int64, how many of them count, the end token included.
        log_probability_B: float64, the sum over those, natural logarithm, under the model's own distribution: neither
            temperature nor narrowing enters.
    """

    token_BT: Tensor
    length_B: Tensor
    log_probability_B: Tensor


@torch.no_grad()
def generate(
    model: ReformerLM,
    prompt_BL: Tensor,
    *,
    n_new: int,
    seed: int,
    strategy: Strategy = Greedy(),  # noqa: B008  (a frozen value)
    valid_BL: Tensor | None = None,
    end_token: int | None = None,
    memory: Memory | None = None,
) -> Written:
    """Continue each prompt by up to `n_new` tokens.

    The hash rotations are drawn once and hold for the whole call; what cached decoding computes is said in
    `reformer.decoding`. The model runs in evaluation mode, without gradients.

    Args:
        model: A causal language model; of an encoder-decoder, its `decoder`.
        prompt_BL: int64 token ids, at least one for each sequence.
        n_new: New tokens at most; with the prompt no more than `config.max_len`.
        seed: Everything random follows from it: hashing, and what `Sample` draws.
        strategy: How a token is chosen.
        valid_BL: bool, true for the first positions of each prompt and false for the padding behind them.
        end_token: Ends a sequence; `None` writes all `n_new` tokens.
        memory: An encoder's output, exactly if `config.cross_attention`.

    Returns:
        The new tokens.

    Raises:
        ValueError: An argument is not as described; names it.
    """
    _check(model, prompt_BL, n_new, strategy, end_token)
    decoder = Decoder(model, capacity=prompt_BL.shape[1] + n_new, seed=seed, memory=memory)
    logit_BV = decoder.prefill(prompt_BL, valid_BL)
    match strategy:
        case Greedy():
            return _one_by_one(decoder, logit_BV, n_new, end_token, _Chooser(None, seed))
        case Sample():
            return _one_by_one(decoder, logit_BV, n_new, end_token, _Chooser(strategy, seed))
        case Beam():
            return _beam_search(decoder, logit_BV, n_new, end_token, strategy)
        case _:
            assert_never(strategy)


def _check(model: ReformerLM, prompt_BL: Tensor, n_new: int, strategy: Strategy, end_token: int | None) -> None:
    vocab_size = model.config.vocab_size
    if not isinstance(n_new, int) or n_new < 1:
        raise ValueError(f"n_new={n_new!r}; ask for a whole number of tokens, one at least")
    if not isinstance(strategy, Greedy | Sample | Beam):
        raise ValueError(f"strategy={strategy!r}; use Greedy(), Sample(...) or Beam(...)")
    if isinstance(strategy, Sample) and (strategy.top_k or 0) > vocab_size:
        raise ValueError(f"top_k={strategy.top_k} is more than the {vocab_size} tokens of the vocabulary")
    if end_token is not None and not 0 <= end_token < vocab_size:
        raise ValueError(f"end_token={end_token} is no token; ids run from 0 to vocab_size - 1 = {vocab_size - 1}")
    check_tokens("prompt_BL", prompt_BL, vocab_size=vocab_size, max_len=model.config.max_len)


class _Chooser:
    """Takes one token of each distribution: the most probable without a `Sample`, else a draw."""

    def __init__(self, sample: Sample | None, seed: int) -> None:
        self._sample = sample
        # On the CPU: the same seed draws the same tokens on every device.
        self._generator = torch.Generator().manual_seed(derived_seed(seed, "sampling"))

    def __call__(self, logit_BV: Tensor) -> Tensor:
        if self._sample is None:
            return logit_BV.argmax(dim=-1)
        probability_BV = narrowed(logit_BV.double().cpu(), self._sample).softmax(dim=-1)
        return torch.multinomial(probability_BV, 1, generator=self._generator).squeeze(1).to(logit_BV.device)


def narrowed(logit_BV: Tensor, sample: Sample) -> Tensor:
    """Logits over the temperature, minus infinity for tokens that are not to be drawn."""
    logit_BV = logit_BV / sample.temperature
    descending_BV, token_BV = logit_BV.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logit_BV.shape[-1], device=logit_BV.device)
    kept_BV = (rank < (sample.top_k or logit_BV.shape[-1])).expand_as(descending_BV)
    if sample.top_p is not None:
        # Of the distribution that top_k has left; a token is needed if those before it have not reached top_p.
        probability_BV = descending_BV.masked_fill(~kept_BV, float("-inf")).softmax(dim=-1)
        kept_BV = kept_BV & ((probability_BV.cumsum(dim=-1) - probability_BV < sample.top_p) | (rank == 0))
    return logit_BV.masked_fill(~torch.zeros_like(kept_BV).scatter(1, token_BV, kept_BV), float("-inf"))


def _one_by_one(decoder: Decoder, logit_BV: Tensor, n_new: int, end_token: int | None, choose: _Chooser) -> Written:
    batch, device = logit_BV.shape[0], logit_BV.device
    open_B = torch.ones(batch, dtype=torch.bool, device=device)
    length_B = torch.zeros(batch, dtype=torch.int64, device=device)
    total_B = torch.zeros(batch, dtype=torch.float64, device=device)
    tokens: list[Tensor] = []
    while True:
        token_B = choose(logit_BV)
        if end_token is not None:
            token_B = token_B.where(open_B, torch.full_like(token_B, end_token))
        total_B += _log_probabilities(logit_BV).gather(1, token_B[:, None]).squeeze(1).where(open_B, 0.0)
        length_B += open_B
        tokens.append(token_B)
        if end_token is not None:
            open_B = open_B & (token_B != end_token)
        if len(tokens) == n_new or not bool(open_B.any()):
            return Written(torch.stack(tokens, dim=1), length_B, total_B)
        logit_BV = decoder.step(token_B)


def _log_probabilities(logit_xV: Tensor) -> Tensor:
    return logit_xV.double().log_softmax(dim=-1)


class _Beams(NamedTuple):
    """Continuations of each prompt, n of them side by side."""

    token_BnT: Tensor
    total_Bn: Tensor
    length_Bn: Tensor
    open_Bn: Tensor

    @classmethod
    def at_start(cls, batch: int, n_beams: int, device: torch.device) -> "_Beams":
        # At first all beams of a prompt are the same: one of them is enough.
        total_Bn = torch.full((batch, n_beams), float("-inf"), dtype=torch.float64, device=device)
        total_Bn[:, 0] = 0.0
        nothing_Bn = torch.zeros(batch, n_beams, dtype=torch.int64, device=device)
        return cls(nothing_Bn[..., None][..., :0], total_Bn, nothing_Bn, torch.ones_like(nothing_Bn, dtype=torch.bool))

    def extended(self, logit_xV: Tensor, end_token: int | None, beam: Beam) -> tuple["_Beams", Tensor]:
        """The best beams of one more token, and which beam each of them extends, parent_Bn."""
        total_BnV = self.total_Bn[..., None] + self._gains(logit_xV, end_token)
        length_Bn = self.length_Bn + self.open_Bn
        best_Bn = beam.rating(total_BnV, length_Bn[..., None]).flatten(1).topk(beam.n_beams, dim=1).indices
        parent_Bn, token_Bn = best_Bn // logit_xV.shape[1], best_Bn % logit_xV.shape[1]
        history_BnT = self.token_BnT.gather(1, parent_Bn[..., None].expand_as(self.token_BnT))
        open_Bn = self.open_Bn.gather(1, parent_Bn)
        beams = _Beams(
            torch.cat([history_BnT, token_Bn[..., None]], dim=2),
            total_BnV.flatten(1).gather(1, best_Bn),
            length_Bn.gather(1, parent_Bn),
            open_Bn if end_token is None else open_Bn & (token_Bn != end_token),
        )
        return beams, parent_Bn

    def _gains(self, logit_xV: Tensor, end_token: int | None) -> Tensor:
        """Log-probability that each token adds; a beam that has ended stays as it is."""
        gain_BnV = _log_probabilities(logit_xV).view(*self.total_Bn.shape, -1)
        if end_token is None:
            return gain_BnV
        stay_V = torch.full_like(gain_BnV[0, 0], float("-inf"))
        stay_V[end_token] = 0.0
        return gain_BnV.where(self.open_Bn[..., None], stay_V)

    def best(self, eligible_Bn: Tensor, beam: Beam) -> tuple[Written, Tensor]:
        """The best of the eligible beams of each prompt, and its rating; minus infinity where none is eligible."""
        rating_Bn = beam.rating(self.total_Bn, self.length_Bn).masked_fill(~eligible_Bn, float("-inf"))
        rating_B, chosen_B = rating_Bn.max(dim=1)
        row_B = torch.arange(len(chosen_B), device=chosen_B.device)
        return Written(*(part[row_B, chosen_B] for part in (self.token_BnT, self.length_Bn, self.total_Bn))), rating_B


class _Finished(NamedTuple):
    """The best continuation of each prompt that has ended so far, and its rating."""

    written: Written
    rating_B: Tensor

    def or_better(self, other: Written, rating_B: Tensor, end_token: int | None) -> "_Finished":
        """Whichever is rated higher; the shorter is filled up with end tokens."""
        missing = other.token_BT.shape[1] - self.written.token_BT.shape[1]
        mine = self.written._replace(token_BT=F.pad(self.written.token_BT, (0, missing), value=end_token or 0))
        better_B = rating_B > self.rating_B
        token_BT = torch.where(better_B[:, None], other.token_BT, mine.token_BT)
        length_B = torch.where(better_B, other.length_B, mine.length_B)
        total_B = torch.where(better_B, other.log_probability_B, mine.log_probability_B)
        return _Finished(Written(token_BT, length_B, total_B), torch.where(better_B, rating_B, self.rating_B))


def _beam_search(decoder: Decoder, logit_BV: Tensor, n_new: int, end_token: int | None, beam: Beam) -> Written:
    """Follow the best continuations of each prompt; rows of the decoder are beams, those of one prompt side by side."""
    batch, device = logit_BV.shape[0], logit_BV.device
    first_row_B1 = torch.arange(batch, device=device)[:, None] * beam.n_beams
    beams = _Beams.at_start(batch, beam.n_beams, device)
    finished = _Finished(*beams.best(torch.zeros_like(beams.open_Bn), beam))
    decoder.reorder(torch.arange(batch, device=device).repeat_interleave(beam.n_beams))
    logit_xV = logit_BV.repeat_interleave(beam.n_beams, dim=0)
    while True:
        beams, parent_Bn = beams.extended(logit_xV, end_token, beam)
        last = beams.token_BnT.shape[2] == n_new or not bool(beams.open_Bn.any())
        # One that has ended may yet be crowded out by others that will be worse: it must be kept aside.
        eligible_Bn = ~beams.open_Bn | last
        finished = finished.or_better(*beams.best(eligible_Bn, beam), end_token)
        if last:
            return finished.written
        decoder.reorder((first_row_B1 + parent_Bn).flatten())
        logit_xV = decoder.step(beams.token_BnT[..., -1].flatten())
