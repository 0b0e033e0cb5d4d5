"""Figures: the same look everywhere, failures at the top edge, nothing that collides."""

import re
from collections.abc import Iterator
from typing import get_args
from xml.etree import ElementTree as ET

import pytest

from ablations.harness.cell import Cell, Implementation
from ablations.harness.record import Status
from ablations.report.figures import Figure, figures
from ablations.report.style import LOOKS, look
from ablations.report.views import experiment_results
from reformer.config import CONTROLS, VARIANTS

from . import records

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name: str, cells: tuple[Cell, ...], fate: records.Fate = records.ok) -> list[Figure]:
    results = experiment_results(records.planned(name, cells), records.records(cells, fate))
    return [figure for kind in results.kinds for figure in figures(kind, f"bench-{name}")]


@pytest.fixture(scope="module")
def all_figures() -> list[Figure]:
    found = []
    for experiment in records.demo().plan.experiments:
        found += drawn(experiment.name, experiment.cells, records.demo_fate)
    return found


def elements(figure: Figure) -> Iterator[tuple[str, ET.Element]]:
    """Named things of a figure, without the figure's own prefix."""
    for element in ET.fromstring(figure.svg).iter():
        name = element.get("id", "")
        if name.startswith(f"{figure.name}."):
            yield name.removeprefix(f"{figure.name}."), element


def strokes(element: ET.Element) -> set[str]:
    return {
        colour.upper()
        for part in element.iter()
        for colour in re.findall(r"stroke: (#[0-9a-f]{6})", part.get("style", ""))
    }


def variant_of(name: str) -> str | None:
    found = re.match(r"(?:series|point|reference|curve|oom)-([a-z_]+)-(?:forward|learn)", name)
    return found[1] if found else None


def test_a_variant_has_one_colour_in_every_figure(all_figures: list[Figure]) -> None:
    colours: dict[str, set[str]] = {}
    for figure in all_figures:
        for name, element in elements(figure):
            if variant := variant_of(name):
                colours.setdefault(variant, set()).update(strokes(element))
    assert set(colours) == set(records.LINEUP)
    assert colours == {variant: {look(variant).colour.upper()} for variant in colours}


def test_a_variant_has_one_marker_in_every_figure_and_no_other_has_it(all_figures: list[Figure]) -> None:
    markers: dict[str, set[str]] = {}
    for figure in all_figures:
        for name, element in elements(figure):
            if name.startswith("point-") and (variant := variant_of(name)):
                markers.setdefault(variant, set()).update(path.get("d", "") for path in element.iter(f"{SVG}path"))
    assert set(markers) == set(records.LINEUP)
    assert all(len(shapes) == 1 for shapes in markers.values())
    assert len({min(shapes) for shapes in markers.values()}) == len(markers)


def test_every_variant_and_control_has_a_look_of_its_own() -> None:
    assert set(LOOKS) == {*VARIANTS, *CONTROLS, *get_args(Implementation)}
    assert_all_differ({*VARIANTS, *CONTROLS})


def test_what_is_compared_differs_in_look_and_ours_looks_like_the_reformer() -> None:
    assert_all_differ(set(get_args(Implementation)))
    assert_all_differ({"reformer", "lsh_only", "lsh_checkpointed", "huggingface", "lucidrains"}, markers=False)
    assert LOOKS["ours"] == LOOKS["reformer"]


def assert_all_differ(names: set[str], *, markers: bool = True) -> None:
    looks = [LOOKS[name] for name in names]
    assert len({one.colour for one in looks}) == len(names)
    assert len({one.marker for one in looks}) == len(names) or not markers


def test_an_unknown_variant_has_a_look_that_follows_from_its_name() -> None:
    assert look("local_only+lsh_only") == look("local_only+lsh_only")
    assert look("local_only+lsh_only") not in LOOKS.values()


