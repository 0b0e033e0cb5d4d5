"""The report in a real browser: nothing is fetched, charts and tables react, hostile text is text."""

import csv
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ablations.harness.cell import Cell
from ablations.harness.measurement import Energy, StepTimes
from ablations.harness.record import Record
from ablations.harness.store import MachineResults
from ablations.report.render import render
from ablations.report.svg import slug
from tests.browser.opened import DARK, DESK, PHONE, Opened, drawn, opened, started
from tests.report import records

ATTACK = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>&lt;b&gt;"
"""The last part must be shown as it stands, not as the signs that it stands for."""
NAMED = {part: f"{part} {ATTACK}" for part in ("machine", "processor", "title", "question", "error", "contender")}
"""Of everything that a report takes from elsewhere, so that each can be told from the others."""
CHART = f"{slug(NAMED['machine'])}-sequence_length-model-chart"
PLACES = ("dense", "reversible_only", "reformer", "dense_query_chunked", "dense_fused", NAMED["contender"])
"""Of the traces: a name that the suite does not know comes last."""
LEARNING = f"{slug(NAMED['machine'])}-learn_enwik8-model-learning-chart"


def with_energy(one: Record) -> Record:
    times = one.measurement
    if not isinstance(times, StepTimes):
        return one
    used = Energy(joules=7.0 * one.cell.length, steps=7, seconds=1.0)
    return one.model_copy(update={"measurement": times.model_copy(update={"energy": used, "energy_missing": None})})


def with_error(one: Record) -> Record:
    return one.model_copy(update={"status": "error", "reason": NAMED["error"]}) if one.status == "not_run" else one


