"""Translation: sentences padded and masked, written up to their end in batches of any size, resumed bit for bit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ablations.data import multi30k
from ablations.data.multi30k import BEGIN, END, PAD
from ablations.harness.cell import Cell
from ablations.harness.measurement import LearningCurve
from ablations.harness.training import Learn, Multi30k, encoder_of
from ablations.harness.workloads.learning import run as running
from ablations.harness.workloads.learning import translation
from ablations.harness.workloads.learning.sentences import Sentences, padded
from ablations.harness.workloads.learning.tasks import build_learner
from reformer.config import CONTROLS, ReformerConfig
from reformer.encoder_decoder import ReformerEncoderDecoder
from tests.harness.learning.test_run import files_in, interrupted, recipe, without_clock

LENGTH = 9


class Letters:
    """A vocabulary of single letters, in place of one that is learned."""

    def encode(self, text: str) -> list[int]:
        return [4 + ord(letter) - ord("a") for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(one - 4 + ord("a")) for one in ids)


def pairs(count: int) -> tuple[multi30k.Pair, ...]:
    """Words of one to eleven letters, and the same backwards: some are longer than the model's sequences."""
    draw = torch.Generator().manual_seed(count)
    found = []
    for number in range(count):
        letters = torch.randint(6, (1 + number % 11,), generator=draw).tolist()
        word = "".join("abcdef"[one] for one in letters)
        found.append((word, word[::-1]))
    return tuple(found)


PAIRS = multi30k.Pairs(train=pairs(40), validation=pairs(13), test=pairs(11), description="words and their reverse")


def cell(variant: str = "transformer", **task: Any) -> Cell:  # noqa: ANN401
    known = CONTROLS[variant]
    sizes = {"vocab_size": 10, "d_model": 18, "n_heads": 2, "d_head": 7, "d_ff": 22, "n_layers": 2, "max_len": LENGTH}
    config = ReformerConfig(**sizes, attention=known.attention, residual=known.residual, cross_attention=True)
    learn = Learn(task=Multi30k(**task), recipe=recipe(), evaluate_every=5, evaluation_windows=7)
    return Cell(experiment="t", config=config, workload=learn, batch=4, length=LENGTH, device="cpu", seed=3)


def material(one: Cell) -> Sentences:
    pieces: Any = Letters()
    short = [
        tuple((pieces.encode(s), pieces.encode(t)) for s, t in part if len(s) < LENGTH)
        for part in (PAIRS.train, PAIRS.validation)
    ]
    return Sentences(PAIRS, pieces, short[0], short[1], one)


@pytest.fixture(autouse=True)
def _words_for_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "build_material", lambda one, *_: material(one))


def learned(one: Cell) -> LearningCurve:
    assert isinstance(one.workload, Learn)
    return running.learn(one, one.workload, None)


def test_rows_are_padded_to_the_longest_and_padding_is_no_part_of_them() -> None:
    token_BL, valid_BL = padded([[5], [6, 7, 8], [9, 4]])
    assert token_BL.tolist() == [[5, PAD, PAD], [6, 7, 8], [9, 4, PAD]]
    assert valid_BL.tolist() == [[True, False, False], [True] * 3, [True, True, False]]


def test_a_batch_reads_a_source_to_its_end_and_predicts_the_target_from_its_begin_on() -> None:
    for batch in (material(cell()).training(3), next(material(cell()).held_out(5))):
        source_BE, token_BL = batch.inputs
        assert batch.counted_BL is not None
        for source, token, target, counted in zip(source_BE, token_BL, batch.target_BL, batch.counted_BL, strict=True):
            words = [one for one in source.tolist() if one != PAD]
            assert words[-1] == END
            length = len(words)
            assert token.tolist()[:length] == [BEGIN, *words[-2::-1]]
            assert target.tolist()[:length] == [*words[-2::-1], END]
            assert counted.tolist() == [place < length for place in range(len(counted))]


def test_every_short_pair_comes_up_at_most_once_in_an_epoch_and_no_long_one() -> None:
    one = material(cell())
    per_epoch = len(one.train) // 4
    seen = [tuple(row) for step in range(1, per_epoch + 1) for row in one.training(step).inputs[0].tolist()]
    trimmed = [tuple(token for token in row if token != PAD) for row in seen]
    known = [(*source, END) for source, _ in one.train]
    assert all(trimmed.count(row) <= known.count(row) for row in trimmed)
    assert max(map(len, trimmed)) <= LENGTH


def test_what_padding_holds_does_not_change_the_loss() -> None:
    one = cell()
    assert isinstance(one.workload, Learn)
    model = build_learner(one, one.workload.task).eval()
    batch = next(material(one).held_out(5))
    other_BE = batch.inputs[0].masked_fill(~batch.masks["source_valid_BE"], 7)
    changed = batch._replace(inputs=(other_BE, batch.inputs[1]))
    assert not torch.equal(batch.inputs[0], other_BE)
    assert torch.equal(batch.loss(model, seed=1), changed.loss(model, seed=1))


def test_the_encoder_reads_both_ways_and_is_else_like_the_decoder() -> None:
    decoder = cell().config
    encoder = encoder_of(decoder)
    assert (encoder.causal, encoder.cross_attention, encoder.d_model) == (False, False, decoder.d_model)


@pytest.mark.parametrize("variant", ["transformer", "reversible_separate_qk"])
def test_training_resumed_from_its_middle_computes_the_same_bits(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cell(variant, translated=5)
    whole = learned(one)
    interrupted(one, files_in(tmp_path, one), 6, monkeypatch)
    assert isinstance(one.workload, Learn)
    resumed = running.learn(one, one.workload, None, files_in(tmp_path, one))
    assert resumed.resumed_after == (6,)
    assert without_clock(resumed) == without_clock(whole)
    assert whole.translations is not None
    assert whole.translations.n_sentences == 5
    assert "nrefs:1" in whole.translations.signature


class Mirror:
    """Writes what it reads backwards, letter by letter, then its end, then what does not count."""

    def __call__(self, _model: object, begin_B1: torch.Tensor, *, memory: Any, **_: Any) -> Any:  # noqa: ANN401
        from reformer.generation import Written

        rows = [[*[one for one in row if one not in (PAD, END)][::-1], END, 5, 5] for row in memory]
        token_BT = padded(rows)[0]
        length_B = torch.tensor([len(row) - 2 for row in rows])
        assert begin_B1.shape == (len(rows), 1)
        return Written(token_BT, length_B, torch.zeros(len(rows), dtype=torch.float64))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_what_is_written_is_read_up_to_its_end_in_batches_of_any_size(
    beam_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cell(beam_size=beam_size)
    assert isinstance(one.workload, Learn)
    task = one.workload.task
    assert isinstance(task, Multi30k)
    model = build_learner(one, task)
    assert isinstance(model, ReformerEncoderDecoder)
    monkeypatch.setattr(model, "encode", lambda source_BE, **_: source_BE.tolist())
    monkeypatch.setattr(translation, "generate", Mirror())
    found = material(one)
    # Words of no more letters than fit: eight of them, in batches of four.
    short = tuple(pair for pair in PAIRS.test if len(pair[0]) < LENGTH)
    written = Sentences(multi30k.Pairs(train=(), validation=(), test=short, description=""), found.pieces, (), (), one)
    assert len(short) == 8
    sources = [source for source, _ in short]
    assert [*translation._written(model, written, sources, task, one)] == [target for _, target in short]
