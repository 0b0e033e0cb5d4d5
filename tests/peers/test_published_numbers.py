"""The numbers that HuggingFace published for its Reformer, and had checked against the authors' trax, by our model.

Their classes only draw the weights, from the global stream seeded with 0.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.reformer.modeling_reformer import ReformerLayer

from reformer.blocks import Call
from reformer.huggingface import from_huggingface, rotations_like_huggingface
from reformer.model import ReformerLM
from reformer.reversible import Half, plain_sequence
from reformer.trunk import Reformer
from tests.peers import theirs

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))
HASH_SEED = PUBLISHED["config"]["hash_seed"]
# Published with four decimals: half a unit of the last, and what float32 adds.
LIMIT = 6e-5


def drawn(make: Any, *arguments: Any) -> Any:  # noqa: ANN401  (a class of theirs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*arguments)


def their_config(case: dict[str, Any]) -> Any:  # noqa: ANN401  (a class of theirs)
    return transformers.ReformerConfig(**{**PUBLISHED["config"], **case["config"]})


def our_model(kind: str, case: dict[str, Any]) -> Any:  # noqa: ANN401  (a model of ours, with a head or without)
    return from_huggingface(drawn(getattr(transformers, kind), their_config(case)))


def assert_close(ours: Tensor, expected: list[float] | float) -> None:
    torch.testing.assert_close(ours.detach(), torch.tensor(expected), rtol=0, atol=LIMIT)


def our_layer(case: dict[str, Any]) -> tuple[Half, Half]:
    """The attention and feed-forward halves of the layer, bound to the published mask and rotations."""
    trunk = theirs.built(transformers.ReformerModel, their_config(case), dtype=torch.float32)
    trunk.encoder.layers[0] = drawn(ReformerLayer, their_config(case))
    ours = from_huggingface(trunk)
    assert isinstance(ours, Reformer)
    valid_BL = torch.tensor(PUBLISHED["valid_1L"], dtype=torch.bool) if case["masked"] else None
    rotation_HRKN = rotations_like_huggingface(ours.config, HASH_SEED)[0]
    attention, feed_forward = ours.layers[0].bound(Call(seed=0, training=False, valid_BL=valid_BL), rotation_HRKN)
    return attention, feed_forward


@pytest.mark.parametrize("name", PUBLISHED["layers"])
def test_a_layer_gives_the_published_values(name: str) -> None:
    case, x_BLD = PUBLISHED["layers"][name], torch.tensor(PUBLISHED["hidden_1LD"])
    _, second_BLD = plain_sequence([our_layer(case)], x_BLD, x_BLD)
    assert_close(second_BLD[0, 0, :5], case["expected"])


@pytest.mark.parametrize("name", PUBLISHED["models"])
def test_a_model_gives_the_published_values(name: str) -> None:
    case = PUBLISHED["models"][name]
    ours = our_model(case["kind"], case).eval()
    token_BL, valid_BL = torch.tensor(PUBLISHED["token_BL"]), torch.tensor(PUBLISHED["valid_BL"], dtype=torch.bool)
    values = ours(token_BL, seed=0, valid_BL=valid_BL, rotations=rotations_like_huggingface(ours.config, HASH_SEED))
    assert_close(values[*case["row"], :5], case["expected"])


@pytest.mark.parametrize("name", PUBLISHED["training"])
def test_training_gives_the_published_loss_and_gradient(name: str) -> None:
    case = PUBLISHED["training"][name]
    ours = our_model("ReformerModelWithLMHead", case)
    assert isinstance(ours, ReformerLM)
    token_BL = torch.tensor(PUBLISHED["token_BL"])
    # The last position has no next token.
    target_BL = token_BL.roll(-1, dims=1)
    counted_BL = torch.arange(token_BL.shape[1]).expand_as(token_BL) < token_BL.shape[1] - 1
    rotations = rotations_like_huggingface(ours.config, HASH_SEED)
    loss = ours.loss(token_BL, target_BL, seed=0, counted_BL=counted_BL, rotations=rotations)
    loss.backward()
    assert_close(loss, case["loss"])
    assert ours.trunk.embedding.weight.grad is not None
    assert_close(ours.trunk.embedding.weight.grad[0, :5], case["embedding_gradient"])
    first, second = (parameter for key, parameter in ours.named_parameters() if "positions" in key)
    assert_close(first[1, -5:], case["first_axis"])
    assert_close(second[1, :5], case["second_axis"])
