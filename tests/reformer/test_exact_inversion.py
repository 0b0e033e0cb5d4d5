"""Reversible layers on a grid: undone bit for bit, so that nothing needs to be kept for the recomputation."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ablations.harness.measure.memory import peak_tensor_bytes
from reformer.blocks import Call
from reformer.config import (
    AxialPositions,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    QueryChunkedAttention,
    ReformerConfig,
)
from reformer.inference import InferenceModel
from reformer.reversible import (
    Run,
    check_on_grid,
    checkpointed_sequence,
    grid_limit,
    on_grid,
    on_grid_sequence,
    plain_sequence,
    reversible_sequence,
)
from reformer.reversible_modules import ReadsContext, ReversibleSequence, check_inversion
from reformer.trunk import grid_error
from tests.reformer.models import config, encoder_decoder, gradients, model, sequence_pairs, tokens

BITS = 12
WIDTH = 6
RUNS = pytest.mark.parametrize("run", [plain_sequence, checkpointed_sequence, reversible_sequence])


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bits", [1, 12, 22])
def test_values_are_rounded_to_the_nearest_multiple_and_gradients_pass(dtype: torch.dtype, bits: int) -> None:
    x = (3 * drawn(50)).to(dtype).requires_grad_()
    rounded = on_grid(x, bits)
    assert rounded.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    steps = rounded.detach().double() * 2**bits
    assert torch.equal(steps, steps.round())
    assert (steps - x.detach().double() * 2**bits).abs().max() <= 0.5
    weight = drawn(50, seed=1).to(rounded.dtype)
    (rounded * weight).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, weight.to(dtype))
    with torch.no_grad():
        assert torch.equal(on_grid(x, bits), rounded)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 24), (torch.float64, 53)])
@pytest.mark.parametrize("bits", [1, 12, 22])
def test_sums_are_undone_exactly_up_to_the_limit_and_not_beyond(dtype: torch.dtype, digits: int, bits: int) -> None:
    limit, step = grid_limit(dtype, bits), 2.0**-bits
    assert limit == 2.0 ** (digits - bits)
    for sign in (1, -1):
        # The largest sum that is served: both parts whole numbers of steps, and odd.
        x = torch.tensor(sign * (limit / 2 - step), dtype=dtype)
        branch = torch.tensor(sign * limit / 2, dtype=dtype)
        total = x + branch
        assert abs(float(total)) == limit - step
        check_on_grid(total, bits)
        assert torch.equal(total - branch, x)
        # One step further the sum is still held, at the limit itself; two steps further it is rounded to the limit,
        # and what comes back is off by a step: both are refused, since one cannot be told from the other.
        for further, comes_back in ((1, True), (2, False)):
            beyond = x + sign * further * step
            total = beyond + branch
            assert abs(float(total)) == limit
            assert torch.equal(total - branch, beyond) == comes_back
            with pytest.raises(RuntimeError, match=f"with grid_bits={bits} .* must stay below"):
                check_on_grid(total, bits)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(value: float) -> None:
    stream = torch.zeros(3, 4)
    check_on_grid(stream, BITS)
    stream[1, 2] = value
    with pytest.raises(RuntimeError, match="not finite or has left the range"):
        check_on_grid(stream, BITS)


def refused(action: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="has left the range in which sums on a grid are exact"):
        action()


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")  # PyTorch's compiler uses it
def test_the_range_is_checked_without_gradients_under_autocast_compiled_and_exported() -> None:
    class Checked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            check_on_grid(x, BITS)
            return x + 1

    inside, outside = torch.full((2, 3), 4095.0), torch.full((2, 3), 4096.0)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with mode:
            check_on_grid(inside, BITS)
            refused(lambda: check_on_grid(outside, BITS))
    for backend in ("aot_eager", "inductor"):
        torch.compiler.reset()
        compiled = torch.compile(Checked(), backend=backend, fullgraph=True)
        compiled(inside)
        refused(partial(compiled, outside))
    exported = torch.export.export(Checked(), (inside,)).module()
    exported(inside)
    refused(lambda: exported(outside))
    # Where there are no values, there is nothing to be checked.
    check_on_grid(outside.to("meta"), BITS)
    check_on_grid(torch.zeros(0, 3), BITS)


def test_a_compiled_inference_model_on_a_grid_is_one_graph_that_checks() -> None:
    torch.compiler.reset()
    one = model("reformer", dtype=torch.float32, n_layers=1, grid_bits=BITS)
    inference, (token, _) = InferenceModel(one, seed=3), tokens()
    compiled = torch.compile(inference, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(token), inference(token))
    with torch.no_grad():
        one.trunk.embedding.weight.fill_(5000.0)
    refused(lambda: compiled(token))
    torch.compiler.reset()


def halves(scale: float = 1.0) -> ReversibleSequence:
    def half() -> nn.Module:
        inner = nn.Linear(WIDTH, 9)
        return nn.Sequential(nn.LayerNorm(WIDTH), inner, nn.Tanh(), nn.Linear(9, WIDTH))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sequence = ReversibleSequence(*[(half(), half()) for _ in range(3)], grid_bits=BITS)
    with torch.no_grad():
        for parameter in sequence.parameters():
            parameter.mul_(scale)
    return sequence


@RUNS
@pytest.mark.parametrize("half", range(6))
def test_a_stream_that_leaves_the_range_is_an_error_whichever_half_has_added_to_it(run: Run, half: int) -> None:
    sequence = halves()
    grown = [half for layer in sequence.layers for half in layer.children()][half]
    last = [one for one in grown.children() if isinstance(one, nn.Linear)][-1]
    streams = (drawn(2, 5, WIDTH), drawn(2, 5, WIDTH, seed=1))
    sequence.summing(run)(sequence.bound(()), *streams)
    with torch.no_grad():
        last.bias[3] = 5000.0
    refused(lambda: sequence.summing(run)(sequence.bound(()), *streams))


@RUNS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_streams_are_refused(run: Run, dtype: torch.dtype) -> None:
    sequence = halves().to(dtype)
    x = drawn(2, 5, WIDTH).to(dtype)
    with pytest.raises(ValueError, match=f"the streams are {dtype}, which has too few digits for a grid of 12 bits"):
        sequence.summing(run)(sequence.bound(()), x, x)


class Reading(nn.Module):
    """A half with dropout that reads a context tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.linear(x) * memory)
        return out


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_any_modules_are_undone_bit_for_bit(autocast: torch.dtype | None) -> None:
    def layers() -> list[list[nn.Module]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return [
                [ReadsContext(Reading()), nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU())]
                for _ in range(24)
            ]

    x1, x2, memory = (drawn(2, 5, WIDTH, seed=seed) for seed in range(3))
    with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        exact = check_inversion(ReversibleSequence(*layers(), grid_bits=BITS), x1, x2, memory)
        rounding = check_inversion(ReversibleSequence(*layers()), x1, x2, memory)
    assert exact == ((0.0,) * 24, 0.0)
    assert min(*rounding.layer_errors, rounding.gradient_error) > 0


