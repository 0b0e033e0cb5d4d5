"""What a step of each mode does, and that it does the same each time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ablations.harness import worker
from ablations.harness.cell import Cell, Implementation, Mode, TimeStep
from ablations.harness.errors import UnsupportedError
from ablations.harness.implementations.inputs import tokens
from ablations.harness.implementations.ours import build_model
from ablations.harness.measure.time import sample_steps
from ablations.harness.measurement import StepTimes
from ablations.harness.request import Outcome, Request
from ablations.harness.steps import build_trial
from ablations.harness.trial import Step, Trial
from reformer.config import CONTROLS, VARIANTS, LSHAttention, ReformerConfig
from reformer.decoding import Decoder
from reformer.randomness import derived_seed
from tests.harness import clock as clocks
from tests.harness.clock import Clock

clock = clocks.clock
BATCH, LENGTH, LAYERS, CHUNK, ROUNDS = 3, 40, 2, 5, 4
MODES: tuple[Mode, ...] = get_args(Mode)
ATTENTIONS: tuple[Implementation, ...] = ("ours", "huggingface", "lucidrains", "sdpa_math", "sdpa_flash")
MODELS: tuple[Implementation, ...] = ("ours", "huggingface", "lucidrains")


def cell(
    variant: str = "reformer",
    *,
    mode: Mode = "forward_backward",
    length: int = LENGTH,
    n_layers: int = LAYERS,
    causal: bool = True,
    **changes: Any,  # noqa: ANN401
) -> Cell:
    chosen = {**VARIANTS, **CONTROLS}[variant]
    hashes = isinstance(chosen.attention, LSHAttention)
    config = ReformerConfig(
        vocab_size=31,
        d_model=14,
        n_heads=2,
        d_head=6,
        d_ff=28,
        n_layers=n_layers,
        max_len=length,
        attention=LSHAttention(n_hashes=ROUNDS, chunk_len=CHUNK) if hashes else chosen.attention,
        residual=chosen.residual,
        merge="concatenate" if variant == "reformer" else "mean",
        causal=causal,
    )
    values: dict[str, Any] = {
        "experiment": "trial",
        "config": config,
        "workload": TimeStep(mode=mode, seconds=0.001),
        "batch": BATCH,
        "length": length,
        "device": "cpu",
        "seed": 0,
    }
    return Cell(**{**values, **changes})


def of_others(implementation: Implementation, scope: str) -> Cell:
    variant = "reformer" if implementation in MODELS else "dense_separate_qk"
    return cell(variant, implementation=implementation, scope=scope)


CELLS = {
    **{variant: cell(variant) for variant in (*VARIANTS, *CONTROLS)},
    **{f"{one} attention": of_others(one, "attention") for one in ATTENTIONS},
    **{f"{one} model": of_others(one, "model") for one in MODELS[1:]},
}
EVERY_STEP = [(name, mode) for name in CELLS for mode in MODES if mode != "decode" or " " not in name]


@pytest.fixture(autouse=True)
def no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of everything that torch imported: half a second each time, for nothing here.
    monkeypatch.setattr("gc.collect", lambda: 0)


class Counter(TorchDispatchMode):
    """Counts every operation that reaches PyTorch's kernels, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        self.counts[str(func)] = self.counts.get(str(func), 0) + 1
        return func(*args, **(kwargs or {}))


def counted(step: Callable[[], None]) -> dict[str, int]:
    counter = Counter()
    with counter:
        step()
    return counter.counts


@pytest.mark.parametrize(("name", "mode"), EVERY_STEP)
def test_every_timed_step_runs_the_same_operations(name: str, mode: Mode, clock: Clock) -> None:
    step = build_trial(CELLS[name]).step(mode)
    operations: list[dict[str, int]] = []

    def watched() -> None:
        operations.append(counted(step))
        clock.spend(3.0)

    samples = sample_steps(
        watched,
        before=step.before,
        device=torch.device("cpu"),
        min_samples=4,
        seconds=0.0,
    )
    timed = operations[-len(samples.timed) :]
    assert len(timed) == 4
    assert sum(timed[0].values()) > 10 or "attention" in name
    assert timed[1:] == timed[:-1]


