"""What is trained on: batches follow from seed and step, what is held out is never trained on, only targets count."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ablations.data.enwik8 import Split
from ablations.data.images64 import ImageSplit
from ablations.harness.cell import Cell
from ablations.harness.training import Condition, Duplication, Images64, Learn, Multi30k, Recipe
from ablations.harness.workloads.learning.batches import Material
from ablations.harness.workloads.learning.images import Pictures
from ablations.harness.workloads.learning.text import Text
from ablations.harness.workloads.learning.words import Words
from reformer.config import DenseAttention, ReformerConfig
from tests.harness.learning.test_run import cell as duplication_cell


def cell(length: int, batch: int = 3) -> Cell:
    sizes = {"vocab_size": 256, "d_model": 6, "n_heads": 2, "d_head": 4, "d_ff": 8, "n_layers": 1}
    config = ReformerConfig(**sizes, max_len=length, attention=DenseAttention(), residual="standard")
    learn = Learn(recipe=Recipe(steps=5, learning_rate=1e-3, warmup_steps=1), evaluate_every=5, evaluation_windows=4)
    return Cell(experiment="m", config=config, workload=learn, batch=batch, length=length, device="cpu", seed=2)


def text_material() -> Material:
    train, validation = np.arange(200, dtype=np.uint8) % 100, 100 + np.arange(120, dtype=np.uint8)
    return Text(Split(train=train, validation=validation, test=validation), cell(11))


def picture_material() -> Material:
    draw = np.random.default_rng(1)
    train, validation = draw.integers(0, 9, (13, 12288), np.uint8), draw.integers(100, 109, (8, 12288), np.uint8)
    return Pictures(ImageSplit(train=train, validation=validation, description="drawn"), cell(384))


def word_material() -> Material:
    return Words(Duplication(n_symbols=5, shorter=((2, 6), (4, 10))), duplication_cell())


MATERIALS = {"text": text_material, "pictures": picture_material, "words": word_material}


@pytest.mark.parametrize("name", MATERIALS)
def test_a_step_s_batch_follows_from_seed_and_step_alone(name: str) -> None:
    fresh, used = MATERIALS[name](), MATERIALS[name]()
    for step in (1, 2, 3):
        used.training(step)
    assert torch.equal(fresh.training(3).inputs[0], used.training(3).inputs[0])
    assert not torch.equal(fresh.training(3).inputs[0], fresh.training(5).inputs[0])


@pytest.mark.parametrize("name", MATERIALS)
def test_what_is_held_out_comes_in_as_many_sequences_as_asked_for(name: str) -> None:
    material = MATERIALS[name]()
    assert [batch.inputs[0].shape[0] for batch in material.held_out(7)] == [3, 3, 1]
    first, again = (next(iter(material.held_out(7))) for _ in range(2))
    assert torch.equal(first.inputs[0], again.inputs[0])


@pytest.mark.parametrize("name", ["text", "pictures"])
def test_evaluation_reads_the_validation_part_only(name: str) -> None:
    material = MATERIALS[name]()
    assert all(int(batch.target_BL.min()) >= 100 for batch in material.held_out(4))
    assert all(int(material.training(step).target_BL.max()) < 100 for step in range(1, 20))


@pytest.mark.parametrize("name", ["text", "pictures"])
def test_each_token_is_predicted_from_those_before_it(name: str) -> None:
    batch = MATERIALS[name]().training(1)
    assert torch.equal(batch.inputs[0][:, 1:], batch.target_BL[:, :-1])


def test_a_picture_begins_with_a_zero_and_all_its_bytes_count() -> None:
    batch = picture_material().training(1)
    assert batch.inputs[0].shape == batch.target_BL.shape == (3, 384)
    assert batch.inputs[0][:, 0].eq(0).all()
    assert batch.n_counted == 3 * 384


def test_the_second_writing_of_a_word_counts_and_nothing_else() -> None:
    for batch in word_material().held_out(3):
        assert batch.counted_BL is not None
        word_BL = torch.cat([batch.inputs[0], batch.target_BL[:, -1:]], dim=1)
        half = word_BL.shape[1] // 2
        assert torch.equal(word_BL[:, :half], word_BL[:, half:])
        assert word_BL[:, 0].eq(0).all()
        counted = batch.target_BL[batch.counted_BL].view(3, -1)
        assert torch.equal(counted, word_BL[:, 1:half])


def test_a_curriculum_starts_with_shorter_words() -> None:
    material = word_material()
    assert [material.training(step).target_BL.shape[1] for step in (1, 2, 3, 4, 5)] == [5, 5, 9, 9, 19]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": Multi30k()}, "cross_attention=False does not go with task 'multi30k'"),
        ({"task": Images64()}, "vocab_size=10 has no room for the 256 symbols"),
        ({"task": Duplication(n_symbols=10)}, "vocab_size=10 has no room for the 11 symbols"),
        ({"task": Duplication(n_symbols=9, shorter=((3, 7),))}, "length=7 of 0w0w must be even"),
        ({"task": Duplication(n_symbols=9, shorter=((3, 22),))}, "no more than the cell's 20"),
        ({"conditions": (Condition(name="x", silenced=(2,)),)}, "condition 'x' silences layer 2 of 2"),
        ({"conditions": (Condition(name="x"), Condition(name="x"))}, "conditions have the name 'x' 2 times"),
    ],
)
def test_training_that_cannot_be_is_refused_by_name(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        duplication_cell(**changes)  # type: ignore[arg-type]
