"""Small models learn tasks that need attention over the whole sequence, and write out what they have learned."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from reformer.config import EncoderDecoderConfig, LSHAttention, ReformerConfig
from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.generation import generate
from reformer.model import ReformerLM

VOCAB, WORD, SOURCE = 17, 31, 16
BATCH, HELD_OUT = 32, 100
START, PAD = 1, 0


def train(model: nn.Module, loss: Callable[[int, torch.Generator], Tensor], *, steps: int, rate: float) -> None:
    """Adam with a linear warm-up over a hundred steps, and a linear decay over the second half."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(1)
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(step / 100, 1, max(0.1, 2 * (1 - step / steps)))
        optimiser.zero_grad()
        loss(step, generator).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    model.eval()


def sizes(attention: LSHAttention, max_len: int) -> dict[str, Any]:
    dims = {"d_model": 64, "n_heads": 4, "d_head": 16, "d_ff": 128, "n_layers": 1}
    return {"vocab_size": VOCAB, **dims, "max_len": max_len, "attention": attention, "residual": "reversible"}


def duplicated(generator: torch.Generator, batch: int) -> Tensor:
    """Sequences 0w0w of 64 tokens (paper, section 2), w without zeros."""
    word = torch.randint(1, VOCAB, (batch, WORD), generator=generator)
    zero = torch.zeros(batch, 1, dtype=torch.int64)
    return torch.cat([zero, word, zero, word], dim=1)


@pytest.fixture(scope="module")
def duplicator() -> ReformerLM:
    attention = LSHAttention(n_hashes=4, chunk_len=16)
    model = ReformerLM(ReformerConfig(**sizes(attention, 2 * WORD + 2)), torch.Generator().manual_seed(0))
    second_half = (torch.arange(2 * WORD + 1) > WORD).expand(BATCH, -1)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        token = duplicated(generator, BATCH)
        return model.loss(token[:, :-1], token[:, 1:], seed=step, counted_BL=second_half)

    train(model, loss, steps=250, rate=3e-3)
    return model


def test_a_decoder_learns_the_duplication_task_and_greedy_decoding_reproduces_it(duplicator: ReformerLM) -> None:
    token = duplicated(torch.Generator().manual_seed(9), HELD_OUT)
    with torch.no_grad():
        predicted = duplicator(token[:, :-1], seed=5).argmax(-1)
    assert (predicted == token[:, 1:])[:, WORD + 1 :].double().mean() >= 0.99
    written = generate(duplicator, token[:, : WORD + 2], n_new=WORD, seed=6)
    assert (written.token_BT == token[:, WORD + 2 :]).double().mean() >= 0.99


class Reversal(NamedTuple):
    source: Tensor
    target: Tensor
    valid: Tensor

    @property
    def shifted(self) -> Tensor:
        """What the decoder reads: the target one place later, behind a start token."""
        return torch.cat([torch.full((len(self.target), 1), START), self.target[:, :-1]], dim=1)


def reversal(generator: torch.Generator, batch: int) -> Reversal:
    """Words of 8 to 16 tokens, padded, and the same words backwards."""
    length = torch.randint(SOURCE // 2, SOURCE + 1, (batch, 1), generator=generator)
    valid = torch.arange(SOURCE) < length
    word = torch.randint(2, VOCAB, (batch, SOURCE), generator=generator).masked_fill(~valid, PAD)
    backwards = word.gather(1, (length - 1 - torch.arange(SOURCE)).clamp(min=0)).masked_fill(~valid, PAD)
    return Reversal(word, backwards, valid)


@pytest.fixture(scope="module")
def reverser() -> ReformerEncoderDecoder:
    both = sizes(LSHAttention(n_hashes=2, chunk_len=8), SOURCE + 1)
    config = EncoderDecoderConfig(
        encoder=ReformerConfig(**both, causal=False), decoder=ReformerConfig(**both, cross_attention=True)
    )
    model = ReformerEncoderDecoder(config, torch.Generator().manual_seed(0))

    def loss(step: int, generator: torch.Generator) -> Tensor:
        task = reversal(generator, BATCH)
        masks = {"source_valid_BE": task.valid, "valid_BL": task.valid, "counted_BL": task.valid}
        return model.loss(task.source, task.shifted, task.target, seed=step, **masks)

    train(model, loss, steps=1600, rate=3e-3)
    return model


def test_an_encoder_decoder_learns_to_write_backwards_and_greedy_decoding_reproduces_it(
    reverser: ReformerEncoderDecoder,
) -> None:
    task = reversal(torch.Generator().manual_seed(9), HELD_OUT)
    with torch.no_grad():
        logits = reverser(task.source, task.shifted, seed=5, source_valid_BE=task.valid, valid_BL=task.valid)
        memory = reverser.encode(task.source, seed=5, valid_BE=task.valid)
    assert (logits.argmax(-1) == task.target)[task.valid].double().mean() >= 0.99
    written = generate(reverser.decoder, task.shifted[:, :1], n_new=SOURCE, seed=6, memory=memory)
    assert (written.token_BT == task.target)[task.valid].double().mean() >= 0.99
