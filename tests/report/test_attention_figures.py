"""Attention drawn: the numbers that stand beside a figure are those of its record, and the picture is small."""

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ablations.harness.measurement import AttentionPattern, HeaviestKeys, LearningCurve
from ablations.harness.record import Record
from ablations.report import attention_pattern
from ablations.report.figures import Figure, figures
from ablations.report.figures.attention import attention_figures
from ablations.report.figures.attention.pixels import with_palettes
from ablations.report.views import KindResults, experiment_results

from . import records
from .test_attention_pattern import pattern

SHAPE = (48, 8, 10, 3)
MOST_BYTES = 60_000
"""Nearly half of it are outlines of letters, which a page shares."""


def dense_rows(length: int, n_keys: int = 32) -> tuple[HeaviestKeys, ...]:
    """Of eight queries, or all where there are fewer: weights that fall by a fifth from key to key, anywhere."""
    every, draw = max(1, length // 8), np.random.default_rng(5)
    return tuple(
        HeaviestKeys(query=query, keys=tuple(keys), weights=tuple(round(0.2 * 0.8**n, 4) for n in range(len(keys))))
        for query in range(every - 1, length, every)
        if (keys := draw.permutation(max(1, query))[:n_keys].tolist())
    )


def with_patterns(record: Record, patterns: Sequence[AttentionPattern]) -> Record:
    assert isinstance(record.measurement, LearningCurve)
    curve = record.measurement.model_copy(update={"patterns": tuple(patterns)})
    return Record.model_validate(dict(record) | {"measurement": curve})


def kind_of(
    shapes: Sequence[tuple[int, int, int, int]] = (SHAPE,), *, n_layers: int = 2, without: Sequence[int] = ()
) -> KindResults:
    """One setting for each shape, with so many rounds; seeds named in `without` have no patterns."""
    rounds = [shape[-1] for shape in shapes]
    cells = records.grid("learn", variants=("dense", "lsh_only"), workloads=(records.PAINT,), n_hashes=rounds)
    by_rounds = {shape[-1]: shape for shape in shapes}
    known = []
    for one in records.records(cells):
        attention = one.cell.config.attentions[0]
        if attention.kind == "lsh" and one.cell.seed not in without:
            shape = by_rounds[attention.n_hashes]
            layers = [pattern(shape, dense=dense_rows(shape[0]), seed=10 * one.cell.seed + n) for n in range(n_layers)]
            one = with_patterns(one, [layer.model_copy(update={"layer": n}) for n, layer in enumerate(layers)])
        known.append(one)
    found = experiment_results(records.planned("learn", cells), known).kind("learn")
    assert found is not None
    return found


def with_pattern(one: AttentionPattern) -> KindResults:
    """A single cell of one layer, with a pattern as it is given."""
    cells = records.grid("learn", variants=("lsh_only",), workloads=(records.PAINT,), seeds=(0,))
    known = [with_patterns(record, [one]) for record in records.records(cells)]
    found = experiment_results(records.planned("learn", cells), known).kind("learn")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def drawn() -> tuple[Figure, ...]:
    return attention_figures(kind_of(), "bench-learn")


def pictures(figure: Figure) -> list[npt.NDArray[np.uint8]]:
    """The pixels of each picture in a figure, rgb."""
    found = re.findall(r'xlink:href="data:image/png;base64,([^"]+)"', figure.svg)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in found]


def label(figure: Figure) -> str:
    found = re.search(r'aria-label="([^"]*)"', figure.svg)
    assert found
    return found[1]


def test_a_model_with_patterns_has_two_figures_of_its_own_and_one_without_has_none(drawn: tuple[Figure, ...]) -> None:
    assert [one.name for one in drawn] == ["bench-learn-sorted", "bench-learn-met"]
    assert attention_figures(kind_of(without=(0, 1)), "bench-learn") == ()
    assert [one.name for one in figures(kind_of(), "bench-learn")[-2:]] == [one.name for one in drawn]


def test_the_setting_with_the_most_rounds_and_its_first_seed_with_patterns_is_drawn() -> None:
    several = kind_of(((48, 8, 10, 1), (48, 8, 10, 4), (48, 8, 10, 2)), without=(0,))
    for figure in attention_figures(several, "bench"):
        assert "lsh_only, n_hashes=4, seed 1" in figure.caption


def test_the_sorted_plane_holds_a_pixel_for_each_pair_in_the_colour_of_what_holds_of_it(
    drawn: tuple[Figure, ...],
) -> None:
    (plane,) = pictures(drawn[0])
    last = pattern(SHAPE, seed=1)
    order = attention_pattern.sorted_positions(last)[0]
    assert plane.shape == (48, 48, 3)
    met, alike, allowed = (
        every[np.ix_(order, order)]
        for every in (
            attention_pattern.meetings(last)[0],
            attention_pattern.same_bucket(last)[0],
            attention_pattern.allowed(last),
        )
    )
    kinds = [met & alike, met & ~alike, allowed & ~met & ~alike, ~allowed]
    colours = [{tuple(pixel) for pixel in plane[kind]} for kind in kinds]
    assert all(len(found) == 1 for found in colours)
    assert len(set.union(*colours)) == len(kinds)


