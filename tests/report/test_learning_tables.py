"""Tables of training: accuracy, BLEU, peak and conditions over seeds, each where a run has it and nowhere else."""

from collections.abc import Mapping, Sequence

from ablations.harness.cell import Cell
from ablations.harness.measurement import LearningCurve
from ablations.harness.training import Learn
from ablations.report.learning import bits_words
from ablations.report.learning_tables import learning_tables
from ablations.report.table import Table
from ablations.report.views import ExperimentResults, KindResults, experiment_results

from . import records

SEEDS = (0, 1, 2)


def kind_of(
    learn: Learn,
    variants: Sequence[str] = ("dense", "lsh_only"),
    n_hashes: Sequence[int] = (2,),
    fate: records.Fate = records.ok,
) -> KindResults:
    cells = records.grid("learn", variants=variants, workloads=(learn,), n_hashes=n_hashes, seeds=SEEDS)
    return only_kind(experiment_results(records.planned("learn", cells), records.records(cells, fate)))


def only_kind(results: ExperimentResults) -> KindResults:
    found = results.kind("learn")
    assert found is not None
    return found


def titles(of: Table) -> list[str]:
    return [column.title for column in of.columns]


def row(of: Table, *leading: str) -> dict[str, str]:
    found = [one for one in of.rows if one.cells[: len(leading)] == leading]
    assert len(found) == 1, leading
    return dict(zip(titles(of), found[0].cells, strict=True))


def test_the_unit_is_bits_per_byte_of_bytes_and_bits_per_token_of_anything_else() -> None:
    assert bits_words(kind_of(records.LEARN).groups) == "bits per byte"
    assert bits_words(kind_of(records.PAINT).groups) == "bits per byte"
    assert bits_words(kind_of(records.DUPLICATE).groups) == "bits per token"
    (painted, *_) = learning_tables(kind_of(records.PAINT))
    assert any("bits per dimension" in note for note in painted.notes)
    assert any(note.startswith("Bytes scored") for note in painted.notes)
    (counted, *_) = learning_tables(kind_of(records.DUPLICATE))
    assert counted.caption == "Held-out bits per token after the last step"
    assert any(note.startswith("Tokens scored") for note in counted.notes)


def test_accuracy_is_the_median_over_seeds_with_their_range() -> None:
    (ends, *_) = learning_tables(kind_of(records.DUPLICATE))
    # Planted: a hundredth less with each seed.
    assert row(ends, "dense")["accuracy"] == "99.0 % (98.0 to 100.0 %)"


def test_peak_and_parameters_stand_beside_what_was_learned() -> None:
    (ends, *_) = learning_tables(kind_of(records.LEARN))
    found = row(ends, "dense")
    # Five units of 5 MiB at length 512, four times as much at twice the length.
    assert found["peak"] == "100 MiB"
    assert found["parameters"] == "123,456"
    assert any(note.startswith("Peak: ") for note in ends.notes)


def test_bleu_comes_with_how_it_was_counted() -> None:
    (ends, *_) = learning_tables(kind_of(records.TRANSLATE, variants=("transformer", "reversible_separate_qk")))
    assert row(ends, "transformer")["BLEU"] == "28.3 (27.3 to 29.3)"
    assert "BLEU of the test part, by sacrebleu: nrefs:1|case:mixed." in ends.notes


def test_what_no_run_has_gets_no_column() -> None:
    (ends,) = learning_tables(kind_of(records.LEARN))
    assert not {"accuracy", "BLEU"} & set(titles(ends))


def test_records_without_a_peak_have_no_column_for_it() -> None:
    cells = records.grid("learn", variants=("dense",), workloads=(records.LEARN,), seeds=SEEDS)
    older = {"peak_bytes": None, "peak_missing": "older than schema 5", "n_parameters": None}
    (ends,) = learning_tables(only_kind(changed(cells, older)))
    assert not {"peak", "parameters"} & set(titles(ends))
    assert not any(note.startswith("Peak: ") for note in ends.notes)


def changed(cells: Sequence[Cell], change: Mapping[str, object]) -> ExperimentResults:
    found = []
    for record in records.records(cells):
        assert isinstance(record.measurement, LearningCurve)
        found.append(record.model_copy(update={"measurement": record.measurement.model_copy(update=change)}))
    return experiment_results(records.planned("learn", cells), found)


def test_an_interrupted_run_and_one_that_ended_early_are_told() -> None:
    cells = records.grid("learn", variants=("dense",), workloads=(records.LEARN,), seeds=SEEDS)
    (ends,) = learning_tables(only_kind(changed(cells, {"resumed_after": (7,), "stopped": "accuracy of 0.999"})))
    assert "Ended early: accuracy of 0.999." in ends.notes
    assert "Interrupted and taken up again from a checkpoint: 3 runs." in ends.notes


def test_each_condition_has_a_row_with_its_change_from_the_trained_model() -> None:
    kind = kind_of(records.DUPLICATE, n_hashes=(1, 2, 4))
    _, conditions = learning_tables(kind)
    assert len(conditions.rows) == (1 + 3) * 5
    found = row(conditions, "4", "lsh_only", "lsh_1")
    assert found["accuracy"] == "79.0 % (78.0 to 80.0 %)"
    assert found["bits per token"] == "3.750"
    assert found["interval"] == "range 3.500 to 4.000"
    assert found["n"] == "3 seeds"
    (group,) = [one for one in kind.groups if one.settings.get("n_hashes") == 4]
    differences = sorted(3.5 + n / 4 - one.evaluations[-1].bits_per_token for n, one in enumerate(group.curves))
    assert found["more than as trained"] == "{1:.3f} ({0:.3f} to {2:.3f})".format(*differences)


def test_conditions_without_accuracy_have_no_column_for_it() -> None:
    learn = records.LEARN.model_copy(update={"conditions": records.DUPLICATE.conditions[:2]})
    _, conditions = learning_tables(kind_of(learn))
    assert "accuracy" not in titles(conditions)
    assert {len(one.cells) for one in conditions.rows} == {len(conditions.columns)}


def test_a_model_that_failed_has_a_row_that_says_so_and_none_of_its_conditions() -> None:
    kind = kind_of(records.DUPLICATE, fate=lambda c: ("oom", "limit") if c.config.variant == "dense" else ("ok", ""))
    ends, conditions = learning_tables(kind)
    assert row(ends, "dense")["bits per token"] == "out of memory"
    assert {one.cells[0] for one in conditions.rows} == {"lsh_only"}


def test_recall_is_told_per_layer_after_powers_of_two_of_rounds() -> None:
    _, attention = learning_tables(kind_of(records.PAINT, n_hashes=(1, 6)))
    recalls = [title for title in titles(attention) if title.startswith("recall")]
    assert recalls == ["recall, 1 round", "recall, 2 rounds", "recall, 4 rounds", "recall, 6 rounds"]
    assert len(attention.rows) == 2 * 3
    found = row(attention, "6", "lsh_only", "2")
    # Planted: a round leaves half, of layer 2 after a head start of half a round, of each seed a sixteenth more.
    assert found["recall, 2 rounds"] == "83.1 % (82.3 to 83.8 %)"
    assert found["fullest bucket"] == "4.00 x (3.50 to 4.50 x)"
    assert found["empty buckets"] == "25.0 %"
    assert row(attention, "1", "lsh_only", "0")["recall, 2 rounds"] == "—"
