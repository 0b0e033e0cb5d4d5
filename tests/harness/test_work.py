"""A step's work against numbers worked out by hand: C = 64, D = 64, two bytes a number, if not said otherwise."""

import pytest

from ablations.harness.cell import Cell, Mode, TimeStep
from ablations.harness.measurement import Ceilings, MatrixProducts
from ablations.harness.record import Record
from ablations.harness.work import (
    Ceiling,
    Work,
    ceiling_of,
    copy_rate,
    hash_directions,
    lsh_parts,
    matrix_rate,
    work_of,
)
from reformer.config import CONTROLS, VARIANTS, AnyAttention, LocalAttention, LSHAttention, ReformerConfig
from tests.report.contenders import ceiling_cell, contender
from tests.report.records import record

BUCKETS = (16, 32)


def cell(
    implementation: str = "ours",
    *,
    mode: Mode = "forward_backward",
    length: int = 4096,
    causal: bool = True,
    **lsh: object,
) -> Cell:
    """Attention of one head and one sequence."""
    dense = implementation.startswith("sdpa")
    options = {"n_buckets": BUCKETS, **lsh}
    config = ReformerConfig(
        vocab_size=7,
        d_model=64,
        n_heads=1,
        d_head=64,
        d_ff=64,
        n_layers=1,
        max_len=length,
        causal=causal,
        attention=CONTROLS["dense_separate_qk"].attention if dense else LSHAttention.model_validate(options),
        residual=VARIANTS["lsh_only"].residual,
    )
    fields = {"scope": "attention", "implementation": implementation, "dtype": "bfloat16", "device": "cpu", "seed": 0}
    workload = TimeStep(mode=mode)
    return Cell.model_validate(
        {"experiment": "x", "config": config, "workload": workload, "batch": 1, "length": length, **fields}
    )


def work(one: Cell) -> Work:
    """Of one position."""
    return work_of(one).times(1 / one.length)


def parts(one: Cell) -> dict[str, Work]:
    (attention,) = one.config.attentions
    assert isinstance(attention, LSHAttention)
    return dict(lsh_parts(one, attention))


@pytest.mark.parametrize("rounds", [1, 2, 4, 8])
def test_a_step_of_lsh_attention_computes_and_passes_nothing_twice(rounds: int) -> None:
    # Two products over windows of 128 forward and four backward; 24 directions to hash against. Queries and values come
    # in and results go out, then the same of gradients, however many rounds there are.
    assert work(cell(mode="forward", n_hashes=rounds)) == Work((32_768 + 3_072) * rounds, 3 * 128)
    assert work(cell(n_hashes=rounds)) == Work((3 * 32_768 + 3_072) * rounds, 6 * 128)


def test_dense_attention_sees_half_of_all_pairs_if_causal() -> None:
    assert work(cell("sdpa_flash", mode="forward")) == Work(524_288, 4 * 128)
    assert work(cell("sdpa_flash", mode="forward", causal=False)) == Work(1_048_576, 4 * 128)
    assert work(cell("sdpa_flash")) == Work(3 * 524_288, 8 * 128)


@pytest.mark.parametrize(("length", "ours", "theirs"), [(1024, 16, 8), (16_384, 24, 128)])
def test_lucidrains_is_charged_for_the_directions_that_it_hashes_against(length: int, ours: int, theirs: int) -> None:
    usual = {1024: (32,), 16_384: BUCKETS}[length]
    one, other = (cell(name, length=length, n_buckets=usual, n_hashes=2) for name in ("ours", "lucidrains"))
    (attention,) = one.config.attentions
    assert isinstance(attention, LSHAttention)
    assert (hash_directions(one, attention), hash_directions(other, attention)) == (ours, theirs)
    assert work(other).flops - work(one).flops == 2 * 2 * 64 * (theirs - ours)
    assert work(other).bytes == work(one).bytes


@pytest.mark.parametrize(
    ("rounds", "forward", "backward"),
    [
        (1, Work(32_768, 396), Work(81_920, 656)),
        (2, Work(65_536, 532), Work(163_840, 916)),
        (4, Work(131_072, 804), Work(327_680, 1436)),
        (8, Work(262_144, 1348), Work(655_360, 2476)),
    ],
)
def test_the_two_kernels_of_lsh_attention(rounds: int, forward: Work, backward: Work) -> None:
    found = parts(cell(n_hashes=rounds))
    assert found["forward"] == forward
    assert found["backward"] == backward


def test_the_parts_around_them() -> None:
    found = parts(cell(n_hashes=4))
    assert found["hash"] == Work(12_288, 128 + 4 * 2)
    # A bucket in two bytes is read, a position in four is written.
    assert found["sort"] == Work(0, 4 * 6)
    # The length of a key before the forward pass; then the product of an output and its gradient.
    assert found["rows"] == Work(0, 132 + 260)
    assert found["combine"] == Work(0, 4 * 132 + 132)
    assert found["sum"] == Work(0, 4 * 256 + 256)


def test_a_forward_pass_has_no_parts_of_the_backward_pass() -> None:
    found = parts(cell(n_hashes=4, mode="forward"))
    assert list(found) == ["hash", "sort", "rows", "forward", "combine"]
    assert found["rows"] == Work(0, 132)


