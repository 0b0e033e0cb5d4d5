"""Counts are read from what callgrind wrote, and held against a base."""

import gc
import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ablations.commands.instructions import instructions
from ablations.harness.errors import UserError
from ablations.harness.trial import Step
from ablations.history import callgrind, counted_steps
from ablations.history.cells import cells
from ablations.history.entries import Entry, append, read

SAMPLE = (Path(__file__).parent / "callgrind.sample").read_text()
"""The head and the end of a dump that callgrind wrote."""
SAMPLE_TOTAL = 11860895
NAMES = tuple(cells())


def dump(folder: Path, number: int, total: int) -> None:
    (folder / f"counted.{number}").write_text(SAMPLE.replace(f"totals: {SAMPLE_TOTAL}", f"totals: {total}"))


def test_a_dump_s_total_is_read(tmp_path: Path) -> None:
    (tmp_path / "counted").write_text("totals: 0\n")
    (tmp_path / "counted.1").write_text(SAMPLE)
    assert callgrind.dumped(tmp_path) == [SAMPLE_TOTAL]


def test_dumps_are_in_the_order_in_which_they_were_written_not_that_of_their_names(tmp_path: Path) -> None:
    for number in (1, 2, 10, 11):
        dump(tmp_path, number, total=100 * number)
    assert callgrind.dumped(tmp_path) == [100, 200, 1000, 1100]


def test_a_dump_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "counted.1").write_text(SAMPLE[: SAMPLE.index("totals")])
    with pytest.raises(UserError, match=r"counted\.1 has no total"):
        callgrind.dumped(tmp_path)


def test_a_cell_has_the_middle_one_of_its_own_steps() -> None:
    totals = [1000 * cell + step for cell in range(len(NAMES)) for step in (5, 90, 3, 4, 6)]
    assert callgrind.by_cell(totals) == {name: 1000 * at + 5 for at, name in enumerate(NAMES)}


@pytest.mark.parametrize("count", [0, 19, 21])
def test_another_number_of_steps_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"wrote {count} counts where 20"):
        callgrind.by_cell([1] * count)


def test_without_valgrind_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="apt install valgrind"):
        callgrind.count_instructions()


def test_the_steps_that_are_counted_are_taken_outside_of_callgrind_too(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Step] = []
    monkeypatch.setattr(counted_steps, "_count", taken.append)
    try:
        counted_steps.main()
    finally:
        gc.enable()
    for step in taken:
        step()
    assert len(taken) == callgrind.STEPS * len(NAMES)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_two_counts_of_the_same_code_lie_within_a_third_of_the_tolerance() -> None:
    first, second = callgrind.count_instructions(), callgrind.count_instructions()
    for name, count in first.items():
        assert second[name] == pytest.approx(count, rel=0.01 / 3)


def counted(torch: str = "", **changes: int) -> Entry:
    found = dict.fromkeys(NAMES, 1000) | {name.replace("_", " "): count for name, count in changes.items()}
    return Entry(commit="c0ffee", date="2026-01-01T00:00:00+00:00", torch=torch or version(), cells=found)


def version() -> str:
    return metadata.version("torch")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, now: Entry | None, base: Entry | None) -> tuple[int, str]:
    """The command where so many instructions are counted; `None` where it must not count."""
    monkeypatch.setattr(callgrind, "count_instructions", lambda: now.cells if now else pytest.fail("counted"))
    app, options = typer.Typer(), ["--out", str(folder / "head.jsonl")]
    app.command()(instructions)
    if base:
        append(base, folder / "base.jsonl")
        options += ["--base", str(folder / "base.jsonl")]
    done = CliRunner().invoke(app, options)
    if isinstance(done.exception, UserError):
        raise done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(("now", "code"), [(1011, 1), (1010, 0), (500, 0)])
def test_over_one_per_cent_more_than_the_base_is_exit_code_1(
    now: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, said = run(monkeypatch, tmp_path, counted(reformer=now), counted())
    assert ended == code
    assert f"reformer: 1,000 before, {now:,} now" in said


def test_a_count_adds_a_line_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reformer in (1, 2):
        assert run(monkeypatch, tmp_path, counted(reformer=reformer), None)[0] == 0
    assert [entry.cells["reformer"] for entry in read(tmp_path / "head.jsonl")] == [1, 2]
    assert json.loads((tmp_path / "head.jsonl").read_text().splitlines()[0])["schema_version"] == 1


def test_a_base_of_another_pytorch_or_of_other_cells_is_refused_before_anything_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for base, words in ((counted(torch="1.0"), "with the same version"), (counted(another=5), "with the same cells")):
        with pytest.raises(UserError, match=words):
            run(monkeypatch, tmp_path, None, base)
        assert not (tmp_path / "head.jsonl").exists()


def test_a_base_that_is_not_there_is_refused_before_anything_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    app.command()(instructions)
    monkeypatch.setattr(callgrind, "count_instructions", lambda: pytest.fail("counted"))
    options = ["--out", str(tmp_path / "head.jsonl"), "--base", str(tmp_path / "none.jsonl")]
    done = CliRunner().invoke(app, options)
    assert isinstance(done.exception, UserError)
    assert not (tmp_path / "head.jsonl").exists()