@pytest.mark.parametrize("bits", [0, 23, 12.5, "12"])
def test_a_grid_for_modules_that_cannot_be_is_refused(bits: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="is not a whole number from 1 to 22"):
        ReversibleSequence((nn.Identity(),), grid_bits=bits)


ATTENTIONS: dict[str, Any] = {
    "LSH": LSHAttention(n_hashes=3, chunk_len=8),
    "LSH, one bucket, once": LSHAttention(n_hashes=2, chunk_len=8, same_bucket_only=True, deduplicate=True),
    "local": LocalAttention(chunk_len=8),
    "dense": DenseAttention(),
    "fused": FusedAttention(),
    "query-chunked": QueryChunkedAttention(query_chunk_len=8),
    "local, LSH": (LocalAttention(chunk_len=8), LSHAttention(n_hashes=2, chunk_len=8)),
}
DROPPED = LSHAttention(n_hashes=3, chunk_len=8, dropout=0.2)
OTHERWISE: dict[str, dict[str, Any]] = {
    "chunked feed-forward": {"ff_chunk_len": 11},
    "dropout": {"dropout": 0.3, "attention": DROPPED, "ff_chunk_len": 11},
    "concatenated": {"merge": "concatenate"},
    "tied, axial": {"tie_embeddings": True, "positions": AxialPositions(shape=(8, 8), dims=(5, 7))},
    "bidirectional": {"causal": False},
    "deep": {"n_layers": 24},
}
CASES = {name: {"attention": attention} for name, attention in ATTENTIONS.items()} | OTHERWISE


