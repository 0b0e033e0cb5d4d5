"""The nightly run holds each count against the night before, and one failure costs the other steps nothing."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

WORKFLOW = Path(__file__).resolve().parents[1] / ".github" / "workflows" / "nightly.yml"
PYTHON = """#!/bin/sh
case "$*" in *--base*) kind=held; code={held} ;; *) kind=alone; code={alone} ;; esac
echo $kind >> calls
exit $code
"""


def steps() -> dict[str, Any]:
    found = YAML(typ="safe").load(WORKFLOW)["jobs"]["nightly"]["steps"]
    return {step.get("name", step.get("uses")): step for step in found}


@pytest.mark.parametrize(
    ("earlier", "held", "alone", "calls", "code"),
    [
        (False, 9, 0, ["alone"], 0),
        (False, 9, 2, ["alone"], 2),
        (True, 0, 9, ["held"], 0),
        (True, 1, 9, ["held"], 1),
        (True, 2, 0, ["held", "alone"], 2),
    ],
    ids=["first night", "cannot count", "passes", "too many", "not comparable"],
)
def test_counts_are_held_against_the_night_before(
    earlier: bool, held: int, alone: int, calls: list[str], code: int, tmp_path: Path
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(held=held, alone=alone))
    python.chmod(0o755)
    if earlier:
        (tmp_path / "history.jsonl").touch()
    done = subprocess.run(["bash", "-e", "-c", steps()["Instructions"]["run"]], cwd=tmp_path, check=False)
    assert (done.returncode, (tmp_path / "calls").read_text().split()) == (code, calls)


def test_what_follows_the_counts_is_done_though_they_or_a_cell_failed() -> None:
    names = list(steps())
    after = names[names.index("Instructions") + 1 :]
    assert {"Sweep", "History"} < set(after)
    conditions = {name: steps()[name].get("if", "") for name in after}
    assert [name for name, when in conditions.items() if "always()" not in when and "!cancelled()" not in when] == []
    assert not any("continue-on-error" in step for step in steps().values())
