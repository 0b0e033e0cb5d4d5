"""Figures beside the paper's: the same numbers as its own, ours drawn with intervals, and nothing without records."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from ablations.harness.cell import Cell
from ablations.report import paper_figures
from ablations.report.figures import Figure, figures
from ablations.report.figures.constant_tokens import is_constant_tokens
from ablations.report.views import KindResults, experiment_results

from . import records

SEEDS = (0, 1, 2)


def kinds(cells: Sequence[Cell], fate: records.Fate = records.ok) -> tuple[KindResults, ...]:
    return experiment_results(records.planned("q", cells), records.records(cells, fate)).kinds


def drawn(cells: Sequence[Cell], fate: records.Fate = records.ok) -> dict[str, Figure]:
    found = [figure for kind in kinds(cells, fate) for figure in figures(kind, "bench")]
    return {figure.name.removeprefix("bench-"): figure for figure in found}


def names(figure: Figure) -> list[str]:
    ids = (element.get("id", "") for element in ET.fromstring(figure.svg).iter())
    return [name.removeprefix(f"{figure.name}.") for name in ids]


def named(figure: Figure, start: str) -> list[str]:
    return [name for name in names(figure) if name.startswith(start)]


def words(figure: Figure) -> str:
    return ET.fromstring(figure.svg).get("aria-label", "")


def duplicating() -> tuple[Cell, ...]:
    lsh = records.grid("q", variants=("lsh_only",), workloads=(records.DUPLICATE,), n_hashes=(4, 2, 1), seeds=SEEDS)
    return (*records.grid("q", variants=("dense",), workloads=(records.DUPLICATE,), seeds=SEEDS), *lsh)


@pytest.fixture(scope="module")
def constant() -> dict[str, Figure]:
    return drawn(records.constant_tokens())


@pytest.fixture(scope="module")
def duplicated() -> dict[str, Figure]:
    return drawn(duplicating())


def test_the_papers_numbers_are_those_of_its_figure_and_table() -> None:
    seconds = paper_figures.FIGURE_5_SECONDS
    assert all(len(values) == len(paper_figures.FIGURE_5_LENGTHS) for values in seconds.values())
    # What the paper is quoted for: dense attention eight times as slow as eight rounds at the longest length.
    assert seconds["full"][-1] / seconds["LSH-8"][-1] == pytest.approx(8.0, abs=0.1)
    assert seconds["full"][-1] / seconds["full"][0] == pytest.approx(20.8, abs=0.1)
    for rows in paper_figures.TABLE_2.values():
        assert all(len(row) == len(paper_figures.TABLE_2_EVALUATED) for row in rows.values())
    assert paper_figures.TABLE_2["paper"]["lsh_1"][-1] == 77.9


def test_constant_tokens_are_drawn_once_per_mode_and_the_paper_beside_evaluation_alone(
    constant: dict[str, Figure],
) -> None:
    assert list(constant) == ["constant-tokens-forward-float32", "constant-tokens-forward_backward-float32"]
    evaluated, trained = constant.values()
    assert (evaluated.n_panels, trained.n_panels) == (2, 1)
    assert len(named(evaluated, "paper-")) == len(paper_figures.FIGURE_5_SECONDS)
    assert named(trained, "paper-") == []
    assert "digitised" in words(evaluated)
    assert "3.50 s at 32768" in words(evaluated)


def test_every_number_of_rounds_and_every_baseline_has_a_line_of_its_own(constant: dict[str, Figure]) -> None:
    for figure in constant.values():
        lines = named(figure, "line-")
        assert [name for name in lines if name.startswith("line-LSH-")] == [f"line-LSH-{n}" for n in (1, 2, 4, 8)]
        assert len([name for name in lines if name.startswith("line-dense")]) == 3
        assert "2,048 tokens in each step" in figure.caption


def test_rounds_differ_in_colour_and_the_paper_s_lines_have_the_colours_of_ours(constant: dict[str, Figure]) -> None:
    evaluated = constant["constant-tokens-forward-float32"]
    strokes = {}
    for element in ET.fromstring(evaluated.svg).iter():
        name = element.get("id", "").removeprefix(f"{evaluated.name}.")
        if name.startswith(("paper-LSH", "line-LSH")):
            style = next(part.get("style", "") for part in element.iter() if "stroke:" in part.get("style", ""))
            strokes[name] = re.findall(r"stroke: (#\w+)", style)[0]
            assert ("stroke-dasharray" in style) == name.startswith("paper")
    assert len(set(strokes.values())) == 4
    assert all(strokes[f"line-LSH-{rounds}"] == strokes[f"paper-LSH-{rounds}"] for rounds in (1, 2, 4, 8))


def test_a_baseline_without_memory_is_told_in_the_caption() -> None:
    found = drawn(
        records.constant_tokens(),
        lambda c: ("oom", "limit") if c.implementation == "sdpa_math" and c.length > 512 else ("ok", ""),
    )
    for figure in found.values():
        assert (
            "dense, materialised at 1024 (out of memory), dense, materialised at 2048 (out of memory)" in figure.caption
        )


def test_several_lengths_at_one_batch_are_no_constant_tokens() -> None:
    cells = [cell.model_copy(update={"batch": 3}) for cell in records.constant_tokens()]
    assert not any(map(is_constant_tokens, kinds(tuple(dict.fromkeys(cells)))))
    assert any(map(is_constant_tokens, kinds(records.constant_tokens())))


def test_the_grid_of_table_2_shows_ours_beside_the_papers_and_an_earlier_replications(
    duplicated: dict[str, Figure],
) -> None:
    figure = duplicated["duplication"]
    assert figure.n_panels == 3
    assert (
        "this machine, trained with lsh_4: 99 % with dense, 99 % with lsh_8, 99 % with lsh_4, 89 % with lsh_2"
        in words(figure)
    )
    assert "paper, trained with lsh_1: 0.8 % with dense" in words(figure)
    assert "earlier replication, trained with lsh_4: 46.5 % with dense" in words(figure)
    assert "Blank" not in figure.caption


def test_a_model_that_was_not_measured_is_blank_and_the_caption_says_so() -> None:
    figure = drawn(duplicating(), lambda c: None if c.config.variant == "dense" else ("ok", ""))["duplication"]
    assert "Blank: not measured." in figure.caption
    assert "this machine, trained with lsh_4" in words(figure)
    assert "this machine, trained with dense" not in words(figure)


def test_no_grid_is_drawn_of_another_task_or_without_a_result() -> None:
    text = records.grid("q", variants=("dense",), workloads=(records.LEARN,))
    assert list(drawn(text)) == ["learning"]
    assert drawn(duplicating(), lambda _: ("error", "no")) == {}


def test_recall_has_a_line_per_layer_and_bucket_load_one_per_model() -> None:
    cells = records.grid("q", variants=("dense", "lsh_only"), workloads=(records.PAINT,), n_hashes=(2, 4), seeds=SEEDS)
    figure = drawn(cells)["recall"]
    assert len(named(figure, "recall-lsh_only")) == 2 * 3
    assert len(named(figure, "load-lsh_only")) == 2
    assert not named(figure, "recall-dense")
    assert "lsh_only, n_hashes=2, layer 2: recall 66.1 %, 83.1 %; fullest bucket 4.00 x." in words(figure)


def test_no_recall_is_drawn_where_no_attention_was_looked_at(duplicated: dict[str, Figure]) -> None:
    assert "recall" not in duplicated


def test_models_that_differ_in_a_number_have_lines_and_marks_of_their_own(duplicated: dict[str, Figure]) -> None:
    figure = duplicated["learning"]
    assert figure.n_panels == 3
    assert len(named(figure, "end-lsh_only-n_hashes")) == 3
    assert len(named(figure, "end-dense")) == 1
    assert len(named(figure, "curve-lsh_only-n_hashes-4")) == 3 * 2
    assert "bits per token" in figure.title


def test_without_a_peak_what_was_learned_is_drawn_over_steps_and_seconds_alone() -> None:
    cells = records.grid("q", variants=("dense",), workloads=(records.LEARN,))
    older = [
        record.model_copy(update={"measurement": record.measurement.model_copy(update={"peak_bytes": None})})
        for record in records.records(cells)
        if record.measurement
    ]
    (kind,) = experiment_results(records.planned("q", cells), older).kinds
    (figure,) = figures(kind, "bench")
    assert figure.n_panels == 2
    assert "peak memory" not in figure.caption
