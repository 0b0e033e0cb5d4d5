"""Strategies of generation against enumeration and counting."""

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from reformer import generation
from reformer.config import LSHAttention
from reformer.decoding import Decoder
from reformer.generation import Beam, Greedy, Sample, Strategy, generate, narrowed
from reformer.model import ReformerLM
from tests.reformer.models import model, tokens

VOCAB = 29


def prompt(length: int = 7) -> Tensor:
    return tokens(length)[0]


def writer(**changes: Any) -> ReformerLM:  # noqa: ANN401  (any field of the config)
    """A model with an opinion: a new model's logits are nearly equal."""
    one = model("reformer", **changes)
    with torch.no_grad():
        one.head.weight.mul_(4)
    return one


def log_probabilities(one: ReformerLM, prompt_BL: Tensor, new_BT: Tensor) -> Tensor:
    """Log-probability of each new token, by plain steps; [B, T]."""
    decoder = Decoder(one, capacity=prompt_BL.shape[1] + new_BT.shape[1], seed=3)
    steps, logit_BV = [], decoder.prefill(prompt_BL)
    for token_B in new_BT.unbind(1):
        steps.append(logit_BV.log_softmax(-1).gather(1, token_B[:, None]).squeeze(1))
        logit_BV = decoder.step(token_B)
    return torch.stack(steps, dim=1)