def hostile_results() -> MachineResults:
    """The demonstration with energy, and a machine, its processor, a title, a question and an error that are markup."""
    demo = records.demo()
    here = demo.environment.model_copy(update={name: NAMED[name] for name in ("machine", "processor")})
    first, *others = demo.plan.experiments
    asked = first.model_copy(update={name: NAMED[name] for name in ("title", "question")})
    plan = demo.plan.model_copy(update={"experiments": (asked, *others)})
    found = tuple(with_error(with_energy(one)).model_copy(update={"environment": here}) for one in demo.records)
    return demo.model_copy(update={"environment": here, "plan": plan, "records": found})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = Cell.__dict__["contender"]
    with pytest.MonkeyPatch.context() as patch:
        # No config has such a name; another package's may have, so the name is given where reports ask for it.
        hostile = property(lambda cell: NAMED["contender"] if cell.config.variant == "lsh_only" else own.fget(cell))
        patch.setattr(Cell, "contender", hostile)
        return render([hostile_results()], tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def desk(browser: Browser, report: Path) -> Iterator[Opened]:
    with opened(browser, report, **DESK) as found:
        drawn(found.page, CHART)
        yield found


@pytest.fixture
def chart(desk: Opened) -> Page:
    """The chart over length, as it is at first."""
    page = desk.page
    page.reload()
    drawn(page, CHART)
    return page


def traces(page: Page, what: str, figure: str = CHART) -> list[object]:
    """A property of each trace as the plotting library holds it."""
    script = "([id, what]) => document.getElementById(id).querySelector('.plot')._fullData.map(one => one[what])"
    found = page.evaluate(script, [figure, what])
    assert isinstance(found, list)
    return found


def axis_type(page: Page, axis: str) -> object:
    script = "([id, axis]) => document.getElementById(id).querySelector('.plot')._fullLayout[axis].type"
    return page.evaluate(script, [CHART, axis])


def of_chart(page: Page, selector: str) -> str:
    return f"[id='{CHART}'] {selector}"


def place_of(page: Page, trace: int, point: int) -> tuple[float, float]:
    """Where a mark is in the window, to which it is scrolled."""
    x, y = page.evaluate(
        """([id, trace, point]) => {
            const plot = document.getElementById(id).querySelector('.plot');
            plot.scrollIntoView({block: 'center'});
            const mark = plot.querySelectorAll('.scatterlayer .trace')[trace].querySelectorAll('.point')[point];
            const box = mark.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }""",
        [CHART, trace, point],
    )
    return x, y


def hover(page: Page, trace: int, point: int) -> str:
    """The text that appears where the mouse is on a point."""
    place = place_of(page, trace, point)
    page.mouse.move(1, 1)
    page.mouse.move(*place)
    page.wait_for_selector(of_chart(page, ".hoverlayer .hovertext"))
    return "\n".join(page.locator(of_chart(page, ".hovertext tspan.line")).all_text_contents())


def test_the_page_asks_for_nothing_and_complains_of_nothing(desk: Opened) -> None:
    drawn(desk.page, LEARNING)
    assert [url for url in desk.requests if not url.startswith(("data:", "blob:"))] == []
    assert desk.messages == []


def test_a_chart_takes_the_place_of_the_figure_and_gives_it_back(chart: Page) -> None:
    static, swap = of_chart(chart, ".static"), of_chart(chart, ".swap")
    assert not chart.is_visible(static)
    chart.click(swap)
    assert chart.is_visible(of_chart(chart, ".static svg[role=img]"))
    assert not chart.is_visible(of_chart(chart, ".plot"))
    chart.click(swap)
    assert chart.is_visible(of_chart(chart, ".plot"))


def test_pointing_at_a_mark_tells_the_exact_value_and_its_evidence(chart: Page) -> None:
    said = hover(chart, PLACES.index("reformer"), 1)
    cells = [one for one in records.demo().plan.experiments[0].cells if one.config.variant == "reformer"]
    ids = {one.id for one in cells if one.length == 1024 and one.mode == "forward"}
    assert "reformer, length=1024" in said
    assert re.search(r"exactly 0\.0\d+ s\)", said)
    assert "95 % interval" in said
    assert "18 in 2 processes" in said
    assert all(one in said for one in ids)


def test_a_variant_is_hidden_and_shown_by_its_box(chart: Page) -> None:
    box = chart.get_by_label("dense", exact=True).first
    assert traces(chart, "visible") == [True] * 6
    box.focus()
    chart.keyboard.press("Space")
    assert traces(chart, "visible")[0] is False
    chart.keyboard.press("Space")
    assert traces(chart, "visible") == [True] * 6


def test_scales_change_from_logarithmic_to_linear_and_back(chart: Page) -> None:
    for axis, name in (("xaxis", "log across"), ("yaxis", "log up")):
        button = chart.locator(of_chart(chart, "button")).get_by_text(name)
        assert axis_type(chart, axis) == "log"
        button.click()
        assert (axis_type(chart, axis), button.get_attribute("aria-pressed")) == ("linear", "false")
        button.click()
        assert (axis_type(chart, axis), button.get_attribute("aria-pressed")) == ("log", "true")


def test_every_quantity_with_records_can_be_chosen_in_every_mode(chart: Page) -> None:
    quantity, mode = of_chart(chart, "select >> nth=0"), of_chart(chart, "select >> nth=1")
    offered = chart.locator(f"{quantity} >> option").all_inner_texts()
    assert offered == ["time", "memory", "tokens per second", "energy"]
    chart.select_option(quantity, "energy")
    chart.select_option(mode, "forward + backward")
    assert traces(chart, "y")[1] == [float(length) for length in (512, 1024, 2048, 4096)]
    chart.select_option(quantity, "memory")
    assert not chart.is_visible(mode)


def test_zooming_narrows_both_axes_and_resetting_widens_them(chart: Page) -> None:
    def width() -> float:
        script = "id => document.getElementById(id).querySelector('.plot')._fullLayout.xaxis.range"
        low, high = chart.evaluate(script, CHART)
        return float(high) - float(low)

    before = width()
    chart.get_by_role("button", name="zoom in").first.click()
    assert width() == pytest.approx(before / 2)
    chart.locator(of_chart(chart, "button")).get_by_text("reset").click()
    assert width() == pytest.approx(before)


def test_learning_curves_have_a_trace_per_seed_and_a_view_per_cost(desk: Opened) -> None:
    drawn(desk.page, LEARNING)
    assert len(traces(desk.page, "y", LEARNING)) == 4 * 2 - 1
    offered = desk.page.locator(f"[id='{LEARNING}'] select >> nth=0 >> option").all_inner_texts()
    assert offered == ["against steps", "against seconds", "against memory"]


def test_a_table_is_sorted_by_what_its_numbers_are(chart: Page) -> None:
    table = chart.locator("figure.table", has_text="Time per step, forward + backward").locator("table").first
    heading = table.locator("th", has_text="time per step")
    heading.locator("button").focus()
    chart.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    column = [one.inner_text() for one in table.locator("tbody tr td:nth-child(4)").all()]
    seconds = [float(text.split()[0]) * {"ms": 1e-3, "s": 1.0}[text.split()[1]] for text in column if text[0].isdigit()]
    assert len(seconds) > 20
    assert seconds == sorted(seconds)
    assert {text.split()[1] for text in column if text[0].isdigit()} == {"ms", "s"}
    assert column[-1] == "out of memory"
    chart.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert table.locator("tbody tr td:nth-child(4)").last.inner_text() == "out of memory"


def test_a_table_is_copied_as_csv(chart: Page) -> None:
    chart.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = chart.locator("figure.table", has_text="Time per step, forward + backward").first
    figure.locator("button.copy").click()
    figure.get_by_role("status").filter(has_text="copied").wait_for()
    found = list(csv.reader(chart.evaluate("navigator.clipboard.readText()").splitlines()))
    rows = figure.locator("table").first.locator("tr")
    assert len(found) == rows.count() > 20
    assert found[0] == rows.first.locator("th").all_inner_texts()
    assert any(ATTACK in cell for row in found for cell in row)


def test_where_the_clipboard_is_closed_the_csv_is_shown_to_be_copied(chart: Page) -> None:
    chart.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('closed')); }")
    figure = chart.locator("figure.table").first
    figure.locator("button.copy").click()
    assert figure.locator("textarea.csv").input_value().count("\n") == figure.locator("table tr").count()
    assert figure.get_by_role("status").inner_text() in ("copied", "selected below")