@pytest.mark.parametrize("mode", ["forward_backward", "backward", "training_step"])
def test_gradients_that_were_left_behind_would_be_seen_among_the_operations(mode: Mode) -> None:
    trial = build_trial(cell("dense"))
    step = trial.step(mode)

    def operations(*, cleared: bool) -> dict[str, int]:
        left = trial.gradients
        step.before()
        if not cleared:
            for tensor, gradient in zip(trial.wanted, left, strict=True):
                tensor.grad = gradient
        return counted(step)

    step.before()
    step()
    assert operations(cleared=True) == operations(cleared=True) != operations(cleared=False)


@pytest.mark.parametrize("mode", MODES)
def test_no_gradient_is_there_when_a_step_begins(mode: Mode, clock: Clock) -> None:
    trial = build_trial(cell(mode=mode))
    step = trial.step(mode)
    found: list[int] = []

    def watched() -> None:
        found.append(len(trial.gradients))
        step()
        clock.spend(3.0)

    sample_steps(watched, before=step.before, device=torch.device("cpu"), min_samples=3, seconds=0.0)
    assert set(found) == {0}
    leaves_some = mode in ("backward", "forward_backward", "training_step")
    assert bool(trial.gradients) == leaves_some


@pytest.mark.parametrize("name", CELLS)
def test_forward_and_backward_apart_are_what_they_are_together(name: str) -> None:
    def operations(mode: Mode) -> dict[str, int]:
        step = build_trial(CELLS[name]).step(mode)
        step.before()
        step()
        step.before()
        return counted(step)

    forward, backward, both = (operations(mode) for mode in ("forward_recorded", "backward", "forward_backward"))
    together = {one: forward.get(one, 0) + backward.get(one, 0) for one in forward | backward}
    assert together == both
    assert backward


@pytest.mark.parametrize("name", [*VARIANTS, "ours attention", "sdpa_math attention"])
def test_backward_alone_computes_the_gradients_of_both(name: str) -> None:
    gradients = []
    for mode in ("backward", "forward_backward"):
        trial = build_trial(CELLS[name])
        step = trial.step(mode)
        step.before()
        assert trial.gradients == ()
        step()
        gradients.append(trial.gradients)
    assert len(gradients[0]) == len(build_trial(CELLS[name]).wanted)
    for alone, both in zip(*gradients, strict=True):
        assert torch.equal(alone, both)


def saved_by(step: Step) -> int:
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    step.before()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return len(saved)


def test_only_a_recorded_forward_pass_keeps_something_for_a_backward_pass() -> None:
    trial = build_trial(cell("dense"))
    assert saved_by(trial.step("forward")) == 0
    assert saved_by(trial.step("forward_recorded")) == saved_by(trial.step("forward_backward")) > 0
    assert saved_by(build_trial(cell("dense")).step("decode")) == 0


@pytest.mark.parametrize("variant", [*VARIANTS, *CONTROLS])
def test_a_decoding_step_is_that_of_a_decoder_which_has_read_all_but_the_last_token(variant: str) -> None:
    one = cell(variant)
    (token_BL, _), seed = tokens(one), derived_seed(one.seed, "call")
    decoder = Decoder(build_model(one), capacity=LENGTH, seed=seed)
    decoder.prefill(token_BL[:, :-1])
    step = build_trial(one).step("decode")
    assert torch.equal(step.output(), decoder.step(token_BL[:, -1]))


@pytest.mark.parametrize("variant", ["dense", "reversible_only", "dense_fused"])
def test_a_decoding_step_of_dense_attention_is_the_last_position_of_a_forward_pass(variant: str) -> None:
    one = cell(variant)
    token_BL, _ = tokens(one)
    with torch.no_grad():
        logit_BLV = build_model(one).eval()(token_BL, seed=1)
    torch.testing.assert_close(build_trial(one).step("decode").output(), logit_BLV[:, -1])


@pytest.mark.parametrize("variant", ["dense", "reformer"])
def test_decoding_adds_to_the_same_text_however_often(variant: str) -> None:
    step = build_trial(cell(variant)).step("decode")
    first = step.checked().clone()
    for _ in range(7):
        step.before()
        # The cache has room for the text alone: a text that grew would be refused.
        step()
    step.check_since(first)


