"""How many bytes a training step holds at most: exact, in float32, gradients allocated beforehand."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ablations.harness.measure.memory import peak_tensor_bytes
from reformer.blocks import Call
from reformer.config import LSHAttention
from reformer.functional.losses import chunked_cross_entropy
from reformer.functional.lsh import lsh_attention
from reformer.functional.windows import Window
from reformer.reversible import Layer, Streams, checkpointed_sequence, plain_sequence, reversible_sequence
from reformer.reversible_modules import ReversibleSequence
from tests.reformer.models import BATCH, SIZES, model, tokens

LENGTH, HEADS, ROUNDS, WIDTH = 96, SIZES["n_heads"], 3, SIZES["d_model"]
FLOAT = 4
STREAM = BATCH * LENGTH * WIDTH * FLOAT
DEPTHS = (2, 3, 6)
"""From two layers on: the first layer's streams are one tensor, the embedding."""


def peak_of(step: Callable[[], None], parameters: Sequence[nn.Parameter]) -> int:
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    step()  # whatever PyTorch allocates once
    return peak_tensor_bytes(step)


def training_peak(variant: str, n_layers: int, **changes: Any) -> int:  # noqa: ANN401
    one = model(variant, dtype=torch.float32, n_layers=n_layers, max_len=128, **changes)
    token, target = tokens(LENGTH)
    return peak_of(lambda: one.loss(token, target, seed=3).backward(), list(one.parameters()))


def growth(peak_at: Callable[[int], int]) -> int:
    """Bytes that each further layer adds, the same for each."""
    first, second, third = (peak_at(depth) for depth in DEPTHS)
    assert third - second == 3 * (second - first), "the peak grows linearly"
    return second - first


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_reversible_training_step_s_peak_does_not_depend_on_depth(dropout: float) -> None:
    assert growth(lambda depth: training_peak("reversible_only", depth, dropout=dropout)) == 0


@pytest.mark.parametrize(("n_buckets", "id_bytes"), [((4, 6), 2), ((128, 254), 2), ((256, 128), 4)])
def test_hashing_adds_its_buckets_for_each_layer_and_not_a_byte_more(n_buckets: tuple[int, ...], id_bytes: int) -> None:
    attention = LSHAttention(n_hashes=ROUNDS, chunk_len=8, n_buckets=n_buckets)
    grown = growth(lambda depth: training_peak("reformer", depth, attention=attention, dropout=0.1))
    assert grown == BATCH * HEADS * ROUNDS * LENGTH * id_bytes


@pytest.mark.parametrize("variant", ["dense", "lsh_only"])
def test_a_standard_training_step_s_peak_grows_with_every_layer(variant: str) -> None:
    # At least the streams, what two norms give, and the hidden layer before and after its activation.
    hidden = BATCH * LENGTH * SIZES["d_ff"] * FLOAT
    assert growth(lambda depth: training_peak(variant, depth)) > 4 * STREAM + 2 * hidden


def test_a_checkpointed_training_step_s_peak_grows_by_two_streams_a_layer() -> None:
    # And by a scalar or two of bookkeeping.
    grown = growth(lambda depth: training_peak("dense_checkpointed", depth))
    assert 2 * STREAM <= grown < 2 * STREAM + 64


def test_with_a_chunked_feed_forward_half_a_checkpointed_step_exceeds_a_reversible_one_by_its_streams_at_most() -> None:
    for depth in DEPTHS:
        reversible, checkpointed, at_once = (
            training_peak(variant, depth, d_ff=600, ff_chunk_len=chunk_len)
            for variant, chunk_len in (("reversible_only", 8), ("dense_checkpointed", 8), ("dense_checkpointed", None))
        )
        assert checkpointed <= reversible + 2 * depth * STREAM + 64
        # Of the hidden layer, before and after its activation, no more than a chunk is held.
        assert at_once - checkpointed > 2 * BATCH * (LENGTH - 8) * 600 * FLOAT


@pytest.mark.parametrize("same_bucket_only", [True, False])
@pytest.mark.parametrize("wrap", ["across_rounds", "per_round", "none"])
def test_the_memory_of_deduplication_grows_linearly_with_rounds(
    wrap: Literal["across_rounds", "per_round", "none"], same_bucket_only: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, value = (nn.Parameter(torch.randn(BATCH, HEADS, LENGTH, 5, generator=generator)) for _ in range(2))

    def peak(rounds: int) -> int:
        bucket = torch.randint(12, (BATCH, HEADS, rounds, LENGTH), generator=generator)

        def step() -> None:
            out = lsh_attention(
                query,
                value,
                bucket,
                score_scale=1.0,
                window=Window(8, 1, 0, wrap),
                causal=True,
                same_bucket_only=same_bucket_only,
                deduplicate=True,
            )
            out.sum().backward()

        return peak_of(step, [query, value])

    two, four, eight = (peak(rounds) for rounds in (2, 4, 8))
    assert eight - four == 2 * (four - two)


def test_reversible_modules_add_the_state_of_the_random_stream_for_each_half_and_nothing_else() -> None:
    def peak(depth: int) -> int:
        sequence = ReversibleSequence(
            *[[nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.3), nn.Linear(9, 6)) for _ in range(2)]] * depth
        )
        x = torch.zeros(3, 97, 6)

        def step() -> None:
            y1, y2 = sequence(x, x)
            (y1.sum() + y2.square().sum()).backward()

        with torch.random.fork_rng(devices=[]):
            return peak_of(step, list(sequence.parameters()))

    assert growth(peak) == 2 * torch.get_rng_state().numel()


