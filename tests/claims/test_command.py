"""`run_all.py claims`: one block for each claim, plain where nobody watches, and a count at the end."""

import io
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ablations import cli
from ablations.claims import listing
from ablations.claims.registry import CLAIMS, judge_all
from ablations.claims.rows import rows
from ablations.harness.errors import UserError
from ablations.harness.store import MachineResults
from ablations.report.claims_table import SIGNS, ClaimRow, summary
from tests.report import records

PROJECT = Path(__file__).resolve().parents[2]

ROW = ClaimRow(
    id="C3",
    place="Figure 7",
    says="Reversible layers cost no memory. " * 5,
    paper="0 bytes per layer",
    ours="2.00 % of an ordinary layer",
    predicate="at most 5 %",
    verdict="partly",
    reason="",
    scale="cpu",
    evidence=tuple(f"{number:016x}" for number in range(11)),
    experiments=("depth",),
)


def written(folder: Path, *machines: str) -> tuple[MachineResults, ...]:
    """Results of these machines in their folders."""
    cells = records.grid("depth", variants=("dense", "reversible_only"), n_layers=(1, 2, 4))
    found = tuple(records.machine({"depth": cells}, where=records.environment(name)) for name in machines)
    for results in found:
        home = folder / results.environment.machine
        home.mkdir(parents=True)
        (home / "machine.json").write_text(results.environment.model_dump_json())
        (home / "plan.json").write_text(results.plan.model_dump_json())
        (home / "depth.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in results.records))
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run_all.py", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[MachineResults, ...]]:
    folder = tmp_path_factory.mktemp("results")
    return folder, written(folder, "bench-a", "bench-b")


@pytest.fixture(scope="module")
def printed(two: tuple[Path, tuple[MachineResults, ...]]) -> str:
    done = run("claims", "--results", str(two[0]))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_claim_of_every_machine_has_a_block(printed: str, two: tuple[Path, tuple[MachineResults, ...]]) -> None:
    for results in two[1]:
        for row in rows(judge_all(results)):
            assert listing.heading(row) in printed
            assert listing.body(row) in printed
    assert printed.count("\n  predicate ") == 2 * len(CLAIMS)


def test_it_ends_with_the_counts_of_verdicts(printed: str, two: tuple[Path, tuple[MachineResults, ...]]) -> None:
    assert printed.rstrip().endswith(summary(rows(judge_all(two[1][-1]))))
    assert printed.count(f"Of {len(CLAIMS)} claims:") == 2


def test_piped_it_is_plain_and_no_line_is_wider_than_a_hundred_columns(printed: str) -> None:
    assert "\x1b" not in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_one_machine_can_be_named(two: tuple[Path, tuple[MachineResults, ...]]) -> None:
    done = run("claims", "--results", str(two[0]), "--machine", "bench-b")
    assert done.returncode == 0
    assert "bench-b" in done.stdout
    assert "bench-a" not in done.stdout


def test_the_report_of_the_same_results_opens_with_the_same_counts(
    two: tuple[Path, tuple[MachineResults, ...]], tmp_path: Path
) -> None:
    done = run("--render-only", "--results", str(two[0]), "--reports", str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "index.md").read_text()
    assert summary(rows(judge_all(two[1][0]))) in text
    assert text.index("The paper's claims") < text.index("Processor:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("claims", "--results", "{folder}/nowhere"), ("no results folder", "nowhere", "--profile paper-cpu")),
        (("claims", "--results", "{folder}"), ("no records", "--profile paper-cpu")),
        (("claims", "--machine", "elsewhere", "--results", "{two}"), ("'elsewhere'", "known are bench-a, bench-b")),
        (
            ("--results", "{two}", "claims"),
            ("takes none of the options of a run", "leave out --results.", "stands behind its name"),
        ),
        (("claims", "--render-only"), ("--render-only",)),
    ],
    ids=" ".join,
)
def test_misuse_gets_a_paragraph_and_exit_code_2(
    arguments: tuple[str, ...], words: tuple[str, ...], two: tuple[Path, tuple[MachineResults, ...]], tmp_path: Path
) -> None:
    done = run(*(one.format(folder=tmp_path, two=two[0]) for one in arguments))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    text = " ".join(done.stderr.split())
    assert all(word in text for word in words), text
    assert done.stdout == ""


def test_on_a_terminal_verdicts_are_coloured(
    two: tuple[Path, tuple[MachineResults, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(cli, "_claims_of", lambda _: (ROW, replace(ROW, verdict="reproduced")))
    cli.claims(two[0], "bench-a")
    yellow, green = "\x1b[33m", "\x1b[32m"
    shown = terminal.getvalue()
    assert f"{yellow}\x1b[1m{listing.heading(ROW)}" in shown
    assert shown.count(yellow) == shown.count(green) == 1


def test_every_verdict_of_a_claim_has_its_sign() -> None:
    verdicts = Counter(row.verdict for row in rows(judge_all(records.demo())))
    assert set(verdicts) <= set(SIGNS)
    assert sum(verdicts.values()) == len(CLAIMS)


def test_a_block_leaves_out_what_is_empty_and_wraps_what_is_long() -> None:
    lines = listing.body(ROW, 60).splitlines()
    labels = [line[:12].strip() for line in lines if line[:12].strip()]
    assert labels == ["claim", "paper", "ours", "predicate", "evidence"]
    assert max(map(len, lines)) <= 60
    assert "2.00 % of an ordinary layer (profile cpu)" in listing.body(ROW, 60)
    words = " ".join(listing.body(ROW, 60).split())
    assert all(one in words for one in ROW.evidence)


@pytest.mark.parametrize("part", [listing.heading, listing.body])
def test_text_from_records_cannot_steer_the_terminal(part: Callable[[ClaimRow], str]) -> None:
    hostile = replace(ROW, id="\x1b[2J", ours="one\ntwo\x07\x9b31m", place="a\rb\u202e")
    assert all(letter.isprintable() or letter == "\n" for letter in part(hostile))
    assert "\N{REPLACEMENT CHARACTER}" in part(hostile)


def test_no_records_at_all_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records"):
        cli.claims(tmp_path)
