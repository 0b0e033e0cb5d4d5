"""Which axis is drawn over, which series there are, and what belongs together."""

from collections.abc import Sequence

from ablations.harness.cell import TimeStep
from ablations.harness.training import Learn
from ablations.report import axes
from ablations.report.groups import Attempt, groups_of
from ablations.report.statistics import CannotTell
from ablations.report.views import KindResults, experiment_results

from . import records

TIME = (TimeStep(mode="forward_backward"),)


def kind_of(
    name: str, length: Sequence[int] = (1024,), n_layers: Sequence[int] = (3,), n_hashes: Sequence[int] = (2,)
) -> KindResults:
    cells = records.grid(name, variants=("dense", "lsh_only"), length=length, n_layers=n_layers, n_hashes=n_hashes)
    found = experiment_results(records.planned(name, cells), records.records(cells)).kind("time")
    assert found is not None
    return found


def test_the_horizontal_axis_is_the_number_that_varies() -> None:
    assert kind_of("anything", length=(512, 1024)).horizontal == "length"
    assert kind_of("anything", n_layers=(1, 3, 5)).horizontal == "n_layers"
    assert kind_of("anything", n_hashes=(1, 4)).horizontal == "n_hashes"
    assert kind_of("anything").horizontal is None


def test_of_two_axes_the_one_with_more_values_is_drawn_over_and_the_other_has_a_column() -> None:
    kind = kind_of("both", n_layers=(2, 3), n_hashes=(1, 2, 4))
    assert kind.horizontal == "n_hashes"
    assert kind.columns == ("n_layers", "n_hashes")
    labels = [series.label for series in kind.series("forward")]
    assert labels == ["dense, n_layers=2", "dense, n_layers=3", "lsh_only, n_layers=2", "lsh_only, n_layers=3"]


def test_series_of_a_variant_stand_in_the_order_of_their_values() -> None:
    rounds = kind_of("both", length=(512, 1024, 2048, 4096, 8192, 16384), n_hashes=(16, 1, 2, 8))
    labels = [series.label for series in rounds.series("forward") if series.variant == "lsh_only"]
    assert labels == [f"lsh_only, n_hashes={number}" for number in (1, 2, 8, 16)]


def test_what_follows_from_the_length_is_no_axis_of_its_own() -> None:
    cells = records.grid("lengths", length=(512, 1024, 2048))
    assert axes.independent(cells) == ("length",)
    assert axes.shown(cells) == ("length", "n_buckets")


def test_a_batch_that_shrinks_as_the_length_grows_is_shown_but_not_drawn_over() -> None:
    cells = [records.cell("x", "dense", TIME[0], length=length, batch=6144 // length) for length in (512, 1024, 2048)]
    assert axes.horizontal(cells) == "length"
    assert axes.shown(cells) == ("length", "batch")


def test_variants_that_differ_in_their_own_settings_do_not_make_an_axis() -> None:
    cells = records.grid("variants", variants=("lsh_only", "local_only", "dense_query_chunked"))
    assert axes.independent(cells) == ()


def test_learning_rates_are_an_axis_too() -> None:
    faster = records.RECIPE.model_copy(update={"learning_rate": 0.01})
    learns = [records.LEARN, records.LEARN.model_copy(update={"recipe": faster})]
    cells = records.grid("rates", variants=("dense",), workloads=learns)
    assert all(isinstance(cell.workload, Learn) for cell in cells)
    assert axes.horizontal(cells) == "learning_rate"


def test_a_variant_without_the_setting_is_a_reference() -> None:
    dense, lsh = kind_of("rounds", n_hashes=(1, 2, 4)).series("forward")
    assert dense.is_reference
    assert not lsh.is_reference
    assert isinstance(dense.fit(), CannotTell)


def test_only_cells_that_differ_in_nothing_but_their_seed_are_grouped() -> None:
    cells = records.grid("mixed", variants=("dense", "lsh_only"), workloads=TIME, seeds=(0, 1, 2), length=(512, 1024))
    groups = groups_of([Attempt(cell, None) for cell in cells])
    assert len(groups) == 2 * 2
    for group in groups:
        assert [attempt.cell.seed for attempt in group.attempts] == [0, 1, 2]
        assert len({(a.cell.length, a.cell.config.variant) for a in group.attempts}) == 1


def test_a_fit_names_the_lengths_it_used_and_those_it_could_not() -> None:
    cells = records.grid("lengths", variants=("dense",), workloads=TIME, length=(512, 1024, 2048, 4096))
    measured = records.records(cells, lambda cell: ("oom", "too large") if cell.length == 4096 else ("ok", ""))
    kind = experiment_results(records.planned("lengths", cells), measured).kind("time")
    assert kind is not None
    assert kind.series("forward_backward")[0].support == "512, 1024, 2048; no result at 4096 (out of memory)"


def test_on_a_gpu_steps_are_timed_by_the_device() -> None:
    on_gpu = records.grid("time", variants=("dense",), workloads=TIME, device="cuda")
    on_cpu = records.grid("time", variants=("dense",), workloads=TIME)
    for cells in (on_gpu, on_cpu):
        group = groups_of([Attempt(cell, records.record(cell)) for cell in cells])[0]
        assert group.estimate is not None
        assert 0.85 < group.estimate.value / records.planted_seconds(cells[0]) < 1.15


def test_tokens_per_second_are_batch_times_length_over_the_time() -> None:
    cells = [records.cell("x", "dense", TIME[0], length=768, batch=5, seed=seed) for seed in (0, 1)]
    group = groups_of([Attempt(cell, records.record(cell)) for cell in cells])[0]
    assert group.estimate is not None
    assert group.tokens_per_second is not None
    assert round(group.tokens_per_second.value * group.estimate.value) == 768 * 5
