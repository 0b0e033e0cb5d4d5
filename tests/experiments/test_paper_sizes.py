"""The experiments on the paper's claims have the sizes that their sources state, or state how much smaller they are."""

from collections import defaultdict
from typing import get_args

import pytest

from ablations.experiments import (
    constant_tokens,
    deep_and_long,
    feed_forward_chunks,
    inversion,
    long_range_arena,
    one_million,
)
from ablations.harness.cell import Capacity, Cell
from ablations.harness.experiment import Experiment, Profile
from reformer.config import LSHAttention

GIB = 2**30
ON_CPU_AND_GPU: tuple[Profile, ...] = ("paper-cpu", "paper")


def cells(experiment: Experiment, profile: Profile) -> tuple[Cell, ...]:
    return experiment.cells(profile, "cuda" if profile == "paper" else "cpu")


def n_hashes(one: Cell) -> int:
    attention = one.config.attentions[0]
    return attention.n_hashes if isinstance(attention, LSHAttention) else 0


@pytest.mark.parametrize("profile", [one for one in get_args(Profile) if one in constant_tokens.EXPERIMENT.scales])
def test_every_step_of_constant_tokens_has_as_many_and_every_length_all_contenders(profile: Profile) -> None:
    found = cells(constant_tokens.EXPERIMENT, profile)
    assert len({one.batch * one.length for one in found}) == 1
    at_length = defaultdict(set)
    for one in found:
        at_length[one.length, one.seed, one.mode].add((one.implementation, n_hashes(one)))
    contenders = {("ours", 1), ("ours", 2), ("ours", 4), ("ours", 8)} | {
        (dense, 0) for dense in ("sdpa_math", "query_chunked", "sdpa_flash")
    }
    assert all(there == contenders for there in at_length.values())


@pytest.mark.parametrize(
    ("profile", "tokens", "shortest", "octaves"), [("paper", 32768, 1024, 5), ("paper-cpu", 8192, 512, 4)]
)
def test_constant_tokens_goes_in_octaves_up_to_a_single_sequence(
    profile: Profile, tokens: int, shortest: int, octaves: int
) -> None:
    found = cells(constant_tokens.EXPERIMENT, profile)
    assert {one.length for one in found} == {shortest << octave for octave in range(octaves + 1)}
    assert max(one.length for one in found) == tokens


@pytest.mark.parametrize("profile", ON_CPU_AND_GPU)
@pytest.mark.parametrize(
    ("experiment", "width", "budgets"),
    [
        (deep_and_long.EXPERIMENT, 1024, {65536: 16 * GIB}),
        (one_million.EXPERIMENT, 256, {524288: 8 * GIB, 1048576: 16 * GIB}),
    ],
    ids=lambda value: value.name if isinstance(value, Experiment) else "",
)
def test_budgets_are_to_the_width_what_they_are_in_the_source(
    experiment: Experiment, width: int, budgets: dict[int, int], profile: Profile
) -> None:
    found = cells(experiment, profile)
    lengths = {one.length for one in found}
    assert lengths == (set(budgets) if profile == "paper" else {min(budgets)})
    for one in found:
        assert isinstance(one.workload, Capacity)
        assert one.workload.budget_bytes == budgets[one.length] * one.config.d_model / width
        assert one.config.d_model == width or profile == "paper-cpu"


@pytest.mark.parametrize("profile", ON_CPU_AND_GPU)
def test_the_deep_reformer_has_twenty_layers_and_a_dense_model_stands_beside(profile: Profile) -> None:
    found = cells(deep_and_long.EXPERIMENT, profile)
    assert {one.config.n_layers for one in found} == {20}
    assert {"dense", "lsh_only", "reformer"} <= {one.config.variant for one in found}


@pytest.mark.parametrize("profile", ON_CPU_AND_GPU)
def test_feed_forward_chunks_go_from_the_whole_sequence_down_in_two_regimes(profile: Profile) -> None:
    found = cells(feed_forward_chunks.EXPERIMENT, profile)
    chunks = defaultdict(list)
    for one in (one for one in found if one.seed == 0):
        chunks[one.config.d_ff // one.config.d_model].append(one.config.ff_chunk_len or one.length)
    usual, wide = sorted(chunks)
    assert usual == 4
    assert wide >= 16
    length = found[0].length
    assert sorted(chunks[usual]) == sorted(chunks[wide]) == [128 << octave for octave in range(len(chunks[wide]))]
    assert max(chunks[wide]) == length


@pytest.mark.parametrize("profile", ON_CPU_AND_GPU)
def test_inversion_is_asked_of_deep_models_with_and_without_a_grid_in_both_types(profile: Profile) -> None:
    found = cells(inversion.EXPERIMENT, profile)
    asked = {(one.config.n_layers, one.dtype, one.config.grid_bits is None, one.config.variant) for one in found}
    assert len(asked) == len(found) == 4 * 2 * 2 * 2
    assert max(layers for layers, *_ in asked) == 20


def test_the_arena_s_model_of_texts_is_the_one_that_it_states() -> None:
    sizes = {
        (one.batch, one.config.n_layers, one.config.d_model, one.config.n_heads, one.config.d_ff)
        for one in cells(long_range_arena.EXPERIMENT, "paper")
    }
    assert sizes == {(2, 4, 256, 4, 1024)}
