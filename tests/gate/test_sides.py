"""Each side runs its own code of what is under test, and both the same harness."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablations.gate.campaign import by_servers
from ablations.gate.cells import attention_cell, ready
from ablations.gate.judge import judge
from ablations.gate.projects import this_project
from ablations.gate.rounds import CellRounds
from ablations.gate.sides import Project, Sides, both, git
from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError
from tests.harness.cells import here

LSH = attention_cell("ours", "lsh_only", "forward")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With the library in it, committed, and then with a library whose LSH attention fails."""
    root = tmp_path / "repository"
    root.mkdir()
    shutil.copytree(PROJECT / "reformer", root / "reformer", ignore=shutil.ignore_patterns("__pycache__"))
    git(root, "init", "--quiet")
    commit(root, "as it is")
    kinds = root / "reformer" / "kinds.py"
    kinds.write_text(kinds.read_text() + "\n\ndef lsh_functions(backend):\n    raise ValueError('planted')\n")
    return root


def commit(root: Path, message: str) -> None:
    git(root, "add", "--all")
    git(root, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", message)


@pytest.fixture
def sides(repository: Path) -> Iterator[Sides]:
    with both(Project(repository, {"reformer": Path("reformer")}), "HEAD") as found:
        yield found


def origin(root: Path, module: str) -> Path:
    code = f"import {module}; print({module}.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()).resolve()


def test_packages_come_from_the_side_and_the_harness_from_the_head(sides: Sides, repository: Path) -> None:
    assert origin(sides.head_root, "reformer.kinds") == repository / "reformer" / "kinds.py"
    base = origin(sides.base_root, "reformer.kinds")
    assert base != repository / "reformer" / "kinds.py"
    assert "planted" not in base.read_text()
    for root in (sides.base_root, sides.head_root):
        assert origin(root, "ablations.harness.worker") == PROJECT / "ablations" / "harness" / "worker.py"


def test_the_head_is_what_lies_in_the_folder(sides: Sides) -> None:
    assert sides.base.revision == sides.head.revision
    assert (sides.base.dirty, sides.head.dirty) == (False, True)


def test_nothing_is_left_of_the_base_afterwards(repository: Path) -> None:
    with both(Project(repository, {"reformer": Path("reformer")}), "HEAD") as found:
        root = found.base_root
        assert len(git(repository, "worktree", "list").splitlines()) == 2
    assert not root.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_an_installed_package_does_not_stand_in_for_one_that_the_base_lacks(repository: Path) -> None:
    (repository / "jinja2").mkdir()
    (repository / "jinja2" / "__init__.py").write_text("mine = True\n")
    (repository / "typer.py").write_text("mine = True\n")
    packages = {"jinja2": Path("jinja2"), "typer.py": Path("typer.py")}
    with both(Project(repository, packages), "HEAD") as found:
        said = "import jinja2, typer; print(hasattr(jinja2, 'Environment'), hasattr(typer, 'Typer'))"
        for root in (found.base_root, found.head_root):
            done = subprocess.run([sys.executable, "-c", said], cwd=root, capture_output=True, text=True, check=True)
            assert done.stdout.split() == ["False", "False"]


def test_what_is_no_revision_is_refused_by_name(repository: Path) -> None:
    with (
        pytest.raises(UserError, match="--base nonsense is no revision of"),
        both(Project(repository, {"reformer": Path("reformer")}), "nonsense"),
    ):
        pass


def test_a_round_in_real_processes_finds_what_the_head_broke_and_measures_the_base(sides: Sides) -> None:
    take = by_servers(sides, here())
    measured, control = CellRounds(cell=LSH), CellRounds(cell=LSH)
    for number in range(3):
        taken = take((LSH,), LSH, number)
        measured, control = measured.with_round(taken.cells[LSH]), control.with_round(taken.control)
    judgement = judge((measured,), control)
    assert judgement.outcome == "regressed"
    (found,) = judgement.cells
    assert found.answer == "fails"
    assert "ValueError: planted" in str(found.reason)
    assert all(one.base.times and len(one.base.times.step_seconds) >= 7 for one in control.rounds)
    assert judgement.control.ratio is not None


def test_this_project_is_measured_on_both_sides_of_its_own_last_commit() -> None:
    with both(this_project(), "HEAD") as found:
        taken = by_servers(found, here())((LSH,), LSH, 0)
    for one in (taken.cells[LSH], taken.control):
        assert (one.base.reason, one.head.reason) == (None, None)


def test_a_server_that_is_asked_whether_it_is_ready_does_no_work(sides: Sides) -> None:
    cell = ready(LSH)
    taken = by_servers(sides, here())((cell,), cell, 0)
    assert taken.cells[cell].head.times == taken.cells[cell].base.times
    assert taken.control.head.times is not None
    assert taken.control.head.times.step_seconds == (1.0,)
