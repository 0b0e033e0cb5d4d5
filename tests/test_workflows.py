"""The workflows are valid, may write nothing they need not, and their commands are this project's."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
ACTION = PROJECT / "action.yml"
OPTION = re.compile(r"(?<!\S)(--[a-z-]+)")


def loaded(path: Path) -> Any:  # noqa: ANN401  (whatever it holds)
    return YAML(typ="safe").load(path)


def steps(path: Path) -> list[Any]:
    content = loaded(path)
    jobs = content["jobs"].values() if "jobs" in content else [content["runs"]]
    return [step for job in jobs for step in job["steps"]]


def commands(path: Path) -> list[str]:
    """Every line that a shell runs."""
    return [line for step in steps(path) for line in step.get("run", "").splitlines()]


def scripts(path: Path) -> list[str]:
    """Every line that an action runs as a script."""
    return [line for step in steps(path) for line in step.get("with", {}).get("script", "").splitlines()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_one(path: Path) -> None:
    check("vendor.github-workflows", path)


def test_the_action_is_one() -> None:
    check("vendor.github-actions", ACTION)


def check(schema: str, path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_only_the_comment_may_write_and_it_runs_no_command(path: Path) -> None:
    content = loaded(path)
    writes = [scope for scope, may in content["permissions"].items() if may != "read"]
    assert writes == (["pull-requests"] if path.name == "comment.yml" else [])
    assert all("permissions" not in job for job in content["jobs"].values())
    if writes:
        assert commands(path) == []


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_no_command_has_an_expression_in_it(path: Path) -> None:
    """What a pull request is called, for one, would be a command there; environment variables are only text."""
    assert [line for line in (*commands(path), *scripts(path)) if "${{" in line] == []


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_options_of_the_suite_s_commands_exist(path: Path) -> None:
    for line in commands(path):
        if found := re.search(r"run_all\.py\"? ?(.*)", line):
            first = found[1].split()[0]
            words = [] if first.startswith("-") else [first]
            told = subprocess.run(
                [sys.executable, "run_all.py", *words, "--help"],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=True,
                env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
            ).stdout
            assert [option for option in OPTION.findall(found[1]) if option not in told] == [], line
