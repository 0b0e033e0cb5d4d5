"""Whether a gradient is that of the values: the peers' where it is not, beside ours under the same settings.

The slope of a loss along a random direction, once by the gradient and once by a difference of values. All randomness
of a call is repeated in the other calls.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest import mock

import pytest
import reformer_pytorch
import torch
from torch import Tensor, nn
from transformers import ReformerModelWithLMHead

from reformer.huggingface import from_huggingface
from tests.peers import theirs

STEP = 1e-6
AGREES, IS_WRONG = 1e-6, 1e-2


@contextmanager
def repeated_randomness() -> Iterator[None]:
    """Every time the same numbers from the global stream, and the same fresh seeds, which theirs takes for dropout."""
    with torch.random.fork_rng(devices=[]), mock.patch("torch.seed", side_effect=count(1)):
        torch.manual_seed(0)
        yield


def slope_error(model: nn.Module, loss: Callable[[], Tensor]) -> float:
    """How far the gradient's slope is from the one that values show, relative to the latter."""
    generator = torch.Generator().manual_seed(5)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    direction = [torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in parameters]
    with repeated_randomness():
        loss().backward()
    by_gradient = sum(
        float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True) if p.grad is not None
    )
    ahead, behind = (_moved(parameters, direction, by, loss) for by in (STEP, -STEP))
    by_values = (ahead - behind) / (2 * STEP)
    return abs(by_gradient / by_values - 1)


def _moved(parameters: list[nn.Parameter], direction: list[Tensor], by: float, loss: Callable[[], Tensor]) -> float:
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, along in zip(parameters, direction, strict=True):
                parameter.add_(sign * by * along)
        if sign == 1:
            with repeated_randomness():
                value = loss().item()
    return value


def weighted(values: Tensor) -> Tensor:
    weight = torch.randn(values.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return (values * weight).sum()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["local", "lsh"])
def test_huggingface_s_gradient_is_wrong_with_lsh_and_dropout_and_ours_is_not(kind: str, dropout: float) -> None:
    config = theirs.config(attn_layers=[kind] * 3, hidden_dropout_prob=dropout, hash_seed=None, axial_pos_embds=False)
    their: Any = theirs.built(ReformerModelWithLMHead, config).train()
    ours, token_BL = from_huggingface(their), theirs.tokens()
    assert slope_error(ours, lambda: weighted(ours(token_BL, seed=8))) < AGREES
    error = slope_error(their, lambda: weighted(their(token_BL)[0]))
    if kind == "lsh" and dropout:
        assert error > IS_WRONG
    else:
        assert error < AGREES


@pytest.mark.parametrize("attn_chunks", [1, 3])
def test_lucidrains_gradient_is_wrong_with_heads_in_chunks(attn_chunks: int) -> None:
    sizes = {"dim": 14, "depth": 2, "heads": 3, "dim_head": 5, "bucket_size": 4, "n_hashes": 2, "ff_chunks": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        their = reformer_pytorch.Reformer(**sizes, causal=True, attn_chunks=attn_chunks).double().train()
    x_BLD = torch.randn(2, 24, 14, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    error = slope_error(their, lambda: weighted(their(x_BLD.clone().requires_grad_())))
    assert error < AGREES if attn_chunks == 1 else error > IS_WRONG


def test_a_huggingface_model_in_training_moves_the_global_stream_and_ours_does_not() -> None:
    their: Any = theirs.built(
        ReformerModelWithLMHead, theirs.config(attn_layers=["lsh"], axial_pos_embds=False)
    ).train()
    ours, token_BL = from_huggingface(their), theirs.tokens()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = torch.get_rng_state()
        ours(token_BL, seed=8).sum().backward()
        assert torch.equal(torch.get_rng_state(), state)
        their(token_BL)
        assert not torch.equal(torch.get_rng_state(), state)
