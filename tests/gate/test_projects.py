"""Which packages of somebody's repository are under test."""

import importlib
from pathlib import Path

import pytest

from ablations.gate.projects import project_at
from ablations.gate.sides import git
from ablations.harness.errors import UserError
from tests.gate.test_sides import commit
from tests.gate.theirs import install


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a contender, committed."""
    source = tmp_path / "theirs" / "src"
    (source / "mine_kernels").mkdir(parents=True)
    (source / "mine_kernels" / "__init__.py").touch()
    (source / "mine_tables.py").touch()
    install(source)
    git(tmp_path / "theirs", "init", "--quiet")
    commit(tmp_path / "theirs", "as it is")
    monkeypatch.syspath_prepend(str(source))
    importlib.invalidate_caches()
    return tmp_path / "theirs"


def test_all_that_lies_beside_the_contenders_package_is_under_test(root: Path) -> None:
    found = project_at(root)
    assert found.contenders == ("mine",)
    assert found.packages == {name: Path("src") / name for name in ("mine", "mine_kernels", "mine_tables.py")}


def test_what_is_installed_inside_a_repository_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / ".venv" / "lib" / "site-packages"
    install(installed)
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "as it is")
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    with pytest.raises(UserError, match="registers no contender that is installed here from its own folder"):
        project_at(tmp_path)