@pytest.mark.parametrize(
    "text", ["-3", "-0.479 (-0.489 to -0.422)", "-0.0 %", "-2.4e-08", "-1,234", "-0.5 to 1.25 ms", "+4.5 MiB † [12]"]
)
def test_a_negative_result_is_copied_as_it_stands(chart: Page, text: str) -> None:
    assert copied(chart, text) == text


@pytest.mark.parametrize(
    "text",
    ["=1+1", "@SUM(A1)", "-1+cmd|' /C calc'!A0", "-1 +2", "-2 -3", "-1/2", "-A1", "+SUM(A1:A3)", "-1 A1", "-1%*2"],
)
def test_what_a_spreadsheet_might_compute_is_copied_as_text(chart: Page, text: str) -> None:
    assert copied(chart, text) == f"'{text}"


def copied(page: Page, text: str) -> str:
    """A cell of this text, as it comes out of a table that is copied."""
    script = """text => {
        const table = element('table');
        table.insertRow().insertCell().textContent = text;
        return csvOf(table);
    }"""
    ((found,),) = csv.reader([page.evaluate(script, text).strip()])
    return found


@pytest.mark.parametrize(
    ("texts", "is_sorted"),
    [
        (["10 ms", "out of memory", "9 ms"], ["9 ms", "10 ms", "out of memory"]),
        (["fit", "out of memory", "error"], ["error", "fit", "out of memory"]),
    ],
)
def test_a_column_without_a_number_is_sorted_by_its_words(chart: Page, texts: list[str], is_sorted: list[str]) -> None:
    script = """texts => {
        const table = element('table', { innerHTML: '<thead><tr><th>any</th></tr></thead><tbody></tbody>' });
        for (const text of texts) {
            const cell = table.tBodies[0].insertRow().insertCell();
            Object.assign(cell, { className: 'number', textContent: text });
            if (/^[0-9]/.test(text)) cell.dataset.value = parseFloat(text);
        }
        makeSortable(table);
        table.querySelector('button').click();
        return [...table.tBodies[0].rows].map(row => row.textContent);
    }"""
    assert chart.evaluate(script, texts) == is_sorted