def test_out_of_memory_is_marked_at_the_top_edge_where_its_result_would_stand() -> None:
    cells = records.grid("q", variants=("dense", "reformer"), length=(512, 1024, 2048))
    failing = drawn(
        "q", cells, lambda c: ("oom", "") if c.length == 2048 and c.config.variant == "dense" else ("ok", "")
    )
    for figure in failing:
        marks = {name: element for name, element in elements(figure) if name.startswith("oom-")}
        assert marks
        assert all(name.startswith("oom-dense-") and name.endswith("-2048") for name in marks)
        points = {name: element for name, element in elements(figure) if name.startswith("point-")}
        # Markers are six points wide: more than that between them means that none touches another.
        assert max(map(_height, marks.values())) < min(map(_height, points.values())) - 12
        same_place = points["point-reformer-forward_backward-2048"]
        assert _place(marks["oom-dense-forward_backward-2048"]) == pytest.approx(_place(same_place))
        assert "out of memory at 2048" in figure.svg


def _use(element: ET.Element) -> ET.Element:
    return next(element.iter(f"{SVG}use"))


def _height(element: ET.Element) -> float:
    """Distance from the top."""
    return float(_use(element).get("y", "nan"))


def _place(element: ET.Element) -> float:
    return float(_use(element).get("x", "nan"))


def test_without_failures_there_is_no_mark() -> None:
    for figure in drawn("q", records.grid("q", variants=("dense",), length=(512, 1024))):
        assert not any(name.startswith("oom-") for name, _ in elements(figure))
        assert "top edge" not in figure.caption


@pytest.mark.parametrize("status", ["killed", "timeout", "error"])
def test_every_other_failure_is_marked_too(status: Status) -> None:
    cells = records.grid("q", variants=("dense",), n_layers=(1, 2, 3))
    for figure in drawn("q", cells, lambda cell: (status, "") if cell.config.n_layers == 3 else ("ok", "")):
        assert any(name.startswith(f"{status}-dense") for name, _ in elements(figure))


def test_a_variant_without_hash_rounds_is_drawn_across() -> None:
    cells = records.grid("q", variants=("dense", "lsh_only"), n_hashes=(1, 2, 4))
    for figure in drawn("q", cells):
        names = {name for name, _ in elements(figure)}
        assert "reference-dense-forward_backward" in names
        assert "series-lsh_only-forward_backward" in names


def test_throughput_is_drawn_over_length_and_nothing_else() -> None:
    over_length = drawn("q", records.grid("q", variants=("dense",), length=(512, 1024)))
    over_depth = drawn("q", records.grid("q", variants=("dense",), n_layers=(1, 2)))
    assert [figure.name for figure in over_length] == ["bench-q-time", "bench-q-throughput", "bench-q-memory"]
    assert [figure.name for figure in over_depth] == ["bench-q-time", "bench-q-memory"]


def test_an_experiment_in_which_no_number_varies_is_drawn_by_variant() -> None:
    for figure in drawn("q", records.grid("q", variants=("dense", "reformer"))):
        assert len([name for name, _ in elements(figure) if name.startswith("point-dense")]) > 0
        assert figure.title.endswith("per variant")


def test_learning_draws_one_line_per_seed_in_both_panels() -> None:
    cells = records.grid("q", variants=("dense", "reformer"), workloads=(records.LEARN,), seeds=(3, 5, 8))
    (figure,) = drawn("q", cells)
    curves = [name for name, _ in elements(figure) if name.startswith("curve-dense")]
    assert len(curves) == 3 * 2


def test_nothing_is_drawn_where_nothing_has_a_result() -> None:
    assert drawn("q", records.grid("q", length=(512, 1024)), lambda _: None) == []


def test_every_figure_says_in_words_what_it_shows(all_figures: list[Figure]) -> None:
    for figure in all_figures:
        root = ET.fromstring(figure.svg)
        assert root.get("role") == "img"
        assert figure.title in root.get("aria-label", "")
        assert "reformer" in root.get("aria-label", "")
        assert root.findtext(f"{SVG}title") == figure.title


def test_every_reference_within_a_figure_has_its_target(all_figures: list[Figure]) -> None:
    for figure in all_figures:
        ids = re.findall(r'\bid="([^"]*)"', figure.svg)
        targets = re.findall(r'(?:href="#|url\(#)([^")]*)', figure.svg)
        assert targets
        assert set(targets) <= set(ids)
        assert all(name.startswith(f"{figure.name}.") for name in ids)
