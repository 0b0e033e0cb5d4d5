"""`python run_all.py gate`: of this project, and of a project that brings its own attention."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablations.gate.sides import git
from ablations.harness.environment import PROJECT
from tests.gate.test_sides import commit
from tests.gate.theirs import install


def gate(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run_all.py", "gate", *words],
        cwd=PROJECT,
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of somebody else, whose package is found as it would be if it were installed in place."""
    root = tmp_path / "theirs"
    install(root / "src")
    git(root, "init", "--quiet")
    commit(root, "as it is")
    return root


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--base", "nonsense"], "--base nonsense is no revision of"),
        (["--base", "HEAD", "--project", "/"], "not a git repository"),
        (["--base", "HEAD", "--project", "."], "registers no contender"),
        (["--base", "HEAD", "--rounds", "2"], "rounds"),
        (["--base", "HEAD", "--out", "/nowhere/gate.json"], "Cannot write /nowhere/gate.json"),
        ([], "--base"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_wrong(words: list[str], says: str) -> None:
    done = gate(*words)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.timeout(600)
def test_a_project_of_its_own_is_gated_at_its_own_revisions(project: Path, tmp_path: Path) -> None:
    attention = project / "src" / "mine" / "attention.py"
    attention.write_text(
        attention.read_text().replace("query_BHLK, key_BHLK = (", "raise ValueError('planted')\n        (")
    )
    out, summary = tmp_path / "gate.json", tmp_path / "summary.md"
    done = gate(
        *("--base", "HEAD", "--project", str(project), "--rounds", "3"),
        *("--out", str(out), "--summary", str(summary)),
        path=project / "src",
    )
    assert done.returncode == 1, done.stderr
    assert summary.read_text() + "\n" == done.stdout
    measured = json.loads(out.read_text())
    assert [one["cell"]["implementation"] for one in measured["cells"]] == ["outside:mine"] * 3
    for cell in measured["cells"]:
        for one in cell["rounds"]:
            assert one["base"]["times"]["step_seconds"], "the base is as it was committed"
            assert "planted" in one["head"]["reason"], "the head is as it lies there"
    assert measured["head"]["dirty"]
    (row,) = [line for line in done.stdout.splitlines() if "attention mine forward |" in line]
    assert "fails: error: ValueError: planted" in row
    assert len(git(project, "worktree", "list").splitlines()) == 1