def told(page: Page) -> str:
    """What the line below the chart says."""
    return page.locator(of_chart(page, ".mark")).inner_text()


def test_the_arrow_keys_walk_over_the_marks_that_are_shown(chart: Page) -> None:
    chart.get_by_label("reversible_only", exact=True).first.uncheck()
    plot = chart.locator(of_chart(chart, ".plot"))
    plot.focus()
    assert (plot.get_attribute("role"), told(chart)) == ("application", "")
    places = []
    for key in (
        "ArrowRight",
        "ArrowRight",
        "ArrowDown",
        "ArrowRight",
        "ArrowRight",
        "ArrowRight",
        "ArrowUp",
        "ArrowUp",
    ):
        chart.keyboard.press(key)
        places.append(told(chart).split(" · ")[0])
    assert places == [
        # From the first mark along the line, on to the next that is shown, to its end, and round to the last.
        *("dense, length=512", "dense, length=1024"),
        *("reformer, length=1024", "reformer, length=2048", "reformer, length=4096", "reformer, length=4096"),
        *("dense, length=2048", f"{NAMED['contender']}, length=2048"),
    ]


def test_what_the_keys_reach_is_what_the_mouse_reaches(chart: Page) -> None:
    pointed = told_by_hover(chart, PLACES.index("dense"), 1)
    chart.reload()
    drawn(chart, CHART)
    chart.locator(of_chart(chart, ".plot")).focus()
    for _ in range(2):
        chart.keyboard.press("ArrowRight")
    assert told(chart) == pointed
    assert "exactly 0.0" in pointed
    assert re.search(r"cells [0-9a-f]{8,} [0-9a-f]{8,}$", pointed)
    assert chart.locator(of_chart(chart, ".hoverlayer .hovertext")).count() == 1


def told_by_hover(page: Page, trace: int, point: int) -> str:
    hover(page, trace, point)
    return told(page)


def test_a_tap_on_a_mark_writes_its_words_below_the_chart(browser: Browser, report: Path) -> None:
    with opened(browser, report, **PHONE) as found:
        drawn(found.page, CHART)
        found.page.touchscreen.tap(*place_of(found.page, PLACES.index("reformer"), 2))
        found.page.wait_for_function("id => document.getElementById(id).querySelector('.mark').textContent", arg=CHART)
        assert told(found.page).startswith("reformer, length=2048 · ")
        assert found.messages == []


