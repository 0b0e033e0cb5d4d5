"""What a peak is made of: predicted from the config, and measured."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.ledger import Unpredicted, peak_of, predicted
from ablations.harness.ledger_attention import ROWS, SCORES
from ablations.harness.measurement import Ledger
from ablations.harness.workloads.memory import measure_memory
from reformer.blocked import blocks, lsh
from reformer.config import CONTROLS, VARIANTS, LSHAttention
from tests.harness.cells import cell, config

SMALL: dict[str, Any] = {"d_model": 64, "n_heads": 1, "d_head": 64, "d_ff": 256}
"""The model of the suite's experiments on a CPU."""

ODD: dict[str, Any] = {"vocab_size": 900, "d_model": 104, "n_heads": 3, "d_head": 24, "d_ff": 300}
LENGTHS, DEPTHS = (256, 512, 768), (1, 2, 3)
MODES = ("forward", "forward_backward", "training_step")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bytes do not depend on how many there are, and those that wait for each other take long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weighing(variant: str, mode: str, *, length: int, batch: int = 1, **changes: Any) -> Cell:  # noqa: ANN401
    workload = PeakMemory.model_validate({"mode": mode, "resident": False})
    return cell(
        variant, length=length, batch=batch, config=config(variant, length=length, **changes), workload=workload
    )


def both(one: Cell) -> tuple[Ledger, Ledger]:
    assert isinstance(one.workload, PeakMemory)
    forecast, measured = predicted(one), measure_memory(one, one.workload)
    assert isinstance(forecast, Ledger)
    assert isinstance(measured.ledger, Ledger)
    assert measured.saved_bytes == measured.ledger.streams + measured.ledger.activations + measured.ledger.buckets
    before = measured.parameter_bytes + measured.gradient_bytes + measured.optimiser_bytes
    assert measured.ledger.total == before + measured.peak_bytes
    assert peak_of(measured.ledger) == measured.peak_bytes
    return forecast, measured.ledger


def apart(forecast: Ledger, measured: Ledger) -> float:
    """The largest difference of any part, as a share of the measured peak."""
    parts = ((getattr(forecast, name), getattr(measured, name)) for name in Ledger.model_fields)
    return float(max(abs(one - other) for one, other in parts) / peak_of(measured))


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_are_within_half_a_hundredth_of_the_peak_part_by_part(variant: str) -> None:
    for length, depth in itertools.product(LENGTHS, DEPTHS):
        forecast, measured = both(weighing(variant, "forward_backward", length=length, n_layers=depth, **SMALL))
        assert peak_of(forecast) == pytest.approx(peak_of(measured), rel=0.005), (length, depth)
        assert apart(forecast, measured) < 0.005, (length, depth)
        print(f"{variant} length={length} n_layers={depth}: {peak_of(forecast) / peak_of(measured) - 1:+.4%}")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_hold_for_sizes_that_nothing_divides(variant: str, mode: str) -> None:
    for length, batch in ((1100, 2),) if mode == "forward" else ((300, 3),):
        forecast, measured = both(weighing(variant, mode, length=length, batch=batch, n_layers=2, **ODD))
        assert apart(forecast, measured) < 0.05, (length, batch)
        weights = ("parameters", "gradients", "optimiser", "streams")
        assert [getattr(forecast, name) for name in weights] == [getattr(measured, name) for name in weights]


@pytest.mark.parametrize("kind", ["axial", "sinusoidal"])
def test_positions_of_each_kind_are_accounted_for(kind: str) -> None:
    positions = {"axial": {"kind": kind, "shape": (20, 35), "dims": (40, 64)}, "sinusoidal": {"kind": kind}}[kind]
    forecast, measured = both(weighing("reformer", "training_step", length=700, n_layers=3, positions=positions, **ODD))
    assert (forecast.parameters, forecast.optimiser) == (measured.parameters, measured.optimiser)
    assert apart(forecast, measured) < 0.01


def test_constants_of_the_prediction_are_those_of_the_code() -> None:
    assert (SCORES, ROWS) == (blocks.SCORES, lsh.ROWS)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"device": "cuda"}, "GPU"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"workload": PeakMemory(mode="decode")}, "decode"),
        ({"config": config("dense_fused")}, "dense_fused"),
        ({"config": config("dense", dropout=0.1)}, "plain settings"),
        ({"config": config("dense", ff_chunk_len=5)}, "plain settings"),
        ({"config": config("reformer", attention=LSHAttention(backend="eager"))}, "backend"),
        ({"config": config("reformer", attention=LSHAttention(same_bucket_only=True))}, "usual options"),
        ({"config": config("reformer"), "implementation": "lucidrains"}, "models of ours"),
        ({"config": config("reformer"), "scope": "attention"}, "models of ours"),
    ],
)
def test_what_is_not_predicted_says_why(changes: dict[str, Any], because: str) -> None:
    given = {"workload": PeakMemory(mode="forward_backward"), **changes}
    forecast = predicted(cell("dense", **given))
    assert isinstance(forecast, Unpredicted)
    assert because in forecast.because


@pytest.mark.parametrize("variant", CONTROLS)
def test_of_controls_there_is_no_prediction(variant: str) -> None:
    assert isinstance(predicted(weighing(variant, "forward", length=64)), Unpredicted)
