"""The sentences at the top: right numbers, and silence with a reason where there are none."""

from ablations.harness.cell import Cell
from ablations.report.headlines import headlines
from ablations.report.views import experiment_results

from . import records


def sentences(experiments: dict[str, tuple[Cell, ...]], fate: records.Fate = records.ok) -> list[str]:
    results = [
        experiment_results(records.planned(name, cells), records.records(cells, fate))
        for name, cells in experiments.items()
    ]
    return [sentence for headline in headlines(results) for sentence in headline.sentences]


def starting(found: list[str], start: str) -> str:
    matching = [sentence for sentence in found if sentence.startswith(start)]
    assert matching, (start, found)
    return matching[0]


LENGTHS = {"q": records.grid("q", length=(512, 1024, 2048, 4096))}
DEPTHS = {"q": records.grid("q", variants=records.CORNERS, n_layers=(1, 2, 4, 8))}


def test_exponents_are_told_with_interval_n_and_lengths() -> None:
    found = starting(sentences(LENGTHS), "dense (materialised): memory")
    assert found == (
        "dense (materialised): memory grows as length^2.00, exact, n = 8 processes; lengths 512, 1024, 2048, 4096."
    )
    time = starting(sentences(LENGTHS), "reformer: time grows as length^1.")
    assert "95 % interval" in time
    assert "n = 72 in 8 processes" in time


def test_an_exponent_that_cannot_be_told_says_why() -> None:
    found = sentences(LENGTHS, lambda cell: ("oom", "limit") if cell.length > 1024 else ("ok", ""))
    sentence = starting(found, "dense (materialised): cannot tell")
    assert "at least 3 points" in sentence
    assert sentence.endswith("here there are 2; results at 512, 1024; no result at 2048, 4096 (out of memory).")


def test_a_reversible_layer_is_told_as_a_share_of_an_ordinary_one() -> None:
    found = sentences(DEPTHS)
    sentence = starting(found, "reformer adds")
    # Planted: two hundredths of a layer of lsh_only.
    assert "2.00 % (exact" in sentence
    assert "at most 5 % is met" in sentence


def test_a_share_above_the_criterion_is_missed() -> None:
    swapped = {
        "q": tuple(
            cell
            for variant in ("dense", "reversible_only")
            for n_layers in (1, 2, 4)
            for cell in [records.cell("q", variant, records.STEP_WORKLOADS[2], n_layers=n_layers)]
        )
    }
    changed = []
    for record in records.records(swapped["q"]):
        assert record.measurement is not None
        bytes_ = (100 if record.cell.config.variant == "dense" else 6) * record.cell.config.n_layers
        changed.append(
            record.model_copy(update={"measurement": record.measurement.model_copy(update={"peak_bytes": bytes_})})
        )
    results = experiment_results(records.planned("q", swapped["q"]), changed)
    found = [sentence for headline in headlines([results]) for sentence in headline.sentences]
    sentence = starting(found, "reversible_only adds")
    assert "6.00 %" in sentence
    assert "is missed" in sentence


def test_slopes_are_compared_over_the_depths_that_both_have() -> None:
    found = sentences(
        DEPTHS,
        lambda cell: (
            ("oom", "limit") if cell.config.variant == "lsh_only" and cell.config.n_layers == 8 else ("ok", "")
        ),
    )
    assert "n_layers 1, 2, 4)" in starting(found, "reformer adds")
    assert "n_layers 1, 2, 4, 8)" in starting(found, "reversible_only adds")


def test_a_share_without_interval_is_no_verdict_without_saying_so() -> None:
    on_gpu = records.grid("q", variants=records.CORNERS, seeds=(0,), n_layers=(1, 2, 4), device="cuda")
    assert starting(sentences({"q": on_gpu}), "reformer adds").endswith("is met by this value, which has no interval.")


def test_a_pair_with_a_member_missing_cannot_be_compared() -> None:
    cells = records.grid("q", variants=("dense", "lsh_only", "reformer"), n_layers=(1, 2, 4))
    assert "no reversible_only planned" in starting(sentences({"q": cells}), "reversible_only against dense: cannot")


def test_learning_is_told_with_seeds_and_range_or_with_the_reason_of_its_absence() -> None:
    cells = records.grid("learn", variants=("dense", "reformer"), workloads=(records.LEARN,))
    found = sentences(
        {"learn": cells}, lambda cell: ("not_run", "no text here") if cell.config.variant == "dense" else ("ok", "")
    )
    assert starting(found, "dense:") == "dense: not measured here, not run (no text here)."
    assert "range" in starting(found, "reformer: 2.")
    assert "n = 2 seeds" in starting(found, "reformer: 2.")


def test_of_several_experiments_that_train_each_sentence_names_its_own_and_the_title_both_units() -> None:
    experiments = {
        "text": records.grid("text", variants=("dense",), workloads=(records.LEARN,)),
        "copies": records.grid("copies", variants=("dense",), workloads=(records.DUPLICATE,)),
    }
    found = sentences(experiments)
    assert starting(found, "Title of text: dense: 2.")
    assert starting(found, "Title of copies: dense: 2.")
    results = [experiment_results(records.planned(name, cells), ()) for name, cells in experiments.items()]
    assert headlines(results)[-1].title == "Held-out bits per byte or bits per token"


def test_what_the_plan_does_not_ask_is_not_measured_here() -> None:
    found = sentences({})
    assert len(found) == 4
    assert all(sentence.startswith("Not measured here: the plan has no experiment that") for sentence in found)
