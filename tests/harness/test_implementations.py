"""Every implementation computes what its cell says, or says why it does not."""

import sys
from collections.abc import Sequence
from typing import Any, get_args
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from ablations.harness import worker
from ablations.harness.cell import Cell, Dtype, Implementation, KernelTimes, Mode, PeakMemory, TimeStep
from ablations.harness.implementations import dense, huggingface, lucidrains, ours
from ablations.harness.implementations.inputs import vectors
from ablations.harness.measurement import PeakBytes
from ablations.harness.request import Outcome
from ablations.harness.steps import build_trial
from ablations.harness.workloads.memory import measure_memory
from reformer.config import CONTROLS, VARIANTS, LSHAttention, ReformerConfig
from tests.harness.conftest import Attempt

BATCH, HEADS, LENGTH, HEAD_WIDTH = 3, 2, 40, 6
CHUNK, ROUNDS, LAYERS = 5, 4, 7
RUNNING: tuple[Implementation, ...] = ("ours", "huggingface", "lucidrains", "query_chunked", "sdpa_math", "sdpa_flash")
WITH_MODELS: tuple[Implementation, ...] = ("ours", "huggingface", "lucidrains")


def cell(
    implementation: Implementation,
    *,
    scope: str = "attention",
    mode: Mode = "forward_backward",
    dtype: Dtype = "float32",
    length: int = LENGTH,
    **lsh: Any,  # noqa: ANN401
) -> Cell:
    hashes = implementation in WITH_MODELS
    variant = VARIANTS["reformer"] if hashes else CONTROLS["dense_separate_qk"]
    attention = LSHAttention(**{"n_hashes": ROUNDS, "chunk_len": CHUNK, **lsh}) if hashes else variant.attention
    config = ReformerConfig(
        vocab_size=31,
        d_model=14,
        n_heads=HEADS,
        d_head=HEAD_WIDTH,
        d_ff=28,
        n_layers=LAYERS,
        max_len=length,
        attention=attention,
        residual=variant.residual,
        merge="concatenate" if hashes else "mean",
    )
    fields: dict[str, Any] = {"scope": scope, "implementation": implementation, "dtype": dtype}
    return Cell(
        experiment="trial",
        config=config,
        workload=TimeStep(mode=mode),
        batch=BATCH,
        length=length,
        device="cpu",
        seed=0,
        **fields,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("implementation", RUNNING)
def test_attention_alone_gives_finite_values_and_a_gradient_of_each_input(
    implementation: Implementation, dtype: Dtype
) -> None:
    trial = build_trial(cell(implementation, dtype=dtype))
    trial.step("forward")()
    assert all(tensor.grad is None for tensor in trial.wanted)
    trial.step("forward_backward")()
    assert trial.output().numel() == BATCH * HEADS * LENGTH * HEAD_WIDTH
    assert trial.n_tokens == BATCH * LENGTH
    assert_finite(trial.output(), *trial.gradients)
    assert [gradient.shape for gradient in trial.gradients] == [tensor.shape for tensor in trial.wanted]
    assert all(bool(gradient.count_nonzero()) for gradient in trial.gradients)


def assert_finite(*tensors: Tensor) -> None:
    assert all(bool(tensor.isfinite().all()) for tensor in tensors)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("implementation", WITH_MODELS)
def test_a_training_step_of_a_whole_model_moves_its_parameters(implementation: Implementation, dtype: Dtype) -> None:
    trial = build_trial(cell(implementation, scope="model", mode="training_step", dtype=dtype))
    before = [parameter.detach().clone() for parameter in trial.wanted]
    trial.step("training_step")()
    assert_finite(trial.output(), *trial.gradients)
    moved = sum(not torch.equal(one, other) for one, other in zip(before, trial.wanted, strict=True))
    # transformers has a bias in the head that nothing reads.
    read = len(before) - (1 if implementation == "huggingface" else 0)
    assert len(trial.gradients) == read
    # A step as small as this is lost on what bfloat16 holds near one.
    assert moved == read if dtype == "float32" else moved > 0


def test_models_have_the_same_parameters_but_for_lucidrains_biases() -> None:
    size = {one: sum(p.numel() for p in build_trial(cell(one, scope="model")).wanted) for one in WITH_MODELS}
    assert size["huggingface"] == size["ours"]
    biases, head = LAYERS * 14, 31 * 14
    assert size["lucidrains"] == size["ours"] + biases - head - 14 * 2


def test_a_trial_leaves_no_trace_in_the_random_stream_of_the_process() -> None:
    state = torch.get_rng_state()
    for implementation in WITH_MODELS:
        for scope in ("attention", "model"):
            build_trial(cell(implementation, scope=scope))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("implementation", ["query_chunked", "sdpa_math", "sdpa_flash"])
def test_a_pinned_backend_is_dense_causal_attention(implementation: Implementation) -> None:
    # Two chunks of queries, the second one shorter.
    length = 173
    one = cell(implementation, length=length)
    query, key, value, _ = vectors(one, 4)
    score = (query @ key.transpose(2, 3) * HEAD_WIDTH**-0.5).masked_fill(
        torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf
    )
    torch.testing.assert_close(build_trial(one).output(), score.softmax(-1) @ value)


def test_chunks_of_queries_keep_no_scores_for_the_backward_pass() -> None:
    length = 384
    scores = 4 * BATCH * HEADS * length**2
    peak = {one: peak_bytes(cell(one, length=length)) for one in IN_FULL_AND_IN_CHUNKS}
    # Weights, and gradients of both weights and scores; of a third of the queries at a time.
    assert peak["sdpa_math"] > 3 * scores
    assert peak["query_chunked"] < 1.5 * scores


IN_FULL_AND_IN_CHUNKS: tuple[Implementation, ...] = ("sdpa_math", "query_chunked")


def peak_bytes(one: Cell) -> int:
    return measure_memory(one, PeakMemory(mode="forward_backward", resident=False)).peak_bytes


@pytest.mark.parametrize(
    ("implementation", "operation"), [("sdpa_math", "Flash"), ("sdpa_flash", "Flash")], ids=["math", "flash"]
)
def test_a_backend_is_the_one_that_was_asked_for(implementation: Implementation, operation: str) -> None:
    out = build_trial(cell(implementation)).output()
    assert (operation in type(out.grad_fn).__name__) == (implementation == "sdpa_flash")


@pytest.mark.parametrize("backend", ["eager", "blocked"])
@pytest.mark.parametrize("n_buckets", [16, (4, 6)])
def test_huggingface_s_layer_is_ours_under_the_same_rotations(n_buckets: int | Sequence[int], backend: str) -> None:
    one = cell("huggingface", n_buckets=n_buckets)
    query, value = (x_BHLK.double() for x_BHLK in vectors(one, 2))
    rotation_HRKN = ours.rotations(one, torch.Generator().manual_seed(1))
    layer = huggingface.attention_layer(one)
    layer.query_key, layer.value = (huggingface.Given(x.transpose(1, 2).flatten(2)) for x in (query, value))
    with mock.patch("torch.randn", return_value=rotation_HRKN.transpose(1, 2).double()):
        expected_BLD = layer(hidden_states=query.transpose(1, 2).flatten(2)).hidden_states
    out_BHLK = ours.attend(cell("ours", n_buckets=n_buckets, backend=backend), query, value, rotation_HRKN)
    torch.testing.assert_close(out_BHLK.transpose(1, 2).flatten(2), expected_BLD)


@pytest.mark.parametrize("backend", ["eager", "blocked"])
def test_lucidrains_attention_is_ours_with_its_scale_buckets_and_rotations(backend: str) -> None:
    one = cell("lucidrains")
    query, value = (x_BHLK.double() for x_BHLK in vectors(one, 2))
    equal = cell("ours", n_buckets=LENGTH // CHUNK, score_scale="unit_key_over_root_width", backend=backend)
    rotation_HRKN = ours.rotations(equal, torch.Generator().manual_seed(1))[:1].expand(HEADS, -1, -1, -1).double()
    with mock.patch("torch.randn", return_value=rotation_HRKN[:1].transpose(1, 2)):
        expected = lucidrains.attention_layer(one)(query.flatten(0, 1), value.flatten(0, 1))[0]
    out_BHLK = ours.attend(equal, query, value, rotation_HRKN)
    # Ours adds 1e-6 to the mean square of a key.
    torch.testing.assert_close(out_BHLK.flatten(0, 1), expected, rtol=1e-5, atol=1e-5)


def test_every_step_hashes_anew() -> None:
    for implementation in WITH_MODELS:
        trial = build_trial(cell(implementation))
        assert not torch.equal(trial.output(), trial.output()), implementation


def test_the_block_mask_is_the_causal_one() -> None:
    length = 384
    made = dense.causal_block_mask(length, "cpu")
    expected = create_block_mask(lambda _b, _h, query, key: query >= key, None, None, length, length, device="cpu")
    assert torch.equal(made.to_dense(), expected.to_dense())
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(made, name), getattr(expected, name)), name


@pytest.mark.parametrize(
    ("implementation", "module"),
    [("huggingface", "transformers.models.reformer"), ("lucidrains", "reformer_pytorch")],
)
@pytest.mark.parametrize("scope", ["attention", "model"])
def test_a_peer_that_is_not_installed_is_not_run_and_says_what_would_install_it(
    implementation: Implementation,
    module: str,
    scope: str,
    attempted: Attempt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    one = cell(implementation, scope=scope)
    worker.warm_up_for(one)
    outcome = attempted(one)
    assert outcome.status == "not_run"
    assert outcome.reason == "extra `peers` is not installed: pip install 'reformer-suite[peers]'"


@pytest.mark.parametrize("implementation", ["sdpa_efficient", "sdpa_cudnn"])
def test_a_backend_that_cannot_run_here_is_unsupported_with_pytorch_s_reason(
    implementation: Implementation,
    attempted: Attempt,
) -> None:
    assert_unsupported(attempted(cell(implementation)), "No viable backend for scaled_dot_product_attention")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("No available kernel. Aborting execution."), "unsupported"),
        (NotImplementedError("this pass is not there"), "unsupported"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "error"),
        (torch.OutOfMemoryError("out of memory"), "oom"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_only_what_pytorch_refuses_is_unsupported(error: Exception, status: str, attempted: Attempt) -> None:
    with mock.patch("torch.nn.functional.scaled_dot_product_attention", side_effect=error):
        outcome = attempted(cell("sdpa_flash"))
    assert outcome.status == status
    assert str(error).split(".")[0] in (outcome.reason or "")


def assert_unsupported(outcome: Outcome, why: str) -> None:
    assert outcome.status == "unsupported"
    assert outcome.reason is not None
    assert why in outcome.reason


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_flex_attention_without_a_backward_pass_is_unsupported(attempted: Attempt) -> None:
    assert_unsupported(attempted(cell("flex", length=256)), "does not support backward on CPU")
    assert_unsupported(attempted(cell("flex")), "multiples of 128")


def test_kernels_are_told_apart_on_a_gpu_only(attempted: Attempt) -> None:
    one = cell("ours").model_copy(update={"workload": KernelTimes(mode="forward_backward")})
    assert_unsupported(attempted(one), "on a GPU only")


def test_settings_that_a_peer_lacks_are_unsupported(attempted: Attempt) -> None:
    assert_unsupported(attempted(cell("lucidrains", n_chunks_before=2)), "2 before")
    assert_unsupported(attempted(cell("huggingface", scope="model", deduplicate=True)), "deduplicate")


@pytest.mark.parametrize("implementation", get_args(Implementation))
def test_an_implementation_takes_only_what_it_computes(implementation: Implementation) -> None:
    one = cell(implementation)
    other = CONTROLS["dense_separate_qk"].attention if implementation in WITH_MODELS else LSHAttention()
    config = one.config.model_dump() | {"attention": other}
    with pytest.raises(ValueError, match=f"implementation='{implementation}'"):
        Cell.model_validate(one.model_dump() | {"config": config})


def test_ceilings_are_the_machine_s() -> None:
    one = cell("ours", scope="model")
    with pytest.raises(ValueError, match="scope='machine' does not go with workload 'time'"):
        Cell.model_validate(one.model_dump() | {"scope": "machine"})


def test_memory_counts_what_an_attention_adds_to_its_inputs_and_their_gradients(attempted: Attempt) -> None:
    one = cell("ours").model_copy(update={"workload": PeakMemory(mode="forward_backward")})
    measurement = attempted(one).measurement
    assert isinstance(measurement, PeakBytes)
    assert measurement.parameter_bytes == measurement.gradient_bytes == 2 * 4 * BATCH * HEADS * LENGTH * HEAD_WIDTH
    assert measurement.peak_bytes > 0