def test_greedy_takes_the_most_probable_token_each_time() -> None:
    one = writer()
    written = generate(one, prompt(), n_new=11, seed=3)
    decoder = Decoder(one, capacity=18, seed=3)
    logit_BV = decoder.prefill(prompt())
    for token_B in written.token_BT.unbind(1):
        assert torch.equal(token_B, logit_BV.argmax(-1))
        logit_BV = decoder.step(token_B)
    assert written.length_B.tolist() == [11, 11]
    expected = log_probabilities(one, prompt(), written.token_BT).sum(1)
    torch.testing.assert_close(written.log_probability_B, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("strategy", [Greedy(), Sample(), Beam(n_beams=3)])
def test_a_sequence_ends_with_its_end_token_and_the_others_go_on(strategy: Strategy) -> None:
    one = writer()
    free = generate(one, prompt(), n_new=11, seed=3, strategy=strategy).token_BT
    end_token = int(free[0, 4])
    written = generate(one, prompt(), n_new=11, seed=3, strategy=strategy, end_token=end_token)
    for row, length in zip(written.token_BT, written.length_B.tolist(), strict=True):
        ended = (row == end_token).nonzero().flatten()
        assert length == (int(ended[0]) + 1 if len(ended) else 11)
        assert (row[length:] == end_token).all()
    own = log_probabilities(one, prompt(), written.token_BT)
    counted = torch.arange(written.token_BT.shape[1]) < written.length_B[:, None]
    expected = (own * counted).sum(1)
    torch.testing.assert_close(written.log_probability_B, expected, rtol=1e-12, atol=1e-12)


def test_writing_stops_when_all_sequences_have_ended() -> None:
    one = writer()
    with torch.no_grad():
        one.head.bias[5] = 100.0
    written = generate(one, prompt(), n_new=50, seed=3, end_token=5)
    assert written.token_BT.tolist() == [[5], [5]]


def test_samples_follow_the_model_s_distribution_narrowed_as_asked() -> None:
    one = writer(n_layers=1)
    sample = Sample(temperature=1.7, top_k=6, top_p=0.8)
    many = prompt()[:1].expand(20_000, -1)
    drawn = generate(one, many, n_new=1, seed=3, strategy=sample).token_BT.flatten()
    logit_BV = Decoder(one, capacity=8, seed=3).prefill(prompt()[:1])
    probability = narrowed(logit_BV, sample).softmax(-1)[0]
    assert 2 <= (probability > 0).sum() <= 6
    frequency = torch.bincount(drawn, minlength=VOCAB) / len(drawn)
    assert frequency[probability == 0].sum() == 0
    # Five standard deviations of a frequency of one half.
    assert (frequency - probability).abs().max() < 5 * (0.25 / len(drawn)) ** 0.5


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (Sample(), [0.4, 0.1, 0.3, 0.2]),
        (Sample(top_k=1), [1, 0, 0, 0]),
        (Sample(top_k=3), [4 / 9, 0, 3 / 9, 2 / 9]),
        (Sample(top_p=0.39), [1, 0, 0, 0]),
        (Sample(top_p=0.41), [4 / 7, 0, 3 / 7, 0]),
        (Sample(top_p=0.01), [1, 0, 0, 0]),
        (Sample(top_p=1.0), [0.4, 0.1, 0.3, 0.2]),
        (Sample(top_k=2, top_p=0.6), [4 / 7, 0, 3 / 7, 0]),
        (Sample(temperature=0.5), [16 / 30, 1 / 30, 9 / 30, 4 / 30]),
    ],
)
def test_a_distribution_is_narrowed_to_its_most_probable_tokens(sample: Sample, expected: list[float]) -> None:
    logit = torch.tensor([[0.4, 0.1, 0.3, 0.2]], dtype=torch.float64).log()
    found = narrowed(logit, sample).softmax(-1)[0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_equal_logits_keep_exactly_the_tokens_asked_for() -> None:
    assert narrowed(torch.zeros(2, 7), Sample(top_k=3)).isfinite().sum(1).tolist() == [3, 3]


@pytest.mark.parametrize("end_token", [None, 2])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_enough_beams_find_the_best_of_all_continuations(end_token: int | None, length_penalty: float) -> None:
    # One layer decodes exactly, so a forward pass over each of 4^3 continuations is the oracle.
    one = ReformerLM(
        model("lsh_only").config.model_copy(
            update={"vocab_size": 4, "n_layers": 1, "attention": LSHAttention(chunk_len=8, n_buckets=4)}
        ),
        torch.Generator().manual_seed(2),
    ).double()
    one.head.weight.data.mul_(4)
    start = prompt(5)[:1] % 4
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    own = log_probabilities(one, start.expand(len(every), -1), every)
    length = torch.full((len(every),), 3)
    if end_token is not None:
        ends = every == end_token
        length = torch.where(ends.any(1), ends.int().argmax(1) + 1, 3)
    total = (own * (torch.arange(3) < length[:, None])).sum(1)
    rating = total / length.double() ** length_penalty
    best = int(rating.argmax())
    strategy = Beam(n_beams=64, length_penalty=length_penalty)
    written = generate(one, start, n_new=3, seed=3, strategy=strategy, end_token=end_token)
    kept = int(length[best])
    assert written.length_B.tolist() == [kept]
    assert written.token_BT[0, :kept].tolist() == every[best, :kept].tolist()
    torch.testing.assert_close(written.log_probability_B[0], total[best], rtol=1e-12, atol=1e-12)


class Scripted:
    """A decoder that gives the tokens named the probabilities named, by what was written; the others share the rest."""

    script: ClassVar[dict[tuple[int, ...], dict[int, float]]]
    vocabulary: ClassVar[int]

    def __init__(self, *_: object, **__: object) -> None:
        self._written: list[tuple[int, ...]] = []

    @classmethod
    def logits(cls, written: tuple[int, ...]) -> Tensor:
        named = cls.script.get(written, {})
        rest = (1 - sum(named.values())) / (cls.vocabulary - len(named))
        return torch.tensor([named.get(token, rest) for token in range(cls.vocabulary)], dtype=torch.float64).log()

    def prefill(self, token_BL: Tensor, valid_BL: Tensor | None) -> Tensor:
        assert valid_BL is None
        self._written = [()] * len(token_BL)
        return self._next()

    def reorder(self, row_B: Tensor) -> None:
        self._written = [self._written[row] for row in row_B.tolist()]

    def step(self, token_B: Tensor) -> Tensor:
        self._written = [(*past, token) for past, token in zip(self._written, token_B.tolist(), strict=True)]
        return self._next()

    def _next(self) -> Tensor:
        return torch.stack([self.logits(written) for written in self._written])


class Ended(NamedTuple):
    """A continuation that nothing follows, and its log-probability."""

    tokens: tuple[int, ...]
    total: float


def every_continuation(script: type[Scripted], *, n_new: int, end_token: int) -> Iterator[Ended]:
    def extended(start: Ended) -> Iterator[Ended]:
        if len(start.tokens) == n_new or start.tokens[-1:] == (end_token,):
            yield start
            return
        for token, gain in enumerate(script.logits(start.tokens).log_softmax(-1).tolist()):
            yield from extended(Ended((*start.tokens, token), start.total + gain))

    return extended(Ended((), 0.0))


class LikelierOnAverage(Scripted):
    """Ending at once is likelier than any other whole; but three tokens are likelier each, on average."""

    vocabulary = 8
    script: ClassVar = {(): {0: 0.35, 1: 0.5}, (1,): {1: 0.5}, (1, 1): {1: 0.9}}


class PromisesAndDisappoints(Scripted):
    """After one token two continuations are better than having ended, and then all of theirs are worse."""

    vocabulary = 8
    script: ClassVar = {(): {0: 0.4, 1: 0.45}, (1,): {1: 0.48, 2: 0.48}}


@pytest.mark.parametrize(
    ("script", "length_penalty", "winner"),
    [
        (LikelierOnAverage, 0.0, (0,)),
        (LikelierOnAverage, 1.0, (1, 1, 1)),
        (PromisesAndDisappoints, 0.0, (0,)),
        (PromisesAndDisappoints, 1.0, (0,)),
    ],
)
def test_two_beams_find_the_best_of_all_under_each_length_penalty_and_lose_none_that_ended(
    script: type[Scripted], length_penalty: float, winner: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rating(one: Ended) -> float:
        return one.total / float(len(one.tokens) ** length_penalty)

    every = list(every_continuation(script, n_new=3, end_token=0))
    best = max(every, key=rating)
    assert best.tokens == winner
    monkeypatch.setattr(generation, "Decoder", script)
    strategy = Beam(n_beams=2, length_penalty=length_penalty)
    one = model("dense", vocab_size=8)
    written = generate(one, prompt(5) % 8, n_new=3, seed=3, strategy=strategy, end_token=0)
    for tokens_T, length, total in zip(*written, strict=True):
        assert tuple(tokens_T[:length].tolist()) == winner
        assert (tokens_T[length:] == 0).all()
        assert abs(float(total) - best.total) < 1e-12


def test_one_beam_is_greedy_and_rows_do_not_mix() -> None:
    one = writer()
    greedy = generate(one, prompt(), n_new=9, seed=3)
    assert torch.equal(generate(one, prompt(), n_new=9, seed=3, strategy=Beam(n_beams=1)).token_BT, greedy.token_BT)
    together = generate(one, prompt(), n_new=9, seed=3, strategy=Beam(n_beams=4))
    for row in range(2):
        alone = generate(one, prompt()[row : row + 1], n_new=9, seed=3, strategy=Beam(n_beams=4))
        assert torch.equal(alone.token_BT[0], together.token_BT[row])
    expected = log_probabilities(one, prompt(), together.token_BT).sum(1)
    torch.testing.assert_close(together.log_probability_B, expected, rtol=1e-12, atol=1e-12)


def test_equal_seeds_write_alike_and_leave_the_global_stream_alone() -> None:
    one, before = writer(), torch.get_rng_state()
    first, second, other = (
        generate(one, prompt(), n_new=20, seed=seed, strategy=Sample()).token_BT for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_new": 0}, "n_new=0"),
        ({"n_new": 58}, "capacity=65 positions, prompt and new tokens together, is not within 1..max_len = 64"),
        ({"n_new": 1, "end_token": 29}, "end_token=29 is no token; ids run from 0 to vocab_size - 1 = 28"),
        ({"n_new": 1, "strategy": Sample(top_k=30)}, "top_k=30 is more than the 29 tokens"),
        ({"n_new": 1, "valid_BL": torch.ones(2, 6, dtype=torch.bool)}, r"valid_BL has shape \(2, 6\)"),
    ],
)
def test_misuse_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(model("reformer"), prompt(), seed=3, **arguments)


def test_a_prompt_longer_than_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt_BL has length 65, which is not within"):
        generate(model("reformer"), prompt(65), n_new=1, seed=3)


@pytest.mark.parametrize("arguments", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_a_distribution_cannot_be_narrowed_to_nothing(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sample(**arguments)
