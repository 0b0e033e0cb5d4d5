"""The committed report is what the committed results say."""

from pathlib import Path

from ablations.claims.registry import judge_all
from ablations.claims.rows import rows
from ablations.harness.store import load_results
from ablations.report.render import render

PROJECT = Path(__file__).resolve().parents[2]


MOST_BYTES = 5_000_000
"""Of the page, which people open on a phone."""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rendering_the_committed_results_again_reproduces_the_committed_report(tmp_path: Path) -> None:
    results = load_results(PROJECT / "results")
    render(results, tmp_path, {one.environment.machine: rows(judge_all(one)) for one in results})
    again, committed = files(tmp_path), files(PROJECT / "reports")
    assert sorted(again) == sorted(committed)
    assert [name for name in again if again[name] != committed[name]] == []


def test_the_committed_page_is_under_its_limit_of_bytes() -> None:
    assert (PROJECT / "reports" / "index.html").stat().st_size < MOST_BYTES