def step(residual: str, autocast: torch.dtype | None = None, **changes: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """The loss and all gradients of one training step."""
    one = model("reformer", **{"dtype": torch.float32, "residual": residual, "grid_bits": BITS, **changes})
    with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        loss = one.loss(*tokens(), seed=3)
    loss.backward()
    return {"loss": loss.detach()} | gradients(one)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.isfinite().all()


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_all_three_residuals_give_the_same_bits(name: str, autocast: torch.dtype | None) -> None:
    kept, *others = (step(one, autocast, **CASES[name]) for one in ("standard", "checkpointed", "reversible"))
    for found in others:
        assert_equal(found, kept)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_all_three_residuals_give_the_same_bits_whatever_the_type_of_the_parameters(dtype: torch.dtype) -> None:
    kept, *others = (step(one, dtype=dtype, dropout=0.1) for one in ("standard", "checkpointed", "reversible"))
    for found in others:
        assert_equal(found, kept)


def test_an_encoder_decoder_gives_the_same_bits() -> None:
    results = []
    residuals: tuple[Literal["standard", "reversible"], ...] = ("standard", "reversible")
    for residual in residuals:
        one = encoder_decoder(residual, dropout=0.2, grid_bits=BITS).float()
        one.loss(*sequence_pairs(), seed=3).backward()
        results.append(gradients(one))
    assert_equal(*results)


def test_without_a_grid_the_bits_differ() -> None:
    kept, rebuilt = (step(one, n_layers=24, grid_bits=None) for one in ("standard", "reversible"))
    assert any(not torch.equal(kept[name], rebuilt[name]) for name in kept)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("variant", ["reversible_only", "local_only", "reformer"])
def test_the_error_of_a_grid_is_measured_against_the_plain_model(variant: str, autocast: bool) -> None:
    one = model(variant, dtype=torch.float32, residual="reversible", n_layers=24)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found, finer = (grid_error(one.trunk, tokens()[0], seed=3, grid_bits=bits) for bits in (12, 20))
    assert found.undone == finer.undone == (0.0,) * 24
    assert all(error > 0 for error in found.undone_without[:-1])
    assert found.moved > 0
    if variant != "reformer" and not autocast:
        assert found.moved < 0.01
        # 256 times as fine.
        assert finer.moved < found.moved / 50


def test_the_error_of_a_grid_that_cannot_be_is_refused() -> None:
    one = model("transformer")
    with pytest.raises(ValidationError, match=r"grid_bits=12 .* residual='single_stream' undoes none"):
        grid_error(one.trunk, tokens()[0], seed=3, grid_bits=12)


@pytest.mark.parametrize("residual", ["standard", "checkpointed", "reversible"])
def test_streams_stay_on_the_grid_through_all_layers(residual: str) -> None:
    one = model("reformer", dtype=torch.float32, residual=residual, grid_bits=BITS)
    seen: list[Tensor] = []
    for block in one.trunk.layers:
        for branch in (block.attention, block.feed_forward):
            branch.norm.register_forward_pre_hook(lambda _module, x: seen.append(x[0].detach().clone()))
    one.loss(*tokens(), seed=3).backward()
    for stream in seen:
        steps = stream.double() * 2**BITS
        assert torch.equal(steps, steps.round())
    n_halves = 2 * one.config.n_layers
    # The inputs of the recomputation are those of the forward pass, bit for bit.
    assert len(seen) == n_halves * (1 if residual == "standard" else 2)
    if residual == "reversible":
        for there, back in zip(seen[:n_halves], reversed(seen[n_halves:]), strict=True):
            assert torch.equal(there, back)


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("ff_chunk_len", [None, 20])
def test_each_half_runs_once_forward_and_once_backward_on_each_piece(n_layers: int, ff_chunk_len: int | None) -> None:
    one = model("reformer", n_layers=n_layers, ff_chunk_len=ff_chunk_len, grid_bits=BITS)
    calls: list[str] = []
    for name, module in one.named_modules():
        if name.endswith(("attention", "feed_forward")):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    loss = one.loss(*tokens(), seed=3)
    n_pieces = 1 if ff_chunk_len is None else 3
    expected = [
        name
        for depth in range(n_layers)
        for name in (
            f"trunk.blocks.{depth}.attention",
            *[f"trunk.blocks.{depth}.feed_forward"] * n_pieces,
        )
    ]
    assert calls == expected
    loss.backward()
    assert calls == [*expected, *reversed(expected)]


@pytest.mark.parametrize("ff_chunk_len", [None, 20])
def test_nothing_is_saved_for_layers_but_the_last_streams(ff_chunk_len: int | None) -> None:
    saved_by_depth = []
    for n_layers in (1, 5):
        one = model("reformer", dtype=torch.float32, n_layers=n_layers, ff_chunk_len=ff_chunk_len, grid_bits=BITS)
        parameters = {parameter.data_ptr() for parameter in one.parameters()}
        saved: list[tuple[int, ...]] = []

        def pack(tensor: Tensor, saved: list[tuple[int, ...]] = saved, known: set[int] = parameters) -> Tensor:
            if tensor.data_ptr() not in known:
                saved.append(tuple(tensor.shape))
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            one.loss(*tokens(), seed=3)
        saved_by_depth.append(saved)
    assert saved_by_depth[0] == saved_by_depth[1]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("changes", [{}, {"dropout": 0.1}, {"ff_chunk_len": 16}])
def test_a_reformer_s_peak_does_not_depend_on_depth_at_all(changes: dict[str, Any], autocast: bool) -> None:
    def peak(n_layers: int, grid_bits: int | None) -> int:
        one = model("reformer", dtype=torch.float32, n_layers=n_layers, grid_bits=grid_bits, **changes)
        for parameter in one.parameters():
            parameter.grad = torch.zeros_like(parameter)

        def training_step() -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                loss = one.loss(*tokens(), seed=3)
            loss.backward()

        training_step()
        return peak_tensor_bytes(training_step)

    assert {later - earlier for earlier, later in pairwise(peak(depth, BITS) for depth in (2, 3, 6))} == {0}
    # Without a grid buckets are kept: the test can tell.
    assert peak(6, None) > peak(3, None)


def test_decisions_are_kept_exactly_where_a_recomputation_could_decide_otherwise() -> None:
    kept = {}
    for residual in ("standard", "checkpointed", "reversible"):
        for bits in (None, BITS):
            block = model("reformer", residual=residual, grid_bits=bits).trunk.layers[0]
            calls: list[int] = []

            def choose(calls: list[int] = calls) -> Tensor:
                calls.append(1)
                return torch.zeros(())

            replay = block.replay(Call(3, training=True), "attention", None)
            for _ in range(2):
                replay.decide("buckets", choose)
            kept[residual, bits] = len(calls) == 1
    assert [key for key, was_kept in kept.items() if not was_kept] == [("reversible", BITS)]


@pytest.mark.parametrize("bits", [1, 12, 22])
@pytest.mark.parametrize("residual", ["standard", "checkpointed", "reversible"])
def test_a_grid_is_part_of_the_config_and_survives_json(residual: str, bits: int) -> None:
    one = config("reformer", residual=residual, grid_bits=bits)
    assert one.grid_bits == bits
    assert ReformerConfig.model_validate_json(one.model_dump_json()) == one
    assert one.variant == config("reformer", residual=residual).variant
    assert config("reformer").grid_bits is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_bits": 0}, "grid_bits"),
        ({"grid_bits": 23}, "grid_bits"),
        ({"grid_bits": 12.0}, "grid_bits"),
        ({"grid_bits": True}, "grid_bits"),
        (
            {"grid_bits": 12, "residual": "single_stream"},
            "grid_bits=12 .* residual='single_stream' undoes none; use grid_bits=None, or residual='reversible'",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config("reformer", **changes)


def test_one_tensor_that_is_both_streams_is_rounded_once() -> None:
    x, seen = drawn(2, 5, WIDTH), []

    def run(layers: object, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        del layers
        seen.append((x1, x2))
        return x1, x2

    on_grid_sequence(run, BITS)([], x, x)
    on_grid_sequence(run, BITS)([], x, x.clone())
    assert seen[0][0].data_ptr() == seen[0][1].data_ptr() != x.data_ptr()
    assert seen[1][0].data_ptr() != seen[1][1].data_ptr()
    assert torch.equal(*seen[1])