def test_tokens_of_a_step_are_those_it_takes_in() -> None:
    taken = {mode: build_trial(cell()).step(mode).n_tokens for mode in MODES}
    assert taken.pop("decode") == BATCH
    assert set(taken.values()) == {BATCH * LENGTH}


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (of_others("ours", "attention"), "a whole model of ours alone"),
        (of_others("sdpa_math", "attention"), "a whole model of ours alone"),
        (of_others("huggingface", "model"), "a whole model of ours alone"),
        (of_others("lucidrains", "model"), "a whole model of ours alone"),
        (cell("dense", causal=False), "from left to right"),
        (cell("dense", length=1), "two tokens or more"),
    ],
    ids=lambda value: value.description if isinstance(value, Cell) else "",
)
def test_what_cannot_decode_is_unsupported_with_its_reason(one: Cell, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        build_trial(one).step("decode")


@pytest.mark.parametrize("name", CELLS)
def test_an_output_under_fixed_draws_is_the_same_and_leaves_the_process_s_stream_alone(name: str) -> None:
    trial = build_trial(CELLS[name])
    state = torch.get_rng_state()
    first, second = trial.repeatable(), trial.repeatable()
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    trial.step("training_step")()
    assert not torch.equal(trial.repeatable(), first)


@pytest.fixture
def attempted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cell], Outcome]:
    monkeypatch.setattr(worker, "limit_memory", lambda: None)
    monkeypatch.setattr(worker, "cores", torch.get_num_threads)

    def attempt(one: Cell) -> Outcome:
        return worker.attempt(Request(cell=one, data=None, outcome_path="unused", log_path="unused"))

    return attempt


@pytest.mark.parametrize("variant", ["dense", "reformer"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_a_measurement(variant: str, mode: Mode, attempted: Callable[[Cell], Outcome]) -> None:
    outcome = attempted(cell(variant, mode=mode))
    assert (outcome.status, outcome.reason) == ("ok", None)
    times = outcome.measurement
    assert isinstance(times, StepTimes)
    assert times.tokens_per_step == (BATCH if mode == "decode" else BATCH * LENGTH)
    assert len(times.warm_up_seconds) >= 1 + 10
    assert (times.others_seconds is None) == (times.others_missing is not None)
    assert (times.host_seconds, times.energy, times.energy_missing) == (None, None, "no GPU in use")


class Broken:
    """A trial whose output is a number that its steps add something to."""

    def __init__(self, change: float) -> None:
        self.value = torch.tensor([1.0], requires_grad=True)
        self.change = change

    def output(self) -> Tensor:
        with torch.no_grad():
            self.value += self.change
        return self.value.sum()

    @property
    def trial(self) -> Trial:
        return Trial(self.output, lambda: self.value.sum().detach(), None, (self.value,), self.value.device, 5, 3)


@pytest.mark.parametrize(
    ("change", "mode", "reason"),
    [
        (2.0, "forward_backward", "RuntimeError: the output is not what it was before the steps, under the same draws"),
        (float("nan"), "forward", "RuntimeError: the output of what was measured is not finite"),
        (float("inf"), "training_step", "RuntimeError: the output of what was measured is not finite"),
        (0.0, "training_step", "RuntimeError: the output is what it was before the steps: they trained nothing"),
    ],
)
def test_what_does_not_work_is_an_error_with_its_reason(
    change: float, mode: Mode, reason: str, attempted: Callable[[Cell], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(change)
    monkeypatch.setattr("ablations.harness.workloads.time.build_trial", lambda _: broken.trial)
    if change == 0.0:
        monkeypatch.setattr("ablations.harness.trial.LEARNING_RATE", 0.0)
    outcome = attempted(cell(mode=mode))
    assert outcome.status == "error"
    assert outcome.reason is not None
    assert outcome.reason.startswith(reason)


def test_what_is_not_finite_from_the_first_is_found_before_it_is_timed() -> None:
    step = replace(build_trial(cell()).step("forward"), output=lambda: torch.tensor([1.0, torch.nan]))
    with pytest.raises(RuntimeError, match="not finite"):
        step.checked()
