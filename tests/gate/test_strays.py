"""The base must not run the head's code."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from ablations.gate.strays import HARNESS, NOT_FROM, StrayError, refuse_strays, strays
from ablations.harness.environment import PROJECT


def module(name: str, file: Path) -> ModuleType:
    made = ModuleType(name)
    made.__file__ = str(file)
    return made


def test_what_lies_in_the_heads_folder_is_named(tmp_path: Path) -> None:
    modules = {
        "mine.kernels": module("mine.kernels", tmp_path / "src" / "mine" / "kernels.py"),
        "theirs": module("theirs", tmp_path.parent / "elsewhere" / "theirs.py"),
        "no_file": ModuleType("no_file"),
    }
    assert list(strays(modules, tmp_path)) == ["mine.kernels"]


def test_a_link_into_the_heads_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "head" / "mine").mkdir(parents=True)
    (tmp_path / "head" / "mine" / "__init__.py").touch()
    (tmp_path / "base").symlink_to(tmp_path / "head")
    modules = {"mine": module("mine", tmp_path / "base" / "mine" / "__init__.py")}
    assert list(strays(modules, tmp_path / "head")) == ["mine"]


def test_the_harness_is_the_heads_on_either_side() -> None:
    """Its server is a module of two more names in the processes that it forks."""
    server = module("__mp_main__", PROJECT / HARNESS / "gate" / "server.py")
    library = module("reformer", PROJECT / "reformer" / "__init__.py")
    assert list(strays({"__mp_main__": server, "reformer": library}, PROJECT)) == ["reformer"]


def test_an_environment_in_the_heads_folder_is_no_code_of_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    installed = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "other" / "__init__.py"
    assert list(strays({"other": module("other", installed)}, tmp_path)) == []


def test_a_stray_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_strays()
    monkeypatch.setenv(NOT_FROM, str(PROJECT))
    with pytest.raises(StrayError, match=r"the base runs the head's (reformer|tests)"):
        refuse_strays()
