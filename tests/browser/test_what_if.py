"""The form computes what Python computes from the same fits."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from ablations.report.units import BYTES, SECONDS
from ablations.report.what_if import page as what_if
from tests.browser.opened import opened, started
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
SMALL = results("bench", chunks=(64,))
STRANGE = results(HOSTILE, chunks=(32, 64))
LABELS = ("dense", "reversible_only", "lsh_only", "reformer")


@pytest.fixture(scope="module")
def browser_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One page for all tests: each fills in the whole form."""
    path = tmp_path_factory.mktemp("what_if") / "what_if.html"
    path.write_text(what_if([SMALL, STRANGE]), encoding="utf-8")
    with started() as browser, opened(browser, path) as found:
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


def row(page: Page, label: str, of: str) -> dict[str, str]:
    """What a cell of the table holds, as numbers that no rounding has touched."""
    found: dict[str, str] = page.locator(f'tr[data-contender="{label}"] td[data-of="{of}"]').evaluate(
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
    text = browser_page.locator('tr[data-contender="dense"] td[data-of="budget"]').inner_text()
    assert text == ("✓ fits" if budget == "1000" else "✗ does not fit")


@pytest.mark.parametrize(
    ("end", "words"),
    [("high", "≈ fits, but not the whole interval"), ("low", "≈ does not fit, but part of the interval does")],
)
def test_a_budget_within_the_interval_neither_fits_nor_fails(browser_page: Page, end: End, words: str) -> None:
    one, everything = by_label(SMALL)["dense"], {**ASKED, "updates": 0}
    middle = (peak(one, everything, "value") + peak(one, everything, end)) / 2 / 2**30
    fill(browser_page, ASKED, budget=f"{middle:.6f}")
    assert browser_page.locator('tr[data-contender="dense"] td[data-of="budget"]').inner_text() == words


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
    assert fault in browser_page.locator(f"#{name}-fault").inner_text()
    assert browser_page.locator(f"#{name}").get_attribute("aria-invalid") == "true"
    assert browser_page.locator("#results table").count() == 0
    assert fault in browser_page.locator("#results").inner_text()
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
    assert browser_page.locator("#results").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_is_no_wider_than_the_screen(browser_page: Page, width: int) -> None:
    browser_page.set_viewport_size({"width": width, "height": 800})
    fill(browser_page, LARGE, machine=HOSTILE)
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
