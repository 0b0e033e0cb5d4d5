"""The form computes what Python computes from the same fits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ablations.report.units import BYTES, SECONDS
from ablations.report.what_if import page as what_if
from ablations.report.what_if.page import machine as what_if_machine
from tests.browser.opened import DARK, DESK, PHONE, opened, started
from tests.browser.what_if_fixtures import (
    HOSTILE,
    End,
    by_label,
    crossover,
    longest,
    peak,
    results,
    seconds,
)

ENDS: tuple[End, ...] = ("value", "low", "high")
ASKED = {
    "d_model": 8,
    "n_heads": 2,
    "d_head": 4,
    "d_ff": 12,
    "n_layers": 2,
    "vocab_size": 256,
    "batch": 1,
    "length": 2048,
    "n_hashes": 2,
    "chunk_len": 64,
}
LARGE = {**ASKED, "d_model": 512, "n_heads": 8, "d_head": 64, "d_ff": 2048, "n_layers": 12, "batch": 4, "length": 65536}
ODD = {**ASKED, "n_layers": 3, "length": 777, "n_hashes": 4, "vocab_size": 999}
SMALL = results("bench", chunks=(64,), gibibytes=17)
STRANGE = results(HOSTILE, chunks=(32, 64), gibibytes=3)
LABELS = ("dense", "reversible_only", "lsh_only", "reformer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("what_if") / "what_if.html"
    path.write_text(what_if([SMALL, STRANGE]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser_page(browser: Browser, page_file: Path) -> Iterator[Page]:
    """One page for most tests: each fills in the whole form."""
    with opened(browser, page_file) as found:
        yield found.page
    assert (found.requests, found.messages) == ([], [])


def fill(page: Page, sizes: dict[str, int], *, machine: str = "bench", budget: str = "1", updates: int = 0) -> None:
    page.locator("#machine").select_option(label=machine)
    page.locator("#updates").select_option(str(updates))
    # Typed one by one each would compute everything anew.
    page.evaluate(
        "sizes => Object.entries(sizes).forEach(([name, size]) => { document.getElementById(name).value = size })",
        sizes,
    )
    page.locator("#budget").fill(budget)
    computed(page)


def computed(page: Page) -> None:
    """Wait until what was typed last is computed."""
    page.locator("#results[aria-busy=false]").wait_for(state="attached")


def row(page: Page, label: str, of: str) -> dict[str, str]:
    """What a cell of the table holds, as numbers that no rounding has touched."""
    found: dict[str, str] = page.locator(f'tr[data-variant="{label}"] td[data-of="{of}"]').evaluate(
        "cell => ({...cell.dataset, text: cell.textContent, beyond: String(cell.querySelector('.beyond') !== null)})"
    )
    return found


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("updates", [0, 1])
@pytest.mark.parametrize("sizes", [ASKED, ODD, LARGE], ids=["asked", "odd", "large"])
def test_the_page_computes_what_python_does(
    browser_page: Page, sizes: dict[str, int], updates: int, label: str
) -> None:
    fill(browser_page, sizes, updates=updates)
    one, everything = by_label(SMALL)[label], {**sizes, "updates": updates}
    for of, quantity, unit in (("peak", peak, BYTES), ("time", seconds, SECONDS)):
        found = row(browser_page, label, of)
        for end in ENDS:
            assert float(found[end]) == pytest.approx(quantity(one, everything, end), rel=1e-9)
        assert unit.text(quantity(one, everything, "value")) in found["text"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("budget", ["0.004", "0.05", "0.5"])
def test_the_longest_length_is_that_of_trying_them_all(browser_page: Page, budget: str, label: str) -> None:
    fill(browser_page, ASKED, budget=budget)
    found = row(browser_page, label, "longest that fits")
    one, everything = by_label(SMALL)[label], {**ASKED, "updates": 0}
    opposite: dict[End, End] = {"value": "value", "low": "high", "high": "low"}
    for end in ENDS:
        assert int(found[end]) == longest(one, everything, float(budget) * 2**30, opposite[end])


@pytest.mark.parametrize("sizes", [ASKED, ODD], ids=["asked", "odd"])
def test_the_crossover_is_the_length_after_the_last_that_is_behind(browser_page: Page, sizes: dict[str, int]) -> None:
    fill(browser_page, sizes)
    found = by_label(SMALL)
    reformer, dense, everything = found["reformer"], found["dense"], {**sizes, "updates": 0}
    ends: dict[str, tuple[End, End]] = {"value": ("value", "value"), "low": ("low", "high"), "high": ("high", "low")}
    for kind, quantity in (("time", seconds), ("memory", peak)):
        shown = browser_page.locator(f'li[data-crossing="{kind}"]')
        for name, (own, other) in ends.items():
            expected = crossover(quantity, (reformer, own), (dense, other), everything)
            assert shown.get_attribute(f"data-{name}") == ("null" if expected is None else str(expected))


def test_a_size_beyond_the_measured_ones_is_marked_in_words_and_one_between_is_not(browser_page: Page) -> None:
    fill(browser_page, ASKED)
    assert "extrapolation" not in row(browser_page, "dense", "peak")["text"]
    assert row(browser_page, "dense", "peak")["beyond"] == "false"
    fill(browser_page, {**ASKED, "length": 65536, "d_ff": 24})
    for of in ("peak", "time"):
        found = row(browser_page, "dense", of)
        assert "extrapolation: d_ff 24, measured at 12 only; length 65,536 beyond 512 to 4,096" in found["text"]
        assert found["beyond"] == "true"


def test_an_update_that_was_not_measured_is_an_extrapolation_of_time_alone(browser_page: Page) -> None:
    fill(browser_page, ASKED, updates=1)
    assert "optimiser steps 1, measured at 0 only" in row(browser_page, "dense", "time")["text"]
    assert "extrapolation" not in row(browser_page, "dense", "peak")["text"]


def test_rounds_are_nothing_to_a_variant_without_hashing(browser_page: Page) -> None:
    fill(browser_page, {**ASKED, "n_hashes": 50})
    assert "n_hashes 50 beyond 1 to 4" in row(browser_page, "reformer", "time")["text"]
    assert "extrapolation" not in row(browser_page, "dense", "time")["text"]


@pytest.mark.parametrize("budget", ["1000", "0.000001"])
def test_the_verdict_goes_with_the_budget(browser_page: Page, budget: str) -> None:
    fill(browser_page, ASKED, budget=budget)
    text = browser_page.locator('tr[data-variant="dense"] td[data-of="budget"]').inner_text()
    assert text == ("✓ fits" if budget == "1000" else "✗ does not fit")


@pytest.mark.parametrize(
    ("end", "words"),
    [("high", "≈ fits, but not the whole interval"), ("low", "≈ does not fit, but part of the interval does")],
)
def test_a_budget_within_the_interval_neither_fits_nor_fails(browser_page: Page, end: End, words: str) -> None:
    one, everything = by_label(SMALL)["dense"], {**ASKED, "updates": 0}
    middle = (peak(one, everything, "value") + peak(one, everything, end)) / 2 / 2**30
    fill(browser_page, ASKED, budget=f"{middle:.6f}")
    assert browser_page.locator('tr[data-variant="dense"] td[data-of="budget"]').inner_text() == words


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("length", "", "length is empty"),
        ("length", "0", "length is 0: give 1 to"),
        ("d_model", "-5", "d_model is -5: give a whole number"),
        ("d_model", "1e3", "d_model is 1e3: give a whole number"),
        ("batch", "2.5", "batch is 2.5: give a whole number"),
        ("n_layers", "99999999999", "n_layers is 99999999999: give 1 to"),
        ("vocab_size", "<b>x</b>", "vocab_size is <b>x</b>: give a whole number"),
        ("budget", "0", "budget is 0: give GiB above 0"),
        ("budget", "much", "budget is much: give GiB above 0"),
    ],
)
def test_what_is_no_size_is_refused_at_its_field(browser_page: Page, name: str, text: str, fault: str) -> None:
    fill(browser_page, ASKED)
    browser_page.locator(f"#{name}").fill(text)
    computed(browser_page)
    assert fault in browser_page.locator(f"#{name}-fault").inner_text()
    assert browser_page.locator(f"#{name}").get_attribute("aria-invalid") == "true"
    assert browser_page.locator("#results table").count() == 0
    assert fault in browser_page.locator("#status").inner_text()
    fill(browser_page, ASKED)
    assert browser_page.locator(f"#{name}").get_attribute("aria-invalid") == "false"
    assert browser_page.locator("#results table").count() == 1


def test_a_hostile_machine_is_shown_as_text_and_computes_with_its_own_fits(browser_page: Page) -> None:
    shorter = {**ASKED, "chunk_len": 32}
    fill(browser_page, shorter, machine=HOSTILE)
    assert browser_page.title().startswith("What if")
    assert browser_page.locator("b").count() == 0
    one, everything = by_label(STRANGE)["reformer"], {**shorter, "updates": 0}
    found = row(browser_page, "reformer", "time")
    assert float(found["value"]) == pytest.approx(seconds(one, everything, "value"), rel=1e-9)


def test_a_chunk_length_is_asked_for_only_where_several_were_measured(browser_page: Page) -> None:
    fill(browser_page, ASKED)
    assert not browser_page.locator("#chunk_len").is_visible()
    assert browser_page.locator("#chunk_len-fixed").inner_text() == "64, measured at no other"
    fill(browser_page, ASKED, machine=HOSTILE)
    assert browser_page.locator("#chunk_len").is_visible()
    assert not browser_page.locator("#chunk_len-fixed").is_visible()


def test_every_field_is_reached_by_the_keyboard_and_has_a_label(browser_page: Page) -> None:
    fill(browser_page, ASKED, machine=HOSTILE)
    browser_page.locator("#machine").focus()
    reached = ["machine"]
    for _ in range(12):
        browser_page.keyboard.press("Tab")
        reached.append(str(browser_page.evaluate("document.activeElement.id")))
    assert reached == ["machine", *ASKED, "budget", "updates"]
    unlabelled = "[...document.querySelectorAll('input,select')].filter(one => !one.labels.length).length"
    assert browser_page.evaluate(unlabelled) == 0


def test_a_short_line_is_read_out_and_the_table_is_not(browser_page: Page) -> None:
    fill(browser_page, ASKED, budget="0.05")
    status = browser_page.locator("#status")
    assert status.get_attribute("role") == "status"
    peaks = [peak(one, {**ASKED, "updates": 0}, "value") for one in by_label(SMALL).values()]
    n_fitting = sum(one <= 0.05 * 2**30 for one in peaks)
    assert 0 < n_fitting < 4
    assert status.inner_text() == f"Length 2,048 on bench: {n_fitting} of 4 variants fit 0.05 GiB, by predictions."
    fill(browser_page, LARGE)
    assert status.inner_text().endswith(" fit 1 GiB, by predictions, 4 of them an extrapolation.")
    assert browser_page.locator("[aria-live]").count() == 0


def test_letters_typed_quickly_are_computed_once(browser_page: Page) -> None:
    fill(browser_page, ASKED)
    observe = "new MutationObserver(() => window.computed++).observe(results, {childList: true})"
    browser_page.evaluate(f"() => {{ window.computed = 0; {observe}; }}")
    browser_page.locator("#length").select_text()
    browser_page.locator("#length").press_sequentially("4096", delay=20)
    assert browser_page.locator("#results").get_attribute("aria-busy") == "true"
    computed(browser_page)
    assert row(browser_page, "dense", "peak")["text"]
    assert "Length 4,096" in browser_page.locator("#status").inner_text()
    assert browser_page.evaluate("window.computed") == 1


def test_the_table_can_be_scrolled_by_the_keyboard(browser_page: Page) -> None:
    fill(browser_page, ASKED)
    table = browser_page.locator("#results .scroll")
    assert (table.get_attribute("tabindex"), table.get_attribute("role")) == ("0", "region")
    assert table.get_attribute("aria-label")


def test_another_machine_brings_its_memory_and_its_sizes_but_leaves_what_was_typed(browser_page: Page) -> None:
    browser_page.reload()
    ours, theirs = what_if_machine(SMALL), what_if_machine(STRANGE)
    assert ours.gibibytes != theirs.gibibytes
    of = {one.name: {**one.usual, "budget": one.gibibytes} for one in (ours, theirs)}
    first = browser_page.locator("#machine option:checked").inner_text()
    (second,) = set(of) - {first}
    assert shown(browser_page) == of[first]
    browser_page.locator("#d_ff").fill("77")
    browser_page.locator("#machine").select_option(label=second)
    computed(browser_page)
    assert shown(browser_page) == {**of[second], "d_ff": 77}
    assert f"fit {of[second]['budget']} GiB" in browser_page.locator("#status").inner_text()
    browser_page.locator("#budget").fill("5")
    browser_page.locator("#machine").select_option(label=first)
    computed(browser_page)
    assert shown(browser_page) == {**of[first], "d_ff": 77, "budget": 5}


def shown(page: Page) -> dict[str, int]:
    """What stands in each field."""
    return {name: int(page.locator(f"#{name}").input_value()) for name in (*ASKED, "budget")}


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_every_number_beyond_the_measured_sizes_is_marked_in_words_that_can_be_seen(
    browser_page: Page, width: int
) -> None:
    browser_page.set_viewport_size({"width": width, "height": 800})
    fill(browser_page, LARGE, budget="1000")
    cells = browser_page.locator("#results td, #results li").all()
    assert len(cells) == 4 * len(LABELS) + 2
    for one in cells:
        mark = one.locator(".mark")
        assert mark.is_visible()
        assert mark.inner_text().startswith("extrapolation: ")
        box = mark.bounding_box()
        assert box is not None
        assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True)


def test_a_length_that_fits_is_marked_if_an_end_of_its_interval_lies_beyond(browser_page: Page) -> None:
    one, everything = by_label(SMALL)["lsh_only"], {**ASKED, "updates": 0}
    # The longest measured fits exactly: the low end of the peak leaves room for more.
    budget = peak(one, {**everything, "length": 4096}, "value") / 2**30 + 1e-6
    fill(browser_page, ASKED, budget=f"{budget:.6f}")
    found = row(browser_page, "lsh_only", "longest that fits")
    assert int(found["value"]) == 4096 < int(found["high"])
    assert f"length {int(found['high']):,} beyond 512 to 4,096" in found["text"]


@pytest.mark.parametrize("context", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
@pytest.mark.parametrize("budget", ["1", "0.05", "much"])
def test_all_text_can_be_told_from_what_is_behind_it(
    browser: Browser, page_file: Path, context: dict[str, Any], budget: str
) -> None:
    with opened(browser, page_file, **context) as found:
        fill(found.page, {**ASKED, "length": 8192}, budget=budget)
        texts = found.page.evaluate(COLOURS)
        assert len(texts) > 40
        faint = {text: pair for text, *pair in texts if contrast(*pair) < 4.5}
        assert faint == {}
        paper = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(paper) < 0.1) == (context is DARK)


COLOURS = """() => {
    const behind = (one) => {
        const colour = getComputedStyle(one).backgroundColor;
        return colour === 'rgba(0, 0, 0, 0)' ? behind(one.parentElement) : colour;
    };
    const texts = (one) => [...one.childNodes].filter(child => child.nodeType === 3);
    const ownText = (one) => one.value || texts(one).map(text => text.data.trim()).join('');
    return [...document.querySelectorAll('main, main *:not(script, noscript, option)')]
        .filter(one => one.checkVisibility() && ownText(one))
        .map(one => [ownText(one), getComputedStyle(one).color, behind(one)]);
}"""
"""Each text that is shown, its colour and the one behind it."""


def contrast(ink: str, paper: str) -> float:
    """As the Web Content Accessibility Guidelines have it: from 1 to 21, and 4.5 for text."""
    lighter, darker = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Of `rgb(1, 2, 3)`, from 0 to 1."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_is_that_of_known_pairs() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_is_no_wider_than_the_screen(browser_page: Page, width: int) -> None:
    browser_page.set_viewport_size({"width": width, "height": 800})
    fill(browser_page, LARGE, machine=HOSTILE)
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
