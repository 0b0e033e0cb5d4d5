"""What A and B may name."""

import subprocess
from pathlib import Path

import pytest

from ablations.compare.sources import matched, read_source
from ablations.harness.errors import UserError

from .folders import machine, write


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("bench-a", "bench-b"):
        write(machine(name=name), tmp_path / "results" / name)
    return tmp_path / "results"


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """No checkout."""
    (tmp_path / "nowhere").mkdir()
    return tmp_path / "nowhere"


def git(checkout: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Its first commit has no records, its second those of one machine, and its files are gone."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch", "main")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    folder = write(machine(name="bench-c"), repository / "results" / "bench-c")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "records")
    for path in folder.iterdir():
        path.unlink()
    return repository


def test_a_folder_of_folders_holds_all_its_machines(results: Path, nowhere: Path) -> None:
    assert read_source(str(results), results, nowhere).names == ("bench-a", "bench-b")


def test_a_machines_folder_holds_it_alone_whatever_lies_beside_it(results: Path, nowhere: Path) -> None:
    (results / "bench-a" / "plan.json").write_text("broken")
    assert read_source(str(results / "bench-b"), results, nowhere).names == ("bench-b",)


def test_a_machine_goes_by_its_name(results: Path, nowhere: Path) -> None:
    source = read_source("bench-b", results, nowhere)
    assert source.machines == (machine(name="bench-b"),)


def test_a_revision_is_read_as_it_was_committed(results: Path, checkout: Path) -> None:
    for name in ("main", "HEAD", git(checkout, "rev-parse", "HEAD"), "HEAD~0"):
        assert read_source(name, results, checkout).machines == (machine(name="bench-c"),)


def test_a_revision_without_records_is_refused(results: Path, checkout: Path) -> None:
    with pytest.raises(UserError, match="Revision HEAD~1 has no folder results"):
        read_source("HEAD~1", results, checkout)


@pytest.mark.parametrize("name", ["nonsense", "", "--help", "HEAD^{tree}", "HEAD\nmain", "../results/none"])
def test_what_means_nothing_is_refused_with_all_that_it_might_have_been(
    name: str, results: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    with pytest.raises(UserError) as refused:
        read_source(name, results, checkout)
    for word in ("folder with records", f"machine in {results} (known are bench-a, bench-b)", "revision"):
        assert word in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_name_too_long_for_any_file_is_refused(results: Path, nowhere: Path) -> None:
    with pytest.raises(UserError, match="Cannot read"):
        read_source("x" * 5000, results, nowhere)


def test_a_folder_within_that_cannot_be_read_is_named(
    results: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, is_dir = results / "bench-b", Path.is_dir

    def refuse(path: Path) -> bool:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    (results / "bench-a").rename(results.parent / "elsewhere")
    with pytest.raises(UserError, match=r"Cannot read .*bench-b: Permission denied"):
        read_source(str(results), results, nowhere)


def test_a_stored_name_that_a_terminal_would_obey_is_shown_instead(results: Path, nowhere: Path) -> None:
    (results / "bench\x1b[2J").mkdir()
    (results / "bench\x1b[2J" / "depth.jsonl").touch()
    with pytest.raises(UserError, match=r"known are bench\\x1b\[2J, bench-a") as refused:
        read_source("nonsense", results, nowhere)
    assert str(refused.value).isprintable()


def test_what_means_two_things_is_refused_and_each_can_be_named(
    results: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(checkout, "branch", "bench-a")
    write(machine(name="bench-d"), checkout / "bench-a")
    monkeypatch.chdir(checkout)
    with pytest.raises(UserError, match=r"ambiguous: folder bench-a, machine bench-a in .*, revision"):
        read_source("bench-a", results, checkout)
    assert read_source("./bench-a", results, checkout).names == ("bench-d",)
    assert read_source(str(results / "bench-a"), results, checkout).names == ("bench-a",)
    assert read_source("refs/heads/bench-a", results, checkout).names == ("bench-c",)


def test_one_folder_by_two_ways_is_one_meaning(results: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    assert read_source("bench-a", Path(), nowhere).names == ("bench-a",)


def test_a_broken_file_is_named_by_the_path_that_its_reader_knows(results: Path, nowhere: Path) -> None:
    path = results / "bench-a" / "plan.json"
    path.write_text("broken")
    with pytest.raises(UserError) as refused:
        read_source(str(results / "bench-a"), results, nowhere)
    assert str(path) in str(refused.value)


def test_two_folders_of_one_machine_are_refused(results: Path, nowhere: Path) -> None:
    write(machine(name="bench-a"), results / "copy")
    with pytest.raises(UserError, match="two folders of machine bench-a"):
        read_source(str(results), results, nowhere)


def pairs(a: Path, b: Path, nowhere: Path, name: str | None = None) -> list[tuple[str, str]]:
    sources = [read_source(str(one), Path("results"), nowhere) for one in (a, b)]
    return [(x.environment.machine, y.environment.machine) for x, y in matched(sources[0], sources[1], name)]


def test_machines_are_compared_with_themselves(results: Path, nowhere: Path) -> None:
    assert pairs(results, results, nowhere) == [("bench-a", "bench-a"), ("bench-b", "bench-b")]
    assert pairs(results, results / "bench-b", nowhere) == [("bench-b", "bench-b")]
    assert pairs(results, results, nowhere, "bench-b") == [("bench-b", "bench-b")]


def test_two_machines_are_compared_only_if_each_stands_alone(results: Path, nowhere: Path, tmp_path: Path) -> None:
    assert pairs(results / "bench-a", results / "bench-b", nowhere) == [("bench-a", "bench-b")]
    other = write(machine(name="bench-e"), tmp_path / "other" / "bench-e")
    with pytest.raises(UserError, match="no machine in common"):
        pairs(results, other, nowhere)
    with pytest.raises(UserError, match="--machine bench-b"):
        pairs(results, results / "bench-a", nowhere, "bench-b")
