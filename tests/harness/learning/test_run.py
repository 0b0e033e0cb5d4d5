"""Training runs: the same bits whether interrupted or not, recipes as the sources have them, conditions as named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ablations.harness.cell import Cell
from ablations.harness.measurement import LearningCurve
from ablations.harness.training import Condition, Duplication, Learn, Recipe
from ablations.harness.training_files import TrainingFiles, forget
from ablations.harness.workloads.learning import run as running
from ablations.harness.workloads.learning.evaluation import changed
from ablations.harness.workloads.learning.recipe import build_optimiser, rate, take_step
from reformer.config import CONTROLS, VARIANTS, DenseAttention, LocalAttention, LSHAttention, ReformerConfig
from reformer.model import ReformerLM
from tests.report.records import environment

STEPS = 11


def recipe(**changes: Any) -> Recipe:  # noqa: ANN401
    return Recipe(**{"steps": STEPS, "learning_rate": 3e-3, "warmup_steps": 4, **changes})


def cell(variant: str = "lsh_only", seed: int = 3, **workload: Any) -> Cell:  # noqa: ANN401
    known = {**VARIANTS, **CONTROLS}[variant]
    attention = LSHAttention(n_hashes=3, chunk_len=4) if known.attention.kind == "lsh" else known.attention
    sizes = {"vocab_size": 10, "d_model": 18, "n_heads": 2, "d_head": 7, "d_ff": 22, "n_layers": 2, "max_len": 20}
    config = ReformerConfig(**sizes, attention=attention, residual=known.residual, dropout=0.1)
    values = {"task": Duplication(n_symbols=9), "recipe": recipe(), "evaluate_every": 5, "evaluation_windows": 7}
    learn = Learn(**{**values, **workload})
    return Cell(experiment="run", config=config, workload=learn, batch=3, length=20, device="cpu", seed=seed)


def learned(one: Cell, files: TrainingFiles | None = None) -> LearningCurve:
    assert isinstance(one.workload, Learn)
    return running.learn(one, one.workload, None, files)


def files_in(folder: Path, one: Cell, **changes: Any) -> TrainingFiles:  # noqa: ANN401
    # A checkpoint after every step: one that is written rarely would leave the resumed run little to show.
    return TrainingFiles.of(one.id, folder, environment(**changes), every_seconds=0.0)


class Power:
    """Fails after so many steps, as when the plug is pulled."""

    def __init__(self, steps: int) -> None:
        self._left, self._take = steps, take_step

    def __call__(self, *arguments: Any, **options: Any) -> float:  # noqa: ANN401
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return self._take(*arguments, **options)


def interrupted(one: Cell, files: TrainingFiles, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(running, "take_step", Power(after))
        with pytest.raises(KeyboardInterrupt):
            learned(one, files)


def without_clock(curve: LearningCurve) -> dict[str, Any]:
    points = [(point.step, point.bits_per_token) for point in curve.points]
    evaluations = [one.model_copy(update={"seconds": 0.0}) for one in curve.evaluations]
    return curve.model_dump(exclude={"points", "evaluations", "resumed_after"}) | {"p": points, "e": evaluations}


@pytest.mark.parametrize("optimiser", ["adam", "adafactor"])
@pytest.mark.parametrize("variant", ["dense", "reformer", "transformer"])
def test_a_run_resumed_from_its_middle_computes_the_bits_of_one_that_was_not_interrupted(
    variant: str, optimiser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cell(variant, recipe=recipe(optimiser=optimiser))
    whole = learned(one)
    interrupted(one, files_in(tmp_path, one), 6, monkeypatch)
    resumed = learned(one, files_in(tmp_path, one))
    assert (whole.resumed_after, resumed.resumed_after) == ((), (6,))
    assert without_clock(resumed) == without_clock(whole)


def test_a_run_is_streamed_step_by_step_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cell()
    files = files_in(tmp_path, one)
    interrupted(one, files, 7, monkeypatch)
    assert [line["step"] for line in streamed(files)] == [1, 2, 3, 4, 5, 5, 6, 7]
    learned(one, files)
    assert sorted(line["step"] for line in streamed(files)) == sorted([*range(1, 12), 5, 10, 11])
    forget(one.id, tmp_path)
    assert not any((tmp_path / "training").iterdir())


def streamed(files: TrainingFiles) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(files.curve_path).read_text().splitlines()]


@pytest.mark.parametrize("other", [{"commit": "fedc"}, {"dirty": True}, {"packages": {"torch": "9"}}])
def test_what_other_code_or_packages_began_is_begun_again(
    other: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cell()
    interrupted(one, files_in(tmp_path, one), 6, monkeypatch)
    assert learned(one, files_in(tmp_path, one, **other)).resumed_after == ()


def test_a_seed_repeats_its_losses_and_another_seed_does_not() -> None:
    first, again, other = (learned(cell(seed=seed)) for seed in (3, 3, 4))
    assert without_clock(first) == without_clock(again)
    assert first.points[0].bits_per_token != other.points[0].bits_per_token


def test_the_global_random_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    learned(cell())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    with pytest.raises(FloatingPointError, match="the loss of step"):
        learned(cell(recipe=recipe(learning_rate=1e30, clip_norm=None)))


def test_a_rule_ends_a_run_early_and_is_named() -> None:
    easy = cell(task=Duplication(n_symbols=1), recipe=recipe(steps=60, stop_at_accuracy=0.9))
    curve = learned(easy)
    assert curve.stopped == f"accuracy of at least 0.9 at an evaluation, after step {len(curve.points)}"
    assert len(curve.points) < 60
    assert [one.accuracy is not None and one.accuracy >= 0.9 for one in curve.evaluations].index(True) == len(
        curve.evaluations
    ) - 1


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", {1: 0.25, 4: 1.0, 5: 1.0, 11: 1.0}),
        ("inverse_root", {2: 0.5, 4: 1.0, 9: 2 / 3, 16: 0.5}),
        ("linear_decay", {3: 0.75, 4: 1.0, 11: 0.1}),
    ],
)
def test_a_schedule_warms_up_and_goes_on_as_named(schedule: str, shares: dict[int, float]) -> None:
    for step, share in shares.items():
        assert rate(step, recipe(schedule=schedule)) == pytest.approx(share)


def test_adam_has_the_authors_settings() -> None:
    model = ReformerLM(cell().config, torch.Generator().manual_seed(0))
    group = build_optimiser(model, recipe()).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.9, 0.98), 1e-9)


def test_gradients_are_clipped_only_where_the_recipe_says_so() -> None:
    short, free = (learned(cell(recipe=recipe(clip_norm=norm))) for norm in (1e-9, None))
    # Adam divides the length of a gradient out again, but for its epsilon.
    assert short.points[-1].bits_per_token > free.points[-1].bits_per_token


def test_autocast_changes_the_losses_a_little() -> None:
    plain, cast = (learned(cell(recipe=recipe(autocast=kind))) for kind in (None, "bfloat16"))
    difference = abs(plain.points[0].bits_per_token - cast.points[0].bits_per_token)
    assert 0 < difference < 0.05


def test_conditions_are_evaluated_with_the_trained_weights() -> None:
    conditions = (
        Condition(name="as trained"),
        Condition(name="dense", attention=DenseAttention()),
        Condition(name="all rounds", attention=LSHAttention(n_hashes=5, chunk_len=20)),
        Condition(name="silent", silenced=(0, 1)),
    )
    curve = learned(cell(conditions=conditions))
    found = {one.condition: one for one in curve.conditions}
    assert found["as trained"].bits_per_token == curve.evaluations[-1].bits_per_token
    # One chunk holds the whole sequence: every round sees all keys, as dense attention does.
    assert found["all rounds"].bits_per_token == pytest.approx(found["dense"].bits_per_token, abs=1e-5)
    assert found["silent"].bits_per_token != pytest.approx(found["dense"].bits_per_token, abs=1e-3)


def test_a_silenced_layer_adds_nothing_whatever_it_attends_with() -> None:
    model = ReformerLM(cell().config, torch.Generator().manual_seed(5))
    token_BL = torch.randint(10, (2, 20), generator=torch.Generator().manual_seed(6))
    logits = [
        changed(model, Condition(name="x", attention=attention, silenced=(0, 1)))(token_BL, seed=1)
        for attention in (DenseAttention(), LocalAttention(chunk_len=3))
    ]
    assert torch.equal(*logits)


def test_the_peak_holds_parameters_gradients_and_the_optimiser_s_state() -> None:
    curve = learned(cell("dense"))
    assert curve.n_parameters is not None
    assert curve.peak_bytes is not None
    # Adam keeps two numbers for each parameter, beside the parameter and its gradient.
    assert curve.peak_bytes > 4 * 4 * curve.n_parameters


def test_reversible_layers_peak_lower_than_ordinary_ones_in_training() -> None:
    sizes: dict[str, Any] = {"evaluation_windows": 1, "recipe": recipe(steps=2)}
    many = {"n_layers": 12, "dropout": 0.0, "max_len": 20}

    def peak(variant: str) -> int:
        one = cell(variant, **sizes)
        deep = Cell(**dict(one) | {"config": ReformerConfig(**dict(one.config) | many)})
        found = learned(deep).peak_bytes
        assert found is not None
        return found

    assert peak("reversible_only") < peak("dense")


def test_a_duplication_model_learns() -> None:
    curve = learned(cell("dense", recipe=recipe(steps=150, warmup_steps=20), evaluate_every=75, evaluation_windows=40))
    start, end = curve.points[0].bits_per_token, curve.evaluations[-1]
    assert end.bits_per_token < start - 0.5
    assert end.accuracy is not None
    # One in nine by chance; of 360 predictions, three standard errors more are one in six.
    assert end.accuracy > 1 / 6
    assert math.isfinite(end.bits_per_token)