def test_a_picture_with_a_palette_has_the_same_pixels_in_fewer_bytes() -> None:
    pixels = np.array([(0, 0, 0), (255, 0, 7), (9, 200, 30)], dtype=np.uint8)[np.arange(35 * 60).reshape(35, 60) % 3]
    written = io.BytesIO()
    Image.fromarray(pixels).convert("RGBA").save(written, format="png")
    svg = f'<image xlink:href="data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}" x="1"/>'
    small = with_palettes(svg)
    encoded = re.fullmatch('<image xlink:href="data:image/png;base64,([^"]+)" x="1"/>', small)
    assert encoded
    picture = Image.open(io.BytesIO(base64.b64decode(encoded[1])))
    assert picture.mode == "P"
    assert np.array_equal(np.array(picture.convert("RGB")), pixels)
    assert len(small) < len(svg)


def test_the_text_beside_a_figure_says_what_it_shows(drawn: tuple[Figure, ...]) -> None:
    first, last = (pattern(SHAPE, dense=dense_rows(48), seed=seed) for seed in (0, 1))
    met = int(attention_pattern.meetings(last)[0].sum())
    assert f"Of 1,128 pairs that may be seen {met:,} meet" in label(drawn[0])
    for number, one in enumerate((first, last)):
        fullest = attention_pattern.loads(one)[0].max() / 4.8
        assert f"Layer {number}, 10 buckets: the fullest over the mean in each round {fullest:.2f} x" in label(drawn[0])
    assert label(drawn[1]).count("Query at ") == 8
    missed = attention_pattern.masses(last)[-1].missed
    assert f"never met at least {100 * missed:.1f} %" in label(drawn[1])


def test_weight_that_was_not_noted_is_said_to_lie_beyond_the_heaviest_keys() -> None:
    even = HeaviestKeys(query=40, keys=tuple(range(5)), weights=(0.025,) * 5)
    kind = with_pattern(pattern(SHAPE, dense=(even,)))
    _, figure = attention_figures(kind, "bench")
    assert "beyond the 5 heaviest keys 87.5 %" in label(figure)
    assert "The rest lies beyond the 5 heaviest keys, of which nothing was noted" in figure.caption
    assert "too light" not in figure.caption + figure.svg


ENDS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 3, "The first chunk looks back at the last chunk of the last round, whose order is another. "),
    ({}, 1, "The first chunk looks back at the last chunk. "),
    ({"wrap": "per_round"}, 3, "The first chunk looks back at the last chunk. "),
    ({"wrap": "none", "n_chunks_after": 1}, 3, ""),
    ({"n_chunks_before": 0}, 3, ""),
    ({"same_bucket_only": True}, 3, ""),
    (
        {"wrap": "per_round", "n_chunks_before": 2, "n_chunks_after": 1},
        3,
        "The first 2 chunks look back at the last 2 chunks. The last chunk looks ahead at the first chunk. ",
    ),
    (
        {"n_chunks_before": 0, "n_chunks_after": 1},
        3,
        "The last chunk looks ahead at the first chunk of the second round, whose order is another. ",
    ),
]


@pytest.mark.parametrize(("changes", "n_rounds", "words"), ENDS)
def test_the_caption_says_what_the_chunks_at_the_ends_look_at(
    changes: dict[str, Any], n_rounds: int, words: str
) -> None:
    one = pattern((48, 8, 10, n_rounds), dense=dense_rows(48), **changes)
    figure, _ = attention_figures(with_pattern(one), "bench")
    assert f"what each chunk of queries looks at. {words}Right: " in figure.caption


@pytest.mark.parametrize(("changes", "n_rounds", "words"), ENDS)
def test_chunks_at_the_ends_meet_what_the_caption_says(changes: dict[str, Any], n_rounds: int, words: str) -> None:
    # All of one bucket, so that the order is that of the sequence, and not causal: all that is looked at is met.
    buckets = ((0,) * 48,) * n_rounds
    one = pattern((48, 8, 10, n_rounds), causal=False, **changes).model_copy(update={"buckets": buckets})
    met_LL = attention_pattern.meetings(one)[0]
    assert met_LL[0, 47] == ("The first" in words)
    assert met_LL[47, 0] == ("ahead" in words)


def test_a_part_of_a_sequence_is_said_to_be_one(drawn: tuple[Figure, ...]) -> None:
    # Planted cells are 1,024 long.
    assert "the first 48 of its 1024 tokens" in drawn[0].caption


def test_figures_of_the_largest_pattern_are_small_and_the_same_each_time() -> None:
    kind = kind_of(((256, 16, 32, 8),), n_layers=6)
    found, again = attention_figures(kind, "bench"), attention_figures(kind, "bench")
    assert [one.svg for one in found] == [one.svg for one in again]
    assert max(len(one.svg) for one in found) < MOST_BYTES


def test_ids_of_two_experiments_differ_and_every_reference_finds_its_own(drawn: tuple[Figure, ...]) -> None:
    other = attention_figures(kind_of(), "other")
    for figure in (*drawn, *other):
        ids = re.findall(r'\bid="([^"]*)"', figure.svg)
        assert len(ids) == len(set(ids))
        assert all(one.startswith(f"{figure.name}.") for one in ids)
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', figure.svg)) <= set(ids)


@pytest.mark.parametrize("shape", [(1, 4, 2, 1), (2, 4, 2, 2), (9, 2, 2, 1)])
def test_short_sequences_and_single_rounds_can_be_drawn(shape: tuple[int, int, int, int]) -> None:
    assert len(attention_figures(kind_of((shape,), n_layers=1), "bench")) == 2
