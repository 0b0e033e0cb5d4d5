"""The history's file, the lines that sweeps add to it, and its page."""

import re
from pathlib import Path
from statistics import median

import pytest
import typer
from typer.testing import CliRunner

from ablations.commands.history import history
from ablations.harness.errors import UserError
from ablations.harness.measurement import PeakBytes, StepTimes
from ablations.history.entries import Entry, append, read
from ablations.history.page import render
from ablations.history.panels import HEIGHT, WIDTH, panels
from ablations.history.sweeps import entry_of
from tests.report.records import demo

HOSTILE = "<script>alert('x')</script>&\"]]>"


def entry(number: int, **values: object) -> Entry:
    fields: dict[str, object] = {"commit": f"{number:040x}", "date": f"2026-01-{number + 1:02}", "torch": "2.13.0"}
    return Entry.model_validate(fields | values)


def stepping(count: int = 20, at: int = 12) -> list[Entry]:
    values = [10_000_000 + 1000 * (number % 3) + (400_000 if number >= at else 0) for number in range(count)]
    return [entry(number, cells={"dense": value}) for number, value in enumerate(values)]


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    entries = (*stepping(), entry(20, commit=None, series={"seconds": 0.5}))
    for one in entries:
        append(one, tmp_path / "history.jsonl")
    assert read(tmp_path / "history.jsonl") == entries


@pytest.mark.parametrize(
    ("line", "field"),
    [("{", "the line"), ('{"schema_version":2}', "schema_version"), ('{"torch":"2"}', "commit")],
)
def test_a_line_that_is_no_entry_is_named(line: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append(entry(0), path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=rf"line 2 is no entry of a history: {field}"):
        read(path)


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UserError, match="has no line"):
        read(tmp_path / "empty.jsonl")


def test_a_panel_says_where_its_series_steps_and_draws_the_step_between_its_neighbours() -> None:
    (panel,) = panels(stepping())
    (step,) = panel.steps
    assert panel.dots[11].x < step.x < panel.dots[12].x
    assert step.words.startswith("+4.0")
    assert panel.dots[12].commit in step.words


def test_larger_values_are_drawn_higher_and_all_within_the_drawing() -> None:
    values = [3, 1, 2, 50, 49]
    (panel,) = panels([entry(number, cells={"dense": value}) for number, value in enumerate(values)])
    heights = [-dot.y for dot in panel.dots]
    assert [sorted(values).index(value) for value in values] == [sorted(heights).index(height) for height in heights]
    assert all(0 <= dot.x <= WIDTH and 0 <= dot.y <= HEIGHT for dot in panel.dots)


def test_a_series_that_some_entries_lack_has_a_panel_of_those_that_have_it() -> None:
    first, second = panels(
        [entry(0, cells={"dense": 1}), entry(1, series={"seconds": 2.5}), entry(2, cells={"dense": 3})]
    )
    assert (first.name, [dot.value for dot in first.dots]) == ("dense: instructions", ["1", "3"])
    assert (second.name, [dot.value for dot in second.dots]) == ("seconds", ["2.5"])


def test_a_sweep_s_entry_has_the_median_of_every_cell_over_its_seeds() -> None:
    machine = demo()
    found = entry_of(machine)
    by_seed: dict[str, list[float]] = {}
    for record in machine.records:
        alike, of = record.cell.model_copy(update={"seed": 0}).id, record.measurement
        if isinstance(of, StepTimes):
            by_seed.setdefault(f"({alike}): processor seconds", []).append(median(of.cpu_seconds))
        if isinstance(of, PeakBytes):
            by_seed.setdefault(f"({alike}): peak bytes", []).append(of.peak_bytes)
    assert {name[name.index("(") :]: value for name, value in found.series.items()} == {
        name: median(values) for name, values in by_seed.items()
    }
    assert (found.commit, found.cells) == (machine.environment.commit, {})


def test_older_commits_records_are_no_part_of_a_sweep_s_entry() -> None:
    machine = demo()
    old = machine.records[0]
    environment = old.environment.model_copy(update={"commit": "older"})
    records = tuple(
        record.model_copy(update={"environment": environment, "started": "2000-01-01T00:00:00+00:00"})
        if record.cell.experiment == "depth"
        else record
        for record in machine.records
    )
    found = entry_of(machine.model_copy(update={"records": records}))
    assert found.series
    assert not any(": depth " in name for name in found.series)


def test_a_sweep_without_times_and_peaks_is_refused() -> None:
    machine = demo()
    learnt = tuple(record for record in machine.records if record.cell.experiment == "learn_enwik8")
    with pytest.raises(UserError, match="no times and no peaks"):
        entry_of(machine.model_copy(update={"records": learnt}))


def test_the_page_shows_hostile_text_as_text_and_asks_for_nothing(tmp_path: Path) -> None:
    page = render([entry(0, commit=HOSTILE, date=HOSTILE, series={HOSTILE: 1.0})], tmp_path).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert not re.search(r"(src|href)=|url\(|@import|https?:", page)


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (render(stepping(), tmp_path / name).read_bytes() for name in ("first", "second"))
    assert first == second


def invoked(*options: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(history)
    done = CliRunner().invoke(app, options)
    if isinstance(done.exception, UserError):
        raise done.exception
    return done.exit_code, done.output


def test_the_command_draws_the_page(tmp_path: Path) -> None:
    for one in stepping():
        append(one, tmp_path / "history.jsonl")
    code, said = invoked(str(tmp_path / "history.jsonl"), "--reports", str(tmp_path / "reports"))
    assert (code, said) == (0, f"History: {tmp_path / 'reports' / 'history.html'}\n")
    assert "steps: +4.0" in (tmp_path / "reports" / "history.html").read_text()


def test_the_command_refuses_a_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records in --add"):
        invoked(str(tmp_path / "history.jsonl"), "--add", str(tmp_path))
    assert not (tmp_path / "history.jsonl").exists()
