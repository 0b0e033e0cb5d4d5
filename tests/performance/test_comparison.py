"""What counts as a difference from the committed file, and what becomes of the file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ablations.harness.environment import PROJECT
from tests.performance.book import Book
from tests.performance.kept import FILE, VERSION, differences, missing, read, write

KEPT = {"2.13": {"one": {"bytes": 1000, "saved": 0}}}


@pytest.mark.parametrize(("now", "word"), [(1011, "worse"), (1000_000, "worse"), (989, "less"), (0, "less")])
def test_more_than_one_per_cent_either_way_is_a_difference(now: int, word: str) -> None:
    (line,) = differences(KEPT, "2.13", "one", {"bytes": now, "saved": 0})
    assert "one: bytes: 1000 in the file" in line
    assert word in line
    assert "--update-counters" in line


@pytest.mark.parametrize("now", [990, 1000, 1010])
def test_one_per_cent_is_none(now: int) -> None:
    assert differences(KEPT, "2.13", "one", {"bytes": now, "saved": 0}) == []


def test_anything_is_more_than_nothing() -> None:
    (line,) = differences(KEPT, "2.13", "one", {"bytes": 1000, "saved": 1})
    assert "from nothing" in line


def test_another_version_of_pytorch_never_passes() -> None:
    (line,) = differences(KEPT, "2.14", "one", KEPT["2.13"]["one"])
    assert "no counters of PyTorch 2.14" in line
    assert "--update-counters" in line


def test_a_new_cell_and_one_that_is_gone_never_pass() -> None:
    (new,) = differences(KEPT, "2.13", "another", {"bytes": 1000})
    (gone,) = missing(KEPT, "2.13", frozenset({"another"}))
    assert "another: a new cell" in new
    assert "one: no longer counted" in gone


def test_a_new_counter_and_one_that_is_gone_never_pass() -> None:
    lines = differences(KEPT, "2.13", "one", {"bytes": 1000, "copies": 3})
    assert len(lines) == 2
    assert "copies: new, 3" in lines[0]
    assert "saved: 0 in the file, and not counted" in lines[1]


def test_an_update_replaces_one_version_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    path.write_text(json.dumps({"2.12": {"old": {"bytes": 1}}, VERSION: {"gone": {"bytes": 2}}}))
    book = Book(path, updating=True)
    book.enter("one", {"bytes": 3})
    book.has_all_of(["one"])
    book.close()
    assert read(path) == {"2.12": {"old": {"bytes": 1}}, VERSION: {"one": {"bytes": 3}}}


def test_an_update_of_some_cells_only_fails_and_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    book = Book(path, updating=True)
    book.enter("one", {"bytes": 3})
    with pytest.raises(pytest.fail.Exception, match="not all cells were counted"):
        book.has_all_of(["one", "two"])
    book.close()
    assert not path.exists()


def test_without_the_option_a_difference_fails_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    write(path, VERSION, {"one": {"bytes": 1}})
    before, book = path.read_bytes(), Book(path, updating=False)
    with pytest.raises(pytest.fail.Exception, match="one: bytes: 1 in the file, 2 now"):
        book.enter("one", {"bytes": 2})
    book.close()
    assert path.read_bytes() == before


def test_the_committed_file_is_as_the_option_writes_it(tmp_path: Path) -> None:
    again = tmp_path / "counters.json"
    for version, counted in read(FILE).items():
        write(again, version, counted)
    assert again.read_bytes() == FILE.read_bytes()


def test_where_the_folder_is_named_the_option_is_known() -> None:
    command = [sys.executable, "-m", "pytest", "tests/performance", "--update-counters", "--collect-only", "-q"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
