"""The whole report: complete, escaped, and the same bytes every time."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ablations.harness import store
from ablations.harness.errors import UserError
from ablations.harness.store import MachineResults, PlannedExperiment
from ablations.report.pages import machine_part
from ablations.report.render import render
from ablations.report.templating import markdown, script_data
from ablations.suite import chosen

from . import contenders, records

HOSTILE = "<script>alert(1)</script> | x\n# y `z` [a](b) *c* & \"d\" 'e'"


def two_machines() -> list[MachineResults]:
    cells = records.grid("depth", variants=records.CORNERS, n_layers=(1, 2, 4))
    return [
        records.machine({"depth": cells}, where=records.environment(name, processor=f"Processor of {name}"))
        for name in ("bench.a", "bench:a")
    ]


@pytest.fixture(scope="module")
def demo_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render([records.demo()], tmp_path_factory.mktemp("reports")).parent


@pytest.fixture(scope="module")
def pair_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(two_machines(), tmp_path_factory.mktemp("pair")).parent


def contents(reports: Path) -> dict[str, bytes]:
    return {path.relative_to(reports).as_posix(): path.read_bytes() for path in reports.rglob("*") if path.is_file()}


def ids(html: str) -> list[str]:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if name == "id")

    Reader().feed(html)
    return found


def test_the_page_and_its_markdown_name_every_experiment(demo_report: Path) -> None:
    for name in ("index.html", "index.md"):
        text = (demo_report / name).read_text()
        for experiment in records.demo().plan.experiments:
            assert experiment.title in text
            assert experiment.question in text


def scripts(html: str) -> list[tuple[str, str]]:
    """Type and content of every script; a `<script` that a parser does not see as one is not among them."""
    found: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "script":
                found.append((dict(attrs).get("type") or "", ""))

        def handle_data(self, data: str) -> None:
            if self.lasttag == "script" and data.strip():
                found[-1] = (found[-1][0], found[-1][1] + data)

        def handle_endtag(self, tag: str) -> None:
            self.lasttag = ""

    Reader().feed(html)
    return found


def test_the_page_needs_nothing_from_elsewhere(demo_report: Path) -> None:
    html = (demo_report / "index.html").read_text()
    assert "default-src 'none'" in html
    assert "<link" not in html
    assert re.findall(r"(?:src|href)=\"(?!#)([^\"]*)", html) == ["what_if.html"], "the page beside it, and no other"
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"@import", html)


def test_the_only_scripts_are_the_pages_own_data_and_the_plotting_library(demo_report: Path) -> None:
    found = scripts((demo_report / "index.html").read_text())
    assert [kind for kind, _ in found] == ["application/json"] * 4 + ["application/octet-stream", ""]
    assert all(json.loads(text) for kind, text in found if kind == "application/json")
    library = gzip.decompress(base64.b64decode(found[-2][1]))
    assert library.lstrip().startswith(b"/**\n* plotly.js")


def test_a_page_without_charts_does_not_carry_the_plotting_library(tmp_path: Path) -> None:
    page = render([records.machine({"ceilings": [contenders.ceiling_cell()]})], tmp_path)
    assert [kind for kind, _ in scripts(page.read_text())] == [""]
    assert page.stat().st_size < 200_000


def test_data_in_a_script_cannot_end_it_and_reads_back_the_same() -> None:
    text = "</script><script>alert(1)</script><!-- & \u2028\u2029"
    safe = script_data(json.dumps(text, ensure_ascii=False))
    assert not re.search("[<>&\u2028\u2029]", safe)
    assert json.loads(safe) == text


def test_each_experiment_has_its_answer_and_how_it_was_made(demo_report: Path) -> None:
    html, text = (demo_report / "index.html").read_text(), (demo_report / "index.md").read_text()
    for experiment in records.demo().plan.experiments:
        section = html[html.index(f">{experiment.title}</h3>") :].split("</section>")[0]
        found = re.search(r'class="answer">([^<]*\d[^<]*(?:interval|exact|range)[^<]*n = \d[^<]*)<', section)
        assert found
        in_markdown = text[text.index(f"### {experiment.title}") :].split("\n### ")[0]
        assert f"\n\n**{found[1]}**\n" in in_markdown
        for form in (section, in_markdown):
            assert f"<code>python run_all.py --profile cpu --only {experiment.name}</code>" in form
            assert "testbench-cpu: Planted Processor 9000" in form
            assert "0123abcd4567" in form


def command(experiment: PlannedExperiment) -> str:
    results = records.demo()
    results = results.model_copy(update={"plan": results.plan.model_copy(update={"experiments": (experiment,)})})
    (part,) = machine_part(results, "m").experiments
    return dict(part.made)["Command"]


def test_the_command_has_the_options_that_the_cells_came_from() -> None:
    plain = records.planned("depth", records.grid("depth", seeds=(0,)))
    assert command(plain) == "python run_all.py --profile cpu --only depth"
    axes = plain.model_copy(update={"axes": ("length=512,1024", "n_hashes=3")})
    assert command(axes).endswith("--only depth --axis length=512,1024 --axis n_hashes=3")
    budget = plain.model_copy(update={"memory_budget": "900MiB", "axes": ("length=a b",)})
    assert command(budget).endswith("--only depth --axis 'length=a b' --memory-budget 900MiB")


def test_ceilings_have_the_command_of_any_run_since_no_experiment_has_their_name() -> None:
    ceilings = records.planned("ceilings", (contenders.ceiling_cell(),))
    assert command(ceilings) == "python run_all.py --profile cpu"
    with pytest.raises(UserError):
        chosen(["ceilings"], "cpu")


def test_the_markdown_shows_every_figure_that_was_written(demo_report: Path) -> None:
    shown = set(re.findall(r"\]\((figures/[^)]*)\)", (demo_report / "index.md").read_text()))
    written = {f"figures/{path.name}" for path in (demo_report / "figures").iterdir()}
    assert shown == written
    assert len(written) == 3 + 2 + 2 + 1


def test_failures_and_missing_cells_are_in_both_forms(demo_report: Path) -> None:
    for name in ("index.html", "index.md"):
        text = (demo_report / name).read_text()
        assert "the process reached its limit of 4.00 GiB" in text
        assert "not run yet" in text
        assert "the data set enwik8 is not here" in text
        assert "302 planned: 294 ok, 4 out of memory, 1 not run, 3 missing" in text


def test_both_forms_have_the_same_tables(demo_report: Path) -> None:
    html, text = (demo_report / "index.html").read_text(), (demo_report / "index.md").read_text()
    rows_in_html = len(re.findall("<tr[ >]", html)) - html.count("<thead>")
    rows_in_markdown = len(re.findall(r"^\| (?!---)", text, flags=re.MULTILINE)) - html.count("<thead>")
    assert rows_in_html == rows_in_markdown > 100


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head(demo_report: Path) -> None:
    width = 0
    for line in (demo_report / "index.md").read_text().splitlines():
        if not line.startswith("|"):
            width = 0
        elif width:
            assert line.count("|") == width
        else:
            width = line.count("|")


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    cells = records.grid("depth", variants=("dense",), n_layers=(1, 2, 4))
    results = records.machine(
        {"depth": cells},
        lambda cell: ("error", HOSTILE) if cell.config.n_layers == 4 else ("ok", ""),
        where=records.environment(f"host {HOSTILE}", processor=HOSTILE, system=HOSTILE),
    )
    page = render([results], tmp_path).read_text()
    text = (tmp_path / "index.md").read_text()
    assert all("alert" not in text for kind, text in scripts(page) if kind == "")
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; | x" in page
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &#124; x # y &#96;z&#96; &#91;a&#93;(b) &#42;c&#42; &amp;" in text
    assert len({path.name for path in (tmp_path / "figures").iterdir()}) == 2


def test_markdown_leaves_names_readable() -> None:
    assert markdown("dense_query_chunked at n_layers=3, 2 KiB") == "dense_query_chunked at n_layers=3, 2 KiB"
    assert markdown("_x_") == "&#95;x&#95;"


def test_rendering_twice_gives_the_same_bytes(pair_report: Path, tmp_path: Path) -> None:
    render(two_machines()[::-1], tmp_path)
    assert contents(tmp_path) == contents(pair_report)


def test_results_read_back_from_their_folder_give_the_same_bytes(pair_report: Path, tmp_path: Path) -> None:
    for number, results in enumerate(two_machines()):
        folder = tmp_path / "results" / f"machine-{number}"
        folder.mkdir(parents=True)
        (folder / "machine.json").write_text(results.environment.model_dump_json())
        (folder / "plan.json").write_text(results.plan.model_dump_json())
        lines = "".join(record.model_dump_json() + "\n" for record in results.records)
        (folder / "depth.jsonl").write_text(lines)
    render(store.load_results(tmp_path / "results"), tmp_path / "reports")
    assert contents(tmp_path / "reports") == contents(pair_report)


def test_a_fresh_process_gives_the_same_bytes_without_loading_torch(pair_report: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2]); "
        f"from {__package__} import test_render; "
        "test_render.render(test_render.two_machines(), pathlib.Path(sys.argv[1])); "
        "assert 'torch' not in sys.modules"
    )
    above = Path(__file__).parents[__package__.count(".") + 1]
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(above)],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        timeout=120,
    )
    assert contents(tmp_path) == contents(pair_report)


def test_two_machines_stand_on_one_page_without_sharing_an_id(pair_report: Path) -> None:
    found = ids((pair_report / "index.html").read_text())
    assert len(found) == len(set(found)) > 100
    assert len(list((pair_report / "figures").iterdir())) == 2 * 2


def test_both_machines_are_described(pair_report: Path) -> None:
    page = (pair_report / "index.html").read_text()
    assert "Processor of bench.a" in page
    assert "Processor of bench:a" in page


def test_records_of_several_commits_are_called_out(tmp_path: Path) -> None:
    results = two_machines()[0]
    other = records.environment(commit="fedc9876", dirty=True, packages={"torch": "2.12.0", "numpy": "2.3.1"})
    changed = [record.model_copy(update={"environment": other}) for record in results.records[:5]]
    mixed = results.model_copy(update={"records": (*changed, *results.records[5:])})
    page = render([mixed], tmp_path).read_text()
    assert "The records come from several states of the code" in page
    assert "fedc9876, modified (5 records)" in page
    assert "Records differ in torch: 2.11.0 (67 records); 2.12.0 (5 records)." in page


def test_records_outside_the_plan_are_counted_and_not_mixed_in(tmp_path: Path) -> None:
    cells = records.grid("depth", variants=("dense",), n_layers=(1, 2, 4))
    results = records.machine({"depth": cells})
    stray = records.record(records.cell("depth", "dense", records.STEP_WORKLOADS[0], n_layers=7))
    page = render([results.model_copy(update={"records": (*results.records, stray)})], tmp_path).read_text()
    assert "1 further record of cells outside this plan" in page
    assert "18 planned: 18 ok" in page


def test_a_machine_without_records_shows_all_its_cells_as_missing(tmp_path: Path) -> None:
    first, second = two_machines()
    page = render([first, second.model_copy(update={"records": ()})], tmp_path).read_text()
    assert page.count("No figure: no cell of this experiment has a result yet.") == 1
    assert "72 planned: 72 missing" in page


def test_an_experiment_with_results_but_nothing_to_draw_says_nothing_of_figures(tmp_path: Path) -> None:
    render([records.machine({"ceilings": [contenders.ceiling_cell()]})], tmp_path)
    for name in ("index.html", "index.md"):
        text = (tmp_path / name).read_text()
        assert "Ceilings of this machine" in text
        assert "No figure" not in text


@pytest.mark.parametrize("results", [[], [records.machine({"depth": records.grid("depth")}, lambda _: None)]])
def test_without_any_record_the_user_is_told_what_to_run(results: list[MachineResults], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run_all\.py"):
        render(results, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write the report"):
        render(two_machines()[:1], tmp_path / "file")


def test_figures_no_longer_drawn_are_removed_and_other_files_left_alone(tmp_path: Path) -> None:
    cells = records.grid("depth", variants=("dense",), n_layers=(1, 2, 4))
    render([records.machine({"old_name": cells})], tmp_path)
    foreign = tmp_path / "figures" / "mine.svg"
    foreign.write_text("<svg/>")
    render([records.machine({"depth": cells})], tmp_path)
    left = {path.name for path in (tmp_path / "figures").iterdir()}
    assert left == {"mine.svg", "testbench-cpu-depth-time.svg", "testbench-cpu-depth-memory.svg"}


def test_an_experiment_over_an_axis_the_report_has_no_words_for_renders(tmp_path: Path) -> None:
    wide = [
        cell.model_copy(update={"config": cell.config.model_copy(update={"d_ff": d_ff})})
        for d_ff in (64, 128, 256)
        for cell in records.grid("widths", variants=("dense", "reformer"))
    ]
    page = render([records.machine({"widths": wide})], tmp_path).read_text()
    assert "Time per step against d_ff" in page
    assert "slope per unit of d_ff" in page