BROKEN = {
    "no JSON": "[{",
    "no views": "[]",
    "no points": '[{"quantity":"time","mode":"m","x":{},"y":{},"traces":[null]}]',
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_chart_that_cannot_be_drawn_leaves_its_figure_and_the_charts_after_it(
    browser: Browser, report: Path, tmp_path: Path, data: str
) -> None:
    opening = '<script type="application/json">'
    before, first, *others = report.read_text().split(opening)
    broken = tmp_path / "index.html"
    broken.write_text(opening.join([before, data + first[first.index("</script>") :], *others]))
    with opened(browser, broken, **DESK) as found:
        drawn(found.page, LEARNING)
        assert len(traces(found.page, "y", LEARNING)) == 4 * 2 - 1
        found.page.evaluate("id => document.getElementById(id).scrollIntoView()", CHART)
        assert found.page.is_visible(of_chart(found.page, ".static svg[role=img]"))
        assert not found.page.is_visible(of_chart(found.page, ".plot"))
        assert not found.page.is_visible(of_chart(found.page, ".swap"))
        assert "could not be drawn" in found.page.inner_text(of_chart(found.page, "> .note"))


def test_without_a_library_that_starts_every_figure_stays(browser: Browser, report: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "index.html"
    damaged.write_text(re.sub(r'(id="plotting-library">)[^<]{1000}', r"\1", report.read_text()))
    with opened(browser, damaged, **DESK) as found:
        for name in (CHART, LEARNING):
            found.page.evaluate("id => document.getElementById(id).closest('section').scrollIntoView()", name)
            said = found.page.locator(f"[id='{name}'] > .note")
            said.wait_for()
            assert "could not be drawn" in said.inner_text()
            assert found.page.is_visible(f"[id='{name}'] .static svg[role=img]")


@pytest.mark.parametrize("name", ["DecompressionStream", "IntersectionObserver"])
def test_where_the_browser_cannot_unpack_the_library_figures_stay(browser: Browser, report: Path, name: str) -> None:
    with opened(browser, report, before=f"delete window.{name}", **DESK) as found:
        page = found.page
        page.evaluate("id => document.getElementById(id).scrollIntoView()", CHART)
        assert page.is_visible(of_chart(page, ".static svg[role=img]"))
        assert not page.is_visible(of_chart(page, ".swap"))
        assert page.locator("th button:visible").count() > 0
        assert found.messages == []


def test_markup_in_names_is_shown_as_text(desk: Opened) -> None:
    page = desk.page
    page.reload()
    drawn(page, CHART)
    # A long line is wrapped between words.
    hovered = hover(page, PLACES.index(NAMED["contender"]), 1)
    assert NAMED["contender"].replace(" ", "") in "".join(hovered.split())
    assert NAMED["contender"] in page.inner_text(of_chart(page, ".variants"))
    assert NAMED["contender"] in told(page)
    assert NAMED["machine"] == page.inner_text("h2")
    assert NAMED["title"] == page.inner_text("section.experiment h3 >> nth=0")
    assert NAMED["question"] == page.inner_text("p.question >> nth=0")
    assert NAMED["processor"] in page.inner_text("dl >> nth=0")
    assert NAMED["error"] in page.locator("tr.gap td").all_text_contents()
    assert page.title() == "Reformer ablations"
    assert page.locator("img").count() == 0
    assert desk.messages == []


def test_markup_in_names_is_text_in_the_markdown_too(report: Path) -> None:
    written = (report.parent / "index.md").read_text()
    assert set(re.findall(r"<[^>]*>?", written)) <= {"<code>", "</code>"}
    assert all(name in html.unescape(written) for name in NAMED.values())


@pytest.mark.parametrize("context", [DESK, PHONE, DARK], ids=["desk", "phone", "dark"])
def test_nothing_stands_outside_the_window_and_text_can_be_told_from_the_page(
    browser: Browser, report: Path, context: dict[str, Any]
) -> None:
    with opened(browser, report, **context) as found:
        drawn(found.page, CHART)
        width, window = found.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= window == context["viewport"]["width"]
        ink, paper = found.page.evaluate(
            "['color', 'backgroundColor'].map(one => getComputedStyle(document.body)[one])"
        )
        assert abs(brightness(ink) - brightness(paper)) > 150
        lines = [one["color"] for one in traces(found.page, "line")]  # type: ignore[index]
        assert all(abs(brightness(line) - brightness(paper)) > 40 for line in lines)
        assert found.messages == []


def brightness(colour: str) -> float:
    """From 0 to 255, of `rgb(1, 2, 3)` or `#010203`."""
    if colour.startswith("#"):
        parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    else:
        parts = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_without_scripts_figures_and_tables_are_there(browser: Browser, report: Path) -> None:
    with opened(browser, report, **DESK, java_script_enabled=False) as found:
        assert found.page.locator(of_chart(found.page, ".static svg[role=img]")).first.is_visible()
        assert not found.page.locator("button:visible").count()