def feed_forward_peak(
    run: Callable[[Sequence[Layer], Tensor, Tensor], Streams], ff_chunk_len: int | None, d_ff: int
) -> int:
    """Of a forward and backward pass through one feed-forward half alone."""
    one = model("reformer", dtype=torch.float32, n_layers=1, max_len=128, d_ff=d_ff, ff_chunk_len=ff_chunk_len)
    (block,) = one.trunk.layers
    x = torch.zeros(BATCH, LENGTH, WIDTH)

    def step() -> None:
        half = block.bound(Call(3, training=True), None)[-1]
        y1, y2 = run([[half]], x, x)
        (y1.sum() + y2.square().sum()).backward()

    return peak_of(step, list(block.parameters()))


@pytest.mark.parametrize("d_ff", [150, 220])
@pytest.mark.parametrize("run", [reversible_sequence, plain_sequence, checkpointed_sequence])
def test_a_chunked_feed_forward_half_holds_one_chunk_s_hidden_layer_in_the_backward_pass(
    run: Callable[[Sequence[Layer], Tensor, Tensor], Streams], d_ff: int
) -> None:
    at_once, *chunked = (feed_forward_peak(run, chunk_len, d_ff) for chunk_len in (None, 8, 16, 24))
    # For each position of a chunk: the hidden layer before and after its activation, and a gradient of it; what goes
    # into it and what comes out; mean and deviation of the norm. A reversible layer has a place for the gradient of
    # every chunk's input from the start, beside the one just found.
    per_position = BATCH * (3 * d_ff + (3 if run is reversible_sequence else 2) * WIDTH + 2) * FLOAT
    assert [b - a for a, b in pairwise(chunked)] == [8 * per_position] * 2
    whole_hidden = BATCH * LENGTH * d_ff * FLOAT
    assert max(chunked) < 2 * whole_hidden < at_once
    assert feed_forward_peak(keeping_all_pieces, 8, d_ff) > 2 * whole_hidden


def keeping_all_pieces(layers: Sequence[Layer], x1: Tensor, x2: Tensor) -> Streams:
    """As HuggingFace and lucidrains chunk: every chunk's hidden layer is kept, twice."""
    ((half,),) = layers
    pieces = [half(x2[:, piece], piece) for piece in half.pieces(LENGTH)]
    return x2, x1 + torch.cat(pieces, dim=1)


class Sizes(TorchDispatchMode):
    """The shape of every tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: list[torch.Size] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        del types
        out = func(*args, **(kwargs or {}))
        self.shapes += [one.shape for one in torch.utils._pytree.tree_leaves(out) if isinstance(one, Tensor)]
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk_len", [7, 32, LENGTH])
def test_a_chunked_loss_never_holds_more_logits_than_a_chunk_s(dtype: torch.dtype, chunk_len: int) -> None:
    vocabulary = 509
    hidden, weight, bias = (
        torch.zeros(shape, dtype=dtype, requires_grad=True)
        for shape in ((BATCH, LENGTH, WIDTH), (vocabulary, WIDTH), (vocabulary,))
    )
    target = torch.zeros(BATCH, LENGTH, dtype=torch.int64)
    with Sizes() as forward:
        loss = chunked_cross_entropy(hidden, weight, bias, target, chunk_len=chunk_len)
    with Sizes() as backward:
        loss.backward()
    assert max(shape.numel() for shape in forward.shapes) == BATCH * chunk_len * vocabulary
    # The gradients are known by then.
    assert max(shape.numel() for shape in backward.shapes) == max(hidden.numel(), weight.numel())


def test_a_chunked_loss_holds_one_chunk_s_logits_at_a_time() -> None:
    vocabulary = 509
    weight, bias = (nn.Parameter(torch.zeros(shape)) for shape in ((vocabulary, WIDTH), (vocabulary,)))
    target = torch.zeros(BATCH, LENGTH, dtype=torch.int64)

    def peak(chunk_len: int) -> int:
        hidden = torch.zeros(BATCH, LENGTH, WIDTH, requires_grad=True)
        return peak_of(
            lambda: chunked_cross_entropy(hidden, weight, bias, target, chunk_len=chunk_len).backward(), [weight, bias]
        )

    eight, sixteen, at_once = peak(8), peak(16), peak(LENGTH)
    # For each position: one buffer for logits and all that comes of them; what goes into the head; target and whether
    # it counts; the target's logit and the normaliser.
    per_position = BATCH * (vocabulary * FLOAT + WIDTH * FLOAT + 8 + 1 + 2 * FLOAT)
    assert sixteen - eight == 8 * per_position
    assert at_once > LENGTH * per_position > 2 * sixteen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", ["reformer", "dense"])
def test_a_training_step_never_holds_all_logits(variant: str, dtype: torch.dtype) -> None:
    one = model(variant, dtype=dtype, n_layers=2, vocab_size=4001, max_len=128, loss_chunk_len=16)
    with Sizes() as sizes:
        one.loss(*tokens(LENGTH), seed=3).backward()
    assert max(shape.numel() for shape in sizes.shapes) < BATCH * LENGTH * 4001
    assert max(shape.numel() for shape in sizes.shapes if shape[-1:] == (4001,)) == BATCH * 16 * 4001
