"""What must hold on a CUDA device as well; run by `pytest -m gpu` where there is one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reformer.config import LSHAttention, RotaryPositions
from reformer.generation import Beam, Greedy, Sample, Strategy, generate
from reformer.inference import InferenceModel
from reformer.model import ReformerLM
from reformer.reversible import plain_sequence
from reformer.reversible_modules import ReadsContext, ReversibleSequence
from reformer.trunk import grid_error
from tests.reformer.models import EVERY_VARIANT, gradients, model, tokens
from tests.reformer.test_losses import assert_errs_little

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}
"""Float64: sums are taken in another order there."""


# PyTorch has no fused kernel for float64 on a GPU.
@pytest.mark.parametrize("variant", EVERY_VARIANT.keys() - {"dense_fused"})
def test_a_model_gives_there_what_it_gives_on_the_cpu(variant: str) -> None:
    results = []
    for device in ("cpu", DEVICE):
        one = model(variant, ff_chunk_len=11).to(device)
        token_BL, target_BL = (tensor.to(device) for tensor in tokens())
        valid_BL = torch.arange(token_BL.shape[1], device=device) < torch.tensor([[53], [40]], device=device)
        loss = one.loss(token_BL, target_BL, seed=7, valid_BL=valid_BL, counted_BL=valid_BL)
        loss.backward()
        results.append({"loss": loss.detach().cpu()} | {name: one.cpu() for name, one in gradients(one).items()})
    torch.testing.assert_close(*results, **CLOSE)


@pytest.mark.parametrize("variant", ["reformer", "lsh_checkpointed", "reversible_only"])
def test_dropout_is_replayed_there(variant: str) -> None:
    attention = LSHAttention(n_hashes=3, chunk_len=8, dropout=0.2)
    changes: dict[str, Any] = {"dropout": 0.3, "ff_chunk_len": 11}
    if variant != "reversible_only":
        changes["attention"] = attention
    before = torch.cuda.get_rng_state(DEVICE)
    results = []
    for residual in (EVERY_VARIANT[variant].residual, "standard"):
        one = model(variant, residual=residual, **changes).to(DEVICE)
        one.loss(*(tensor.to(DEVICE) for tensor in tokens()), seed=7).backward()
        results.append(gradients(one))
    torch.testing.assert_close(*results, **CLOSE)
    assert torch.equal(before, torch.cuda.get_rng_state(DEVICE))


class Reading(nn.Module):
    """A half with dropout from the device's global random stream."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.dropout = nn.Dropout(0.4)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.linear(x) * memory)
        return out


def test_the_device_s_random_stream_is_replayed_for_any_modules() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [(ReadsContext(Reading()), nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.4))) for _ in range(3)]
        sequence = ReversibleSequence(*layers).double().to(DEVICE)
        results, streams = [], []
        for run in (lambda *x: sequence(*x), lambda x1, x2, memory: plain_sequence(sequence.bound((memory,)), x1, x2)):
            torch.manual_seed(4)
            leaves = [torch.randn(2, 5, 6, dtype=torch.float64).to(DEVICE).requires_grad_() for _ in range(3)]
            y1, y2 = run(*leaves)
            found = torch.autograd.grad((y1.square() + y2.cos()).sum(), [*leaves, *sequence.parameters()])
            results.append([y1.detach(), y2.detach(), *found])
            streams.append(torch.cuda.get_rng_state(DEVICE))
    torch.testing.assert_close(*results, **CLOSE)
    assert torch.equal(*streams)


@pytest.mark.parametrize("strategy", [Greedy(), Sample(top_k=7), Beam(n_beams=3)])
def test_generation_writes_there_what_it_writes_on_the_cpu(strategy: Strategy) -> None:
    written = []
    for device in ("cpu", DEVICE):
        one = model("reformer", positions=RotaryPositions(), d_head=6).to(device)
        prompt_BL = tokens(9)[0].to(device)
        valid_BL = torch.arange(9, device=device) < torch.tensor([[9], [4]], device=device)
        written.append(generate(one, prompt_BL, n_new=12, seed=3, strategy=strategy, valid_BL=valid_BL).token_BT.cpu())
    assert torch.equal(*written)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_trains_there(dtype: torch.dtype) -> None:
    token_BL, target_BL = (tensor.to(DEVICE) for tensor in tokens())
    expected = model("reformer", dtype=torch.float32).to(DEVICE).loss(token_BL, target_BL, seed=7)
    whole = model("reformer", dtype=dtype).to(DEVICE)
    autocast = model("reformer", dtype=torch.float32).to(DEVICE)
    losses = [whole.loss(token_BL, target_BL, seed=7)]
    with torch.autocast("cuda", dtype=dtype):
        losses.append(autocast.loss(token_BL, target_BL, seed=7))
    for one, loss in zip((whole, autocast), losses, strict=True):
        loss.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-2, atol=0)
        assert all(gradient.isfinite().all() for gradient in gradients(one).values())


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")  # PyTorch's compiler uses it
def test_inference_is_one_graph_there() -> None:
    one = InferenceModel(model("reformer", dtype=torch.float32), seed=3).to(DEVICE)
    token_BL = tokens()[0].to(DEVICE)
    compiled = torch.compile(one, fullgraph=True)
    torch.testing.assert_close(compiled(token_BL), one(token_BL), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid_bits", [None, 12])
def test_a_whole_training_step_is_one_cuda_graph(grid_bits: int | None) -> None:
    n_steps = 3

    def trained() -> tuple[ReformerLM, torch.optim.Optimizer, Callable[[], Tensor]]:
        attention = LSHAttention(n_hashes=3, chunk_len=8, backend="eager")
        one = model("reformer", attention=attention, ff_chunk_len=11, grid_bits=grid_bits).to(DEVICE)
        optimiser = torch.optim.AdamW(one.parameters(), lr=0.01, capturable=True)
        token_BL, target_BL = (tensor.to(DEVICE) for tensor in tokens())
        rotations = [None if one_layer is None else one_layer.to(DEVICE) for one_layer in one.trunk.rotations(7)]

        def step() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            loss = one.loss(token_BL, target_BL, seed=7, rotations=rotations)
            loss.backward()
            optimiser.step()
            return loss.detach()

        return one, optimiser, step

    one, optimiser, step = trained()
    start = [parameter.detach().clone() for parameter in one.parameters()]
    # Whatever libraries and the optimiser set up once, on a stream of its own, as capturing asks for.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(n_steps):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    # Back to the start, in the memory that the graph knows.
    with torch.no_grad():
        for parameter, value in zip(one.parameters(), start, strict=True):
            parameter.copy_(value)
        for state in optimiser.state.values():
            for tensor in state.values():
                tensor.zero_()

    replayed = []
    for _ in range(n_steps):
        graph.replay()
        replayed.append((loss.clone(), gradients(one)))
    eager, _, eager_step = trained()
    expected = [(eager_step(), gradients(eager)) for _ in range(n_steps)]
    torch.testing.assert_close(replayed, expected, **CLOSE)
    assert replayed[0][0] != replayed[-1][0], "the optimiser has stepped"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_reversible_layers_on_a_grid_are_undone_there_bit_for_bit(dtype: torch.dtype) -> None:
    one = model("reformer", dtype=torch.float32, n_layers=24).to(DEVICE)
    with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        found = grid_error(one.trunk, tokens()[0].to(DEVICE), seed=7, grid_bits=12)
    assert found.undone == (0.0,) * 24
    assert found.undone_without[0] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_chunked_loss_errs_there_no_more_than_twice_as_much_as_the_plain_one(dtype: torch.dtype) -> None:
    assert_errs_little(dtype, DEVICE)
