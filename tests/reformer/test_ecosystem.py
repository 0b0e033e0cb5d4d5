"""What PyTorch users put around a model: torch.compile, torch.export, autocast, half precision, DDP, checkpoints."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from reformer.config import (
    AxialPositions,
    LocalAttention,
    LSHAttention,
    RotaryPositions,
    SinusoidalPositions,
)
from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.functional.hashing import hash_vectors
from reformer.functional.losses import chunked_cross_entropy
from reformer.generation import Beam, generate
from reformer.inference import InferenceModel
from reformer.layers import StreamNorm
from reformer.model import ReformerLM
from reformer.objective import Objective
from reformer.reversible_modules import ReadsContext, ReversibleSequence
from tests.reformer.models import (
    EVERY_VARIANT,
    LENGTH,
    encoder_decoder,
    gradients,
    hashing_by,
    model,
    sequence_pairs,
    tokens,
)

INFERRED: dict[str, dict[str, Any]] = {
    "reformer": {"variant": "reformer", "ff_chunk_len": 10},
    "dense with rotary positions": {"variant": "dense", "positions": RotaryPositions(), "d_head": 4},
    "local and LSH with axial positions": {
        "variant": "reformer",
        "positions": AxialPositions(shape=(8, 8), dims=(5, 7)),
        "attention": (
            LocalAttention(chunk_len=8, n_chunks_after=1),
            LSHAttention(
                n_hashes=3, n_hashes_eval=2, chunk_len=8, deduplicate=True, same_bucket_only=True, wrap="per_round"
            ),
        ),
    },
    "query-chunked with sinusoidal positions": {
        "variant": "dense_query_chunked",
        "positions": SinusoidalPositions(),
        "merge": "concatenate",
    },
    "fused, tied": {"variant": "dense_fused", "tie_embeddings": True},
    "transformer": {"variant": "transformer", "ff_chunk_len": 10},
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def inference_model(variant: str, n_layers: int = 2, **changes: Any) -> InferenceModel:  # noqa: ANN401
    one = model(variant, dtype=torch.float32, n_layers=n_layers, dropout=0.1, **changes)
    return InferenceModel(one, seed=3)


def inputs(name: str, seed: int = 1) -> tuple[Tensor, ...]:
    """Tokens, and where the attention takes it, a mask."""
    token, _ = tokens(seed=seed)
    return (token,) if "fused" in name else (token, torch.arange(LENGTH) < torch.tensor([[LENGTH], [40]]))


@pytest.mark.parametrize("name", INFERRED)
def test_an_inference_model_is_the_model_in_evaluation_mode_with_one_seed(name: str) -> None:
    one, given = inference_model(**INFERRED[name]), inputs(name)
    before = torch.get_rng_state()
    logits = one(*given)
    assert torch.equal(torch.get_rng_state(), before)
    assert not logits.requires_grad
    assert one.model.training, "the model's own mode is left alone"
    masked = {"valid_BL": given[1]} if len(given) == 2 else {}
    assert torch.equal(logits, one.model.eval()(given[0], seed=3, **masked))
    assert set(one.state_dict()) == {f"model.{key}" for key in one.model.state_dict()}


def test_an_inference_model_s_rotations_are_those_of_its_seed_and_move_with_it() -> None:
    one = inference_model(**INFERRED["local and LSH with axial positions"])
    _, drawn = one.model.eval().trunk.rotations(3)
    assert drawn is not None
    torch.testing.assert_close(dict(one.named_buffers()), {"rotation_1": drawn}, rtol=0, atol=0)
    assert one.to("meta").get_buffer("rotation_1").device.type == "meta"


@pytest.mark.parametrize("name", INFERRED)
def test_an_inference_model_is_one_graph(name: str) -> None:
    # Through autograd's own tracing; the code generator behind it is tried below.
    one, given = inference_model(**INFERRED[name]), inputs(name)
    compiled = torch.compile(one, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given), one(*given), rtol=1e-6, atol=1e-6)
    torch.compiler.reset()
    assert torch._dynamo.explain(one)(*given).graph_break_count == 0


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")  # PyTorch's compiler uses it
def test_an_inference_model_runs_as_generated_code() -> None:
    attention = LSHAttention(n_hashes=1, chunk_len=16)
    one, (token, _) = inference_model("reformer", n_layers=1, attention=attention), tokens()
    expected = one(token)
    compiled = torch.compile(one, fullgraph=True, backend="inductor")(token)
    # Sums in another order.
    assert (compiled - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("name", INFERRED)
def test_an_exported_program_serves_other_tokens(name: str) -> None:
    one = inference_model(**INFERRED[name])
    program = torch.export.export(one, inputs(name)).module()
    torch.testing.assert_close(program(*inputs(name, seed=2)), one(*inputs(name, seed=2)), rtol=1e-6, atol=1e-6)


def test_a_decoder_that_reads_an_encoder_is_no_inference_model() -> None:
    with pytest.raises(ValueError, match=r"model.config.cross_attention=True.*call the model itself"):
        InferenceModel(encoder_decoder().decoder, seed=3)


@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace the builtin:UserWarning")  # seeded generators
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # PyTorch's own
@pytest.mark.parametrize(("variant", "dropout"), [("reformer", 0.1), ("reversible_only", 0.0), ("dense", 0.1)])
def test_a_compiled_training_step_has_the_same_loss_and_gradients(variant: str, dropout: float) -> None:
    results = []
    for compiled in (True, False):
        one = model(variant, n_layers=1, dropout=dropout, ff_chunk_len=30)
        step: Callable[..., Tensor] = torch.compile(one.loss, backend="aot_eager") if compiled else one.loss
        loss = step(*tokens(), seed=3)
        loss.backward()
        results.append((loss.detach(), gradients(one)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
    assert len(results[0][1]) == len(model(variant, n_layers=1).state_dict())


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_a_model_in_inference_mode_gives_what_it_gives_without_gradients(variant: str) -> None:
    one = model(variant, ff_chunk_len=10)

    def outcome() -> list[Tensor]:
        token, target = (x.clone() for x in tokens())
        return [one(token, seed=3), one.loss(token, target, seed=3), *generate(one, token, n_new=4, seed=3)]

    with torch.no_grad():
        expected = outcome()
    with torch.inference_mode():
        found = outcome()
    assert all(tensor.is_inference() for tensor in found)
    torch.testing.assert_close([x.clone() for x in found], expected, rtol=0, atol=0)
    one.loss(*tokens(), seed=3).backward()
    assert len(gradients(one)) == len(one.state_dict())


def test_an_encoder_decoder_in_inference_mode_writes_what_it_writes_without_gradients() -> None:
    one, (source, token, _) = encoder_decoder(), sequence_pairs()

    def outcome() -> list[Tensor]:
        memory = one.encode(source, seed=3)
        strategy = Beam(n_beams=2)
        written = generate(one.decoder, token, n_new=4, seed=3, memory=memory, strategy=strategy, end_token=5)
        return [one(source, token, seed=3), *written]

    with torch.no_grad():
        expected = outcome()
    with torch.inference_mode():
        found = outcome()
    torch.testing.assert_close([x.clone() for x in found], expected, rtol=0, atol=0)


@pytest.mark.parametrize("made_there", [True, False])
def test_any_modules_in_inference_mode_give_what_they_give_without_gradients(made_there: bool) -> None:
    sequence, streams = reversible_modules(), random_streams()
    with torch.no_grad():
        expected = sequence(*streams)
    with torch.inference_mode():
        found = sequence(*((x.clone() for x in streams) if made_there else streams))
    torch.testing.assert_close([x.clone() for x in found], list(expected), rtol=0, atol=0)


PARAMETERS = {
    "trunk.embedding.weight": (29, 12),
    "trunk.positions.table": (64, 12),
    "trunk.blocks.0.attention.norm.weight": (12,),
    "trunk.blocks.0.attention.norm.bias": (12,),
    "trunk.blocks.0.attention.inner.query.weight": (15, 12),
    "trunk.blocks.0.attention.inner.value.weight": (15, 12),
    "trunk.blocks.0.attention.inner.output.weight": (12, 15),
    "trunk.blocks.0.feed_forward.norm.weight": (12,),
    "trunk.blocks.0.feed_forward.norm.bias": (12,),
    "trunk.blocks.0.feed_forward.inner.inner.weight": (22, 12),
    "trunk.blocks.0.feed_forward.inner.inner.bias": (22,),
    "trunk.blocks.0.feed_forward.inner.outer.weight": (12, 22),
    "trunk.blocks.0.feed_forward.inner.outer.bias": (12,),
    "trunk.norm.weight": (12,),
    "trunk.norm.bias": (12,),
    "head.weight": (29, 12),
    "head.bias": (29,),
}
CROSS_PARAMETERS = {
    "trunk.blocks.0.cross_attention.norm.weight": (12,),
    "trunk.blocks.0.cross_attention.norm.bias": (12,),
    "trunk.blocks.0.cross_attention.inner.query.weight": (15, 12),
    "trunk.blocks.0.cross_attention.inner.key.weight": (15, 12),
    "trunk.blocks.0.cross_attention.inner.value.weight": (15, 12),
    "trunk.blocks.0.cross_attention.inner.output.weight": (12, 15),
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, PARAMETERS),
        ({"tie_embeddings": True}, PARAMETERS),
        ({"cross_attention": True}, PARAMETERS | CROSS_PARAMETERS),
        (
            {"merge": "concatenate"},
            PARAMETERS | {"trunk.norm.weight": (24,), "trunk.norm.bias": (24,), "head.weight": (29, 24)},
        ),
    ],
)
def test_names_and_shapes_of_stored_weights_stay(changes: dict[str, Any], expected: dict[str, tuple[int, ...]]) -> None:
    state = model("reformer", n_layers=1, **changes).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected


@contextmanager
def buckets_of(recorded: list[Tensor], *, replay: bool) -> Iterator[None]:
    """Record what layers hash to; or have them take what was recorded, in the same order."""

    def hashed(*given: Any, **named: Any) -> Tensor:  # noqa: ANN401
        if replay:
            return recorded.pop(0)
        recorded.append(hash_vectors(*given, **named))
        return recorded[-1]

    with hashing_by(hashed):
        yield


LOW_PRECISION = {torch.bfloat16: (2e-3, 5e-2), torch.float16: (2e-4, 6e-3)}
"""Relative errors allowed against float32, of the loss and of all gradients together: a few of the type's rounding
steps, 2 ** -8 and 2 ** -11, as dense attention has them."""


@pytest.mark.parametrize("how", ["autocast", "parameters"])
@pytest.mark.parametrize("dtype", LOW_PRECISION)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_half_precision_keeps_streams_wide_and_errs_little(variant: str, dtype: torch.dtype, how: str) -> None:
    # With the buckets of float32: a vector near the border of two buckets may change sides, which is not rounding.
    buckets: list[Tensor] = []
    plain = model(variant, dtype=torch.float32)
    with buckets_of(buckets, replay=False):
        expected = plain.loss(*tokens(), seed=3)
    expected.backward()
    low = model(variant, dtype=dtype if how == "parameters" else torch.float32)
    streams = []
    for module in low.modules():
        if isinstance(module, StreamNorm):
            module.register_forward_pre_hook(lambda _module, x: streams.append(x[0].dtype))
    with buckets_of(buckets, replay=True), torch.autocast("cpu", dtype=dtype, enabled=how == "autocast"):
        loss = low.loss(*tokens(), seed=3)
    loss.backward()
    assert set(streams) == {torch.float32}
    assert loss.dtype == torch.float32
    of_loss, of_gradients = LOW_PRECISION[dtype]
    assert (loss - expected).abs() < of_loss * expected
    found, right = (torch.cat([g.double().flatten() for g in gradients(one).values()]) for one in (low, plain))
    assert (found - right).norm() < of_gradients * right.norm()


@pytest.mark.parametrize("dtype", LOW_PRECISION)
@pytest.mark.parametrize("variant", ["reformer", "lsh_only"])
def test_half_precision_with_buckets_of_its_own_is_finite_and_near(variant: str, dtype: torch.dtype) -> None:
    expected = model(variant, dtype=torch.float32).loss(*tokens(), seed=3)
    one = model(variant, dtype=dtype)
    loss = one.loss(*tokens(), seed=3)
    loss.backward()
    assert (loss - expected).abs() < 0.01 * expected
    assert all(gradient.isfinite().all() for gradient in gradients(one).values())


@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_a_chunked_loss_in_half_precision_is_float32_and_its_gradients_are_near(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in ((2, 64, 12), (29, 12), (29,))
    )
    target = torch.randint(29, (2, 64), generator=generator)
    loss = chunked_cross_entropy(hidden, weight, bias, target, chunk_len=4)
    assert loss.dtype == torch.float32
    # Nothing is rounded to the narrow type but the logits.
    logits = torch.cat([F.linear(chunk, weight, bias) for chunk in hidden.split(4, dim=1)], dim=1).double()
    torch.testing.assert_close(
        loss.double(), F.cross_entropy(logits.flatten(0, 1), target.flatten()), rtol=1e-6, atol=0
    )
    wide = [leaf.detach().double().requires_grad_() for leaf in (hidden, weight, bias)]
    plain = F.cross_entropy(F.linear(*wide).flatten(0, 1), target.flatten())
    # Gradients of the weights are, too, once for each of the 16 chunks.
    step = torch.finfo(dtype).eps
    for found, right in zip(
        torch.autograd.grad(loss, (hidden, weight, bias)), torch.autograd.grad(plain, wide), strict=True
    ):
        assert (found.double() - right).norm() < step * right.norm()


Trained = ReformerLM | ReformerEncoderDecoder | ReversibleSequence


class OfStreams(nn.Module):
    """A loss of two reversible streams as the `forward` that DDP wraps."""

    def __init__(self, sequence: ReversibleSequence) -> None:
        super().__init__()
        self.sequence = sequence

    def forward(self, *streams: Tensor, seed: int) -> Tensor:
        del seed
        y1, y2 = self.sequence(*streams)
        loss: Tensor = y1.square().mean() + (3 * y2).sin().mean()
        return loss


def objective(of: Trained) -> nn.Module:
    return OfStreams(of) if isinstance(of, ReversibleSequence) else Objective(of)


def reversible_modules() -> ReversibleSequence:
    def half() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 6))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shared = half()
        return ReversibleSequence((ReadsContext(nn.Bilinear(6, 6, 6)), shared), (half(), shared), (half(),)).double()


def random_streams() -> tuple[Tensor, ...]:
    return tuple(torch.randn(3, 4, 7, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64))


TRAINED: dict[str, Callable[[], tuple[Trained, tuple[Tensor, ...]]]] = {
    "reformer": lambda: (model("reformer"), tokens()),
    "tied embeddings": lambda: (model("reformer", tie_embeddings=True, ff_chunk_len=10), tokens()),
    "lsh_only": lambda: (model("lsh_only"), tokens()),
    "encoder-decoder": lambda: (encoder_decoder(), sequence_pairs(4)),
    "any modules": lambda: (reversible_modules(), random_streams()),
}
"""Models, and batches whose halves go to one process each."""


def train_in_two_processes(rank: int, folder: str) -> None:
    """One of the two processes: the gradients of every model under plain DDP, on this process's half of the batch."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {}
    for name, make in TRAINED.items():
        of, batch = make()
        # Buckets of a few parameters each, so that gradients are exchanged while others are still to come.
        wrapped = DistributedDataParallel(objective(of), bucket_cap_mb=1e-3)
        mine = [tensor.chunk(2)[rank] for tensor in batch]
        for _ in range(2):
            wrapped.zero_grad()
            wrapped(*mine, seed=3).backward()
        found[name] = {key: parameter.grad for key, parameter in of.named_parameters()}
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def from_two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ddp")
    spawn(train_in_two_processes, (str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", TRAINED)
def test_plain_ddp_gives_the_gradients_of_one_process(
    name: str, from_two_processes: list[dict[str, dict[str, Tensor]]]
) -> None:
    # HuggingFace's language model has a dead parameter, on which plain DDP fails.
    of, batch = TRAINED[name]()
    loss = OfStreams(of)(*batch, seed=3) if isinstance(of, ReversibleSequence) else of.loss(*batch, seed=3)
    loss.backward()
    expected = {key: parameter.grad for key, parameter in of.named_parameters()}
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in expected.values())
    for found in from_two_processes:
        torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=1e-12)
