"""Encoder and decoder joined, in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reformer.attention import CrossAttention
from reformer.blocks import Memory
from reformer.config import LocalAttention, LSHAttention, Residual
from reformer.randomness import Replay
from tests.reformer.models import (
    PAIRS,
    SIZES,
    SOURCE,
    SOURCE_VOCABULARY,
    TARGET,
    encoder_decoder,
    gradients,
    sequence_pairs,
)

EXACT = 1e-12


def masks() -> dict[str, Tensor]:
    """The second source is full; the third target ends early."""
    source_valid = torch.arange(SOURCE) < torch.tensor([[29], [SOURCE], [6]])
    valid = torch.arange(TARGET) < torch.tensor([[TARGET], [TARGET], [17]])
    return {"source_valid_BE": source_valid, "valid_BL": valid}


@pytest.mark.parametrize("residual", ["reversible", "checkpointed"])
@pytest.mark.parametrize("masked", [True, False])
def test_loss_and_gradients_equal_plain_autograd_s(residual: Residual, masked: bool) -> None:
    results = []
    given = {**masks(), "counted_BL": masks()["valid_BL"]} if masked else {}
    for one_residual in (residual, "standard"):
        one = encoder_decoder(one_residual, dropout=0.2, ff_chunk_len=10, loss_chunk_len=5)
        loss = one.loss(*sequence_pairs(), seed=3, **given)
        loss.backward()
        results.append((loss.detach(), gradients(one)))
        assert len(results[-1][1]) == len(one.state_dict()), "every parameter receives a gradient"
    torch.testing.assert_close(results[0], results[1], rtol=EXACT, atol=EXACT)


def test_the_loss_is_the_mean_cross_entropy_of_what_counts() -> None:
    one, (source, token, target), given = encoder_decoder(), sequence_pairs(), masks()
    counted = given["valid_BL"]
    logits = one(source, token, seed=3, **given)
    assert logits.shape == (PAIRS, TARGET, SIZES["vocab_size"])
    plain = F.cross_entropy(logits[counted], target[counted])
    loss = one.loss(source, token, target, seed=3, **given, counted_BL=counted)
    torch.testing.assert_close(loss, plain, rtol=EXACT, atol=EXACT)


def test_an_encoder_s_output_may_be_computed_apart() -> None:
    one, (source, token, _), given = encoder_decoder(), sequence_pairs(), masks()
    memory = one.encode(source, seed=3, valid_BE=given["source_valid_BE"])
    apart = one.decoder(token, seed=3, valid_BL=given["valid_BL"], memory=memory)
    assert torch.equal(apart, one(source, token, seed=3, **given))


@pytest.mark.parametrize("wrap", ["none", "per_round", "across_rounds"])
def test_what_source_padding_holds_changes_nothing(wrap: str) -> None:
    one = encoder_decoder(attention=LSHAttention.model_validate({"n_hashes": 2, "chunk_len": 8, "wrap": wrap}))
    source, token, _ = sequence_pairs()
    changed = torch.where(masks()["source_valid_BE"], source, (source + 5) % SOURCE_VOCABULARY)
    assert not torch.equal(source, changed)
    logits, others = (one(x, token, seed=3, **masks()) for x in (source, changed))
    assert (logits - others)[masks()["valid_BL"]].abs().max() == 0


@pytest.mark.parametrize("kind", ["lsh", "local"])
def test_a_padded_source_gives_what_the_source_without_padding_gives(kind: str) -> None:
    attention = LocalAttention(chunk_len=8) if kind == "local" else LSHAttention(n_hashes=2, chunk_len=8, wrap="none")
    one, (source, token, _), given = encoder_decoder(attention=attention), sequence_pairs(), masks()
    together = one(source, token, seed=3, source_valid_BE=given["source_valid_BE"])
    for row, length in enumerate(given["source_valid_BE"].sum(1).tolist()):
        alone = one(source[row : row + 1, :length], token[row : row + 1], seed=3)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=EXACT, atol=EXACT)


def test_an_example_without_any_source_reads_nothing_and_has_finite_gradients() -> None:
    one, given, (source, token, target) = encoder_decoder(), masks(), sequence_pairs()
    given["source_valid_BE"][0] = False
    logits, others = (one(x, token, seed=3, **given) for x in (source, (source + 5) % SOURCE_VOCABULARY))
    assert torch.equal(logits[0], others[0])
    loss = one.loss(source, token, target, seed=3, **given)
    loss.backward()
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(one).values())


@pytest.mark.parametrize("residual", ["reversible", "standard"])
def test_the_target_s_past_has_no_gradient_with_respect_to_its_future_but_to_all_of_the_source(
    residual: Residual,
) -> None:
    one, past = encoder_decoder(residual), 11
    embedded: list[Tensor] = []
    for embedding in (one.encoder.embedding, one.decoder.trunk.embedding):
        embedding.register_forward_hook(lambda _module, _inputs, out: embedded.append(out.retain_grad() or out))
    source, token, _ = sequence_pairs()
    one(source, token, seed=3, source_valid_BE=masks()["source_valid_BE"])[:, :past].square().sum().backward()
    d_source, d_target = (embedding.grad for embedding in embedded)
    assert d_source is not None
    assert d_target is not None
    assert d_target[:, past:].abs().max() == 0
    assert d_target[:, :past].abs().amax(-1).min() > 0
    valid = masks()["source_valid_BE"]
    assert d_source[~valid].abs().max() == 0
    assert d_source[valid].abs().amax(-1).min() > 0


@pytest.mark.parametrize("residual", ["reversible", "checkpointed"])
@pytest.mark.parametrize("decoder_layers", [1, 2, 4])
def test_each_encoder_layer_is_run_backward_once_whatever_the_depth_of_the_decoder(
    residual: Residual, decoder_layers: int
) -> None:
    # lucidrains runs the encoder backward once for each decoder layer.
    one = encoder_decoder(residual, decoder_layers)
    runs: dict[str, int] = {}
    gradients_of_memory = []

    def count(name: str) -> None:
        runs[name] = runs.get(name, 0) + 1

    for depth, block in enumerate(one.encoder.layers):
        for half in (block.attention, block.feed_forward):
            half.register_forward_pre_hook(lambda *_, depth=depth: count(f"layer {depth} run"))
    one.encoder.norm.register_full_backward_hook(lambda *_: count("norm run backward"))
    one.encoder.norm.register_forward_hook(
        lambda _module, _inputs, out: out.register_hook(lambda gradient: gradients_of_memory.append(gradient)) and None
    )
    one.loss(*sequence_pairs(), seed=3, **masks()).backward()
    # Two halves, each run forwards once and recomputed once.
    assert runs == {"layer 0 run": 4, "layer 1 run": 4, "norm run backward": 1}
    assert len(gradients_of_memory) == 1


def test_the_encoder_s_output_is_detached_where_the_encoder_is_frozen() -> None:
    results = []
    for residual in ("reversible", "standard"):
        one = encoder_decoder(residual)
        one.encoder.requires_grad_(False)
        one.loss(*sequence_pairs(), seed=3, **masks()).backward()
        results.append(gradients(one))
        assert not any(name.startswith("encoder") for name in results[-1])
    torch.testing.assert_close(*results, rtol=EXACT, atol=EXACT)


def test_one_encoder_s_output_may_serve_several_decodings_before_one_backward_pass() -> None:
    results = []
    for residual in ("reversible", "standard"):
        one, (source, token, target) = encoder_decoder(residual, dropout=0.2), sequence_pairs()
        memory: Memory = one.encode(source, seed=3, valid_BE=masks()["source_valid_BE"])
        losses = [one.decoder.loss(token, target, seed=seed, memory=memory) for seed in (5, 6)]
        (losses[0] * losses[1]).backward()
        results.append(gradients(one))
    torch.testing.assert_close(*results, rtol=EXACT, atol=EXACT)


def test_cross_attention_is_softmax_attention_over_the_valid_source() -> None:
    one = encoder_decoder().decoder.trunk.layers[0].cross_attention
    assert one is not None
    half = one.inner
    assert isinstance(half, CrossAttention)
    generator = torch.Generator().manual_seed(2)
    x, memory = (torch.randn(PAIRS, n, 12, generator=generator, dtype=torch.float64) for n in (TARGET, SOURCE))
    valid = masks()["source_valid_BE"]
    rows = []
    for example in range(PAIRS):
        heads = []
        for head in range(2):
            channels = slice(head * 7, head * 7 + 7)
            kept = memory[example][valid[example]]
            query, key, value = (
                data @ linear.weight[channels].T
                for data, linear in ((x[example], half.query), (kept, half.key), (kept, half.value))
            )
            heads.append(torch.softmax(query @ key.T / 7**0.5, dim=-1) @ value)
        rows.append(torch.cat(heads, dim=-1) @ half.output.weight.T)
    replay = Replay(0, training=False, valid_BL=valid)
    torch.testing.assert_close(half(x, slice(0, TARGET), replay, memory), torch.stack(rows), rtol=EXACT, atol=EXACT)
