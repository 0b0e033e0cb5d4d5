"""The whole export: complete, repeatable, and careful with what stands in the folder."""

import itertools
import sys
from importlib import util
from pathlib import Path

import pytest
import typer

from ablations import cli
from ablations.commands.export import export
from ablations.export.folder import MARK, write
from ablations.harness import store
from ablations.harness.errors import UserError
from ablations.harness.store import MachineResults
from tests.report import records

QUICK = ("--format", "csv", "--format", "bibtex")
"""Formats that draw nothing."""


def small(name: str) -> MachineResults:
    cells = records.grid("depth", variants=("dense",), workloads=records.STEP_WORKLOADS[1:], n_layers=(1, 2))
    return records.machine({"depth": cells}, where=records.environment(name))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("bench-a", "bench-b"):
        machine, folder = small(name), tmp_path / "results" / name
        folder.mkdir(parents=True)
        store.record_plan(machine.plan, machine.environment, folder)
        for record in machine.records:
            store.append(record, folder)
    return tmp_path / "results"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of the command, as the program gives it."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command()(export)
    monkeypatch.setattr(cli, "app", alone)
    monkeypatch.setattr(sys, "argv", ["run_all.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_holds_every_form_of_everything_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    assert run(monkeypatch, tmp_path / "out", "--results", results, "--machine", "bench-a") == 0
    names = contents(tmp_path / "out").keys()
    assert {f"{one}.{form}" for one in ("records", "samples", "curves") for form in ("csv", "parquet")} <= names
    assert {"README.md", "columns.md", "reformer_suite.bib", "tables/claims.tex", "tables/claims.md", MARK} <= names
    for folder, forms in (("tables", ("md", "tex")), ("figures", ("svg", "pdf"))):
        stems = [{name for name in names if name.startswith(folder) and name.endswith(form)} for form in forms]
        assert len(stems[0]) >= 2
        assert {Path(name).stem for name in stems[0]} == {Path(name).stem for name in stems[1]}
    readme = (tmp_path / "out" / "README.md").read_text()
    assert all(f"`{name.rsplit('.', 1)[0]}`" in readme for name in names if name.startswith(("tables/", "figures/")))
    assert "bench-a" in readme
    assert "0123abcd4567" in readme
    assert "bench-b" not in (tmp_path / "out" / "records.csv").read_text()
    assert "3 csv" in capsys.readouterr().out


def test_two_exports_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run(monkeypatch, tmp_path / name, "--results", results, "--machine", "bench-a") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_only_the_formats_named_are_written(monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path / "out", "--results", results, "--machine", "bench-b", *QUICK) == 0
    expected = {"README.md", "columns.md", "records.csv", "samples.csv", "curves.csv", "reformer_suite.bib", MARK}
    assert contents(tmp_path / "out").keys() == expected


def test_a_former_export_is_replaced_and_nothing_of_it_stays(
    monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, out, "--results", results, "--machine", "bench-a", *QUICK) == 0
    assert run(monkeypatch, out, "--results", results, "--machine", "bench-a", "--format", "bibtex") == 0
    assert contents(out).keys() == {"README.md", "reformer_suite.bib", MARK}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_is_filled(monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run(monkeypatch, tmp_path / "out", "--results", results, "--machine", "bench-a", *QUICK) == 0


@pytest.mark.parametrize("error", [OSError(28, "no space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_replacement_that_fails_or_is_interrupted_leaves_the_former_export(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: int, error: BaseException
) -> None:
    """Either of the two renamings: the one away, and the one into its place."""
    write({"records.csv": b"former"}, tmp_path / "out")
    before, calls, rename = contents(tmp_path / "out"), itertools.count(1), Path.rename

    def fail(path: Path, target: Path) -> Path:
        if next(calls) == failing:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        write({"records.csv": b"next"}, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_comes_into_the_folder_while_files_are_written_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write({"records.csv": b"former"}, tmp_path / "out")
    write_bytes = Path.write_bytes

    def meanwhile(path: Path, content: bytes) -> int:
        (tmp_path / "out" / "notes.txt").write_text("mine")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", meanwhile)
    with pytest.raises(UserError, match=r"notes\.txt is not of the export"):
        write({"records.csv": b"next"}, tmp_path / "out")
    assert contents(tmp_path / "out")["notes.txt"] == b"mine"
    assert contents(tmp_path / "out")["records.csv"] == b"former"


@pytest.mark.parametrize("change", ["edited", "added", "linked", "foreign", "file"])
def test_what_no_export_wrote_is_neither_removed_nor_overwritten(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: Path,
    tmp_path: Path,
    change: str,
) -> None:
    out = tmp_path / "out"
    arguments = (out, "--results", results, "--machine", "bench-a", *QUICK)
    if change == "file":
        out.write_text("mine")
        assert run(monkeypatch, *arguments) == 2
        assert out.read_text() == "mine"
        return
    if change != "foreign":
        assert run(monkeypatch, *arguments) == 0
    out.mkdir(exist_ok=True)
    match change:
        case "edited":
            (out / "README.md").write_text("mine")
        case "linked":
            (out / "README.md").rename(tmp_path / "elsewhere")
            (out / "README.md").symlink_to(tmp_path / "elsewhere")
        case _:
            (out / "mine.txt").write_text("mine")
    before = contents(out)
    assert run(monkeypatch, *arguments) == 2
    assert contents(out) == before
    assert "Choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--machine", "bench-a", "--format", "xlsx"), "--format xlsx is unknown; known are csv"),
        (("--machine", "bench-c"), "There is no machine 'bench-c'"),
        ((), "name one with --machine: bench-a, bench-b"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert run(monkeypatch, tmp_path / "out", "--results", results, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_message_holds_what_a_terminal_would_obey(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("one", "other"):
        machine, folder = small(f"bench \x1b[2J {name}"), tmp_path / "results" / name
        folder.mkdir(parents=True)
        store.record_plan(machine.plan, machine.environment, folder)
        store.append(machine.records[0], folder)
    for more in ((), ("--machine", "nobody")):
        assert run(monkeypatch, tmp_path / "out", "--results", tmp_path / "results", *more) == 2
        assert r"bench \x1b[2J one, bench" in capsys.readouterr().err


def test_a_folder_without_records_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, tmp_path / "out", "--results", tmp_path / "none") == 2
    assert "There is no results folder" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert run(monkeypatch, tmp_path / "out", "--results", tmp_path / "none") == 2
    assert "There are no records" in capsys.readouterr().err


def test_parquet_is_refused_with_its_remedy_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    find_spec = util.find_spec
    monkeypatch.setattr(
        "ablations.export.parquet_bytes.find_spec", lambda name: None if name == "pyarrow" else find_spec(name)
    )
    arguments = (tmp_path / "out", "--results", results, "--machine", "bench-a")
    assert run(monkeypatch, *arguments) == 2
    assert "pip install 'reformer-suite[parquet]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(monkeypatch, *arguments, *QUICK) == 0