@pytest.mark.parametrize("rounds", [1, 4])
def test_a_step_passes_less_than_its_parts_do_together(rounds: int) -> None:
    one = cell(n_hashes=rounds)
    together = sum(parts(one).values(), Work(0, 0))
    assert work(one).bytes < together.bytes
    assert work(one).flops < together.flops


def test_one_round_needs_no_combining_and_no_summing() -> None:
    found = parts(cell(n_hashes=1))
    assert found["combine"] == found["sum"] == Work(0, 0)


def test_a_window_that_looks_ahead_is_half_as_long_again() -> None:
    one, both = (parts(cell(n_chunks_after=after)) for after in (0, 1))
    assert both["forward"].flops == 1.5 * one["forward"].flops


def test_a_cell_s_work_is_that_of_all_its_positions_and_heads() -> None:
    one = contender("ours", mode="forward", batch=3, length=512, n_hashes=1)
    # 16 buckets, windows of 128, heads of 20 float32 numbers.
    assert work_of(one) == Work(20 * 16 + 4 * 128 * 20, 3 * 20 * 4).times(3 * 512 * 5)


def model(attention: AnyAttention, *, mode: Mode, causal: bool = True) -> Cell:
    """A model of two layers on five sequences of 16 tokens."""
    config = ReformerConfig(
        vocab_size=7,
        d_model=6,
        n_heads=3,
        d_head=4,
        d_ff=10,
        n_layers=2,
        max_len=16,
        causal=causal,
        attention=attention,
        residual="standard",
    )
    workload = TimeStep(mode=mode)
    return Cell(experiment="x", config=config, workload=workload, batch=5, length=16, device="cpu", seed=0)


def test_a_model_s_work_is_three_times_its_linear_maps_and_its_attention() -> None:
    one = model(CONTROLS["dense_separate_qk"].attention, mode="training_step")
    # Per token: four projections of 6 x 12 and two maps of 6 x 10 in each of two layers, and a head of 6 x 7.
    linear = 2 * (4 * 6 * 12 + 2 * 6 * 10) + 6 * 7
    # Three heads in each layer, four wide; half of 16 keys, two products forward and four backward.
    seen = 2 * 3 * 3 * (4 * 8 * 4)
    assert work_of(one).flops == 5 * 16 * (3 * 2 * linear + seen)
    # Weights are read and their gradients written; eight vectors for each token and head of a layer.
    assert work_of(one).bytes == 4 * (2 * linear + 5 * 16 * 2 * 3 * 8 * 4)


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


def test_whatever_takes_longer_bounds_a_step_and_utilisation_counts_operations_alone() -> None:
    ceiling = Ceiling({"float32": 100.0}, bytes_per_second=10.0)
    assert ceiling.bound(Work(300, 20), "float32") == "compute"
    assert ceiling.bound(Work(300, 50), "float32") == "memory"
    assert ceiling.bound(Work(300, 50), "bfloat16") is None
    assert ceiling.utilisation(Work(300, 50), "float32", 12.0) == 0.25
    assert ceiling.utilisation(Work(300, 50), "bfloat16", 12.0) is None


def test_gradients_have_twice_the_products_and_together_with_the_forward_pass_make_three() -> None:
    # 512 keys seen by a query on average; the results are not read for their gradients, only handed over.
    one = {mode: work(cell("sdpa_flash", length=1024, mode=mode)) for mode in ("forward", "forward_recorded")}
    assert one["forward"] == one["forward_recorded"] == Work(4 * 64 * 512, 4 * 128)
    assert work(cell("sdpa_flash", length=1024, mode="backward")) == Work(8 * 64 * 512, 7 * 128)
    assert work(cell("sdpa_flash", length=1024)) == Work(12 * 64 * 512, 8 * 128)
    # Vectors are hashed forward alone.
    assert work(cell(mode="backward", n_hashes=2)) == Work(2 * 2 * 32_768, 5 * 128)


def test_a_decoded_token_meets_what_is_before_it_and_weights_are_read_once() -> None:
    attention = CONTROLS["dense_separate_qk"].attention
    one = model(attention, mode="decode")
    linear = 2 * (4 * 6 * 12 + 2 * 6 * 10) + 6 * 7
    # Five sequences and three heads in each of two layers; all 16 keys and values are read, four wide.
    assert work_of(one).flops == 5 * (2 * linear + 2 * 3 * (4 * 4 * 16))
    assert work_of(one).bytes == 4 * (linear + 5 * 2 * 3 * 4 * (4 + 2 * 16))


def test_local_attention_sees_its_window_and_no_more_than_there_is() -> None:
    local = LocalAttention(chunk_len=4, n_chunks_before=1, share_qk=False)
    separate = CONTROLS["dense_separate_qk"].attention
    dense = work_of(model(separate, mode="forward", causal=False)).flops
    assert dense - work_of(model(local, mode="forward")).flops == 5 * 16 * 2 * 3 * 4 * 4 * (16 - 8)
    wide = LocalAttention(chunk_len=16, n_chunks_before=1, share_qk=False)
    assert work_of(model(wide, mode="forward")).flops == dense
