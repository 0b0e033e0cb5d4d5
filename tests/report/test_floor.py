"""The floor against numbers worked out by hand: C = 64, D = 64, two bytes a number."""

import pytest

from ablations.harness.cell import Cell, TimeStep
from ablations.harness.record import Ceilings, MatrixProducts, Record
from ablations.report.floor import Ceiling, Work, ceiling_of, copy_rate, dense_work, lsh_parts, matrix_rate, work_of
from reformer.config import CONTROLS, LSHAttention, ReformerConfig
from tests.report.contenders import ceiling_cell, contender
from tests.report.records import record

HALF = 2


@pytest.mark.parametrize(
    ("rounds", "forward", "backward"),
    [
        (1, Work(32_768, 400), Work(81_920, 660)),
        (2, Work(65_536, 544), Work(163_840, 936)),
        (4, Work(131_072, 832), Work(327_680, 1488)),
        (8, Work(262_144, 1408), Work(655_360, 2592)),
    ],
)
def test_the_two_kernels_of_lsh_attention(rounds: int, forward: Work, backward: Work) -> None:
    parts = lsh_parts(LSHAttention(n_hashes=rounds, n_buckets=(32,)), 64, HALF)
    assert parts["forward"] == forward
    assert parts["backward"] == backward


def test_the_parts_around_them() -> None:
    parts = lsh_parts(LSHAttention(n_hashes=4, n_buckets=(16, 32)), 64, HALF)
    # 48 / 2 directions in each of 4 rounds, two operations for each of 64 channels.
    assert parts["hash"] == Work(12_288, 140)
    assert parts["sort"] == Work(0, 64)
    assert parts["combine"] == Work(0, 4 * 132 + 132)
    assert parts["delta"] == Work(0, 260)
    assert parts["sum"] == Work(0, 4 * 256 + 256)


def test_one_round_needs_no_combining_and_no_summing() -> None:
    parts = lsh_parts(LSHAttention(n_hashes=1, n_buckets=(32,)), 64, HALF)
    assert parts["combine"] == parts["sum"] == Work(0, 0)


def test_a_window_that_looks_ahead_is_half_as_long_again() -> None:
    one, both = (lsh_parts(LSHAttention(n_chunks_after=after, n_buckets=(32,)), 64, HALF) for after in (0, 1))
    assert both["forward"].flops == 1.5 * one["forward"].flops


def test_dense_attention_sees_half_of_all_pairs_if_causal() -> None:
    assert dense_work(4096, 64, HALF, causal=True, backward=False) == Work(524_288, 516)
    assert dense_work(4096, 64, HALF, causal=False, backward=False) == Work(1_048_576, 516)
    # Forward, and two and a half times as much.
    assert dense_work(4096, 64, HALF, causal=True, backward=True) == Work(1_835_008, 1548)


def test_a_cell_s_work_is_that_of_all_its_positions_and_heads() -> None:
    one = contender("ours", mode="forward", batch=3, length=512, n_hashes=1)
    parts = lsh_parts(LSHAttention(n_hashes=1, n_buckets=(16,)), 20, 4)
    expected = sum((parts[name] for name in ("hash", "sort", "forward", "combine")), Work(0, 0)).times(3 * 512 * 5)
    assert work_of(one) == expected
    assert work_of(contender("sdpa_flash", mode="forward", batch=3, length=512)) == dense_work(
        512, 20, 4, causal=True, backward=False
    ).times(3 * 512 * 5)


def test_a_model_s_work_is_three_times_its_linear_maps_and_its_attention() -> None:
    attention = CONTROLS["dense_separate_qk"].attention
    config = ReformerConfig(
        vocab_size=7,
        d_model=6,
        n_heads=3,
        d_head=4,
        d_ff=10,
        n_layers=2,
        max_len=16,
        attention=attention,
        residual="standard",
    )
    workload = TimeStep(mode="training_step")
    cell = Cell(experiment="x", config=config, workload=workload, batch=5, length=16, device="cpu", seed=0)
    # Per token: four projections of 6 x 12 and two maps of 6 x 10 in each of two layers, and a head of 6 x 7.
    linear = 2 * (2 * (4 * 6 * 12 + 2 * 6 * 10) + 6 * 7)
    seen = 2 * 3 * dense_work(16, 4, 4, causal=True, backward=True).flops
    assert work_of(cell).flops == 5 * 16 * (3 * linear + seen)


def test_whatever_takes_longer_is_the_floor() -> None:
    ceiling = Ceiling({"float32": 100.0}, bytes_per_second=10.0)
    assert ceiling.seconds(Work(300, 20), "float32") == 3.0
    assert ceiling.seconds(Work(300, 50), "float32") == 5.0
    assert ceiling.seconds(Work(300, 50), "bfloat16") is None


def test_ceilings_are_the_best_of_all_records_in_each_type() -> None:
    def measured(dtype: str, seed: int, seconds: tuple[float, ...], copy: tuple[float, ...]) -> Record:
        products = (MatrixProducts(width=10, seconds=seconds), MatrixProducts(width=20, seconds=(99.0,)))
        ceilings = Ceilings(products=products, copy_bytes=1000, copy_seconds=copy, threads=2)
        return record(ceiling_cell(dtype=dtype, seed=seed)).model_copy(update={"measurement": ceilings})

    records = [
        measured("float32", 0, (4.0, 2.0), (5.0, 8.0)),
        measured("float32", 1, (5.0,), (4.0,)),
        measured("bfloat16", 0, (1.0,), (7.0,)),
    ]
    assert ceiling_of(records) == Ceiling({"float32": 1000.0, "bfloat16": 2000.0}, bytes_per_second=500.0)
    assert ceiling_of([]) is None
    first = records[0].measurement
    assert isinstance(first, Ceilings)
    assert (matrix_rate(first), copy_rate(first)) == (1000.0, 400.0)
