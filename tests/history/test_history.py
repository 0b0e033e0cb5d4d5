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
from ablations.harness.record import Record
from ablations.harness.store import MachineResults
from ablations.history.entries import Entry, append, read
from ablations.history.page import render
from ablations.history.panels import HEIGHT, WIDTH, panels
from ablations.history.sweeps import entry_of
from tests.compare.folders import write
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


def test_what_is_appended_again_is_one_line_still(tmp_path: Path) -> None:
    path, first, second = tmp_path / "history.jsonl", entry(1, series={"s": 1.5}), entry(2, series={"s": 2.5})
    for one in (first, second, first):
        append(one, path)
    assert read(path) == (first, second)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b"])
def test_a_name_with_what_ends_a_line_elsewhere_is_read_as_it_was_written(separator: str, tmp_path: Path) -> None:
    one = entry(0, series={f"a{separator}b": 1.5})
    append(one, tmp_path / "history.jsonl")
    assert read(tmp_path / "history.jsonl") == (one,)


def test_an_edited_tree_is_told_from_its_commit(tmp_path: Path) -> None:
    clean, edited = entry(7, cells={"dense": 3}), entry(7, cells={"dense": 3}, dirty=True)
    for one in (clean, edited):
        append(one, tmp_path / "history.jsonl")
    (panel,) = panels(read(tmp_path / "history.jsonl"))
    assert [dot.commit for dot in panel.dots] == ["0000000", "0000000, modified"]


def test_a_line_from_before_edits_were_noted_is_read() -> None:
    old = '{"schema_version":1,"commit":"c","date":"d","torch":"2","cells":{"dense":3},"series":{}}'
    assert Entry.model_validate_json(old).dirty is False


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
    assert {name[name.rindex("(") :]: value for name, value in found.series.items()} == {
        name: median(values) for name, values in by_seed.items()
    }
    assert (found.commit, found.cells) == (machine.environment.commit, {})


def elsewhere(found: MachineResults, night: str, **changes: object) -> MachineResults:
    """The same records from another machine, of another night."""
    records = tuple(
        record.model_copy(update={"environment": record.environment.model_copy(update=changes), "started": night})
        for record in found.records
    )
    return found.model_copy(update={"records": records})


def names(machine: MachineResults, what: str) -> set[str]:
    return {name for name in entry_of(machine).series if name.endswith(what)}


def test_the_series_of_a_machine_go_on_when_its_like_measures_the_next_night() -> None:
    first = elsewhere(demo(), "2026-01-01", machine="processor-6-cores-a1b2", commit="1")
    second = elsewhere(demo(), "2026-01-02", machine="processor-6-cores-c3d4", commit="2")
    drawn = panels([entry_of(first), entry_of(second)])
    assert drawn
    assert {len(panel.dots) for panel in drawn} == {2}


@pytest.mark.parametrize("change", [{"processor": "Another 1"}, {"cores": 7}, {"accelerator": "GPU 1"}])
def test_times_of_other_hardware_are_other_series_and_exact_peaks_are_not(change: dict[str, object]) -> None:
    here, there = demo(), elsewhere(demo(), "2026-01-02", **change)
    assert names(here, "processor seconds").isdisjoint(names(there, "processor seconds"))
    assert names(here, "peak bytes") == names(there, "peak bytes") != set()


def test_peaks_of_an_allocator_are_series_of_its_gpu() -> None:
    def allocated(record: Record) -> Record:
        found = record.measurement
        if not isinstance(found, PeakBytes):
            return record
        return record.model_copy(
            update={"measurement": found.model_copy(update={"method": "cuda_max_memory_allocated"})}
        )

    machine = demo().model_copy(update={"records": tuple(map(allocated, demo().records))})
    found = [names(elsewhere(machine, "2026-01-02", accelerator=gpu), "peak bytes") for gpu in ("GPU 1", "GPU 2")]
    assert found[0]
    assert found[0].isdisjoint(found[1])


def test_an_edited_tree_s_records_are_no_part_of_its_commit_s_entry() -> None:
    edited = elsewhere(demo(), "2999-01-01", dirty=True).records
    some = tuple(record for record in edited if record.cell.experiment == "depth")
    machine = demo()
    found = entry_of(machine.model_copy(update={"records": (*machine.records, *some)}))
    assert found.dirty
    assert {name.partition("depth ")[1] for name in found.series} == {"depth "}


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
    assert not any("depth " in name for name in found.series)


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


def test_a_sweep_that_is_added_twice_is_one_line(tmp_path: Path) -> None:
    write(demo(), tmp_path / "results" / "bench")
    for _ in range(2):
        options = ("--add", str(tmp_path / "results"), "--reports", str(tmp_path / "reports"))
        assert invoked(str(tmp_path / "history.jsonl"), *options)[0] == 0
    assert read(tmp_path / "history.jsonl") == (entry_of(demo()),)


@pytest.mark.parametrize("blocked", ["history.html", "reports"])
def test_a_page_that_cannot_be_written_is_named_with_the_option(blocked: str, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    if blocked == "reports":
        reports.write_text("a file in the way")
    else:
        (reports / blocked).mkdir(parents=True)
    with pytest.raises(UserError, match=r"Cannot write .*history\.html: .* --reports"):
        render(stepping(), reports)


def test_the_command_refuses_a_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records in --add"):
        invoked(str(tmp_path / "history.jsonl"), "--add", str(tmp_path))
    assert not (tmp_path / "history.jsonl").exists()
