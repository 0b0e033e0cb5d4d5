"""The script that measures on a GPU, run on stand-ins for Python, and what it asks for."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ablations.experiments import depth
from ablations.experiments.peers import EXPERIMENT
from ablations.harness.cell import Cell
from ablations.harness.estimate import estimate
from ablations.harness.experiment import parse_axes
from ablations.suite import EXPERIMENTS
from reformer.config import LSHAttention

pytestmark = pytest.mark.skipif(shutil.which("timeout") is None, reason="needs GNU coreutils, as the script does")

PROJECT = Path(__file__).resolve().parents[1]
SCRIPT = PROJECT / ".ci" / "gpu_run"
PARTS = (
    "kernels-tests",
    "cuda-tests",
    "doctor",
    "repeats",
    "contenders",
    "peers",
    "tuning-1-rounds",
    "tuning-4-rounds",
)
COMMANDS = (
    "tests/kernels",
    "tests/reformer/test_cuda.py",
    "run_all.py doctor",
    "--only depth",
    "--profile smoke",
    "--only peers .*--profile gpu",
    " 1$",
    " 4$",
)
"""What the parts can be told by."""


class Trial:
    """The script with a stand-in for Python that notes what it is asked for and ends as told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "asked"
        self.python = folder / "python"
        self.ending("nothing", 0)
        measured = folder / "out" / "results" / "machine"
        measured.mkdir(parents=True)
        (measured / "peers.jsonl").touch()

    def ending(self, command: str, code: int) -> None:
        """Let what is asked for with these words end with this exit code, and all else with 0."""
        lines = ("#!/bin/bash", f"asked=${{*//$'\\n'/ }}; echo \"$asked\" >> {self.log}")
        self.python.write_text("\n".join((*lines, f"[[ $asked != *'{command}'* ]] || exit {code}")) + "\n")
        self.python.chmod(0o755)

    def run(self, *arguments: str, profile: str = "gpu") -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return script(*(arguments or ("out",)), cwd=self.folder, python="./python", profile=profile)

    @property
    def asked(self) -> list[str]:
        """Without the question for what is installed."""
        return self.log.read_text().splitlines()[1:]

    def done(self) -> set[str]:
        return {path.stem for path in (self.folder / "out").glob("*.done")}


def script(*arguments: str, cwd: Path, python: str, profile: str = "gpu") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python, "PROFILE": profile}
    return subprocess.run(
        [str(SCRIPT), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_every_part_runs_once_and_the_report_is_rendered_at_the_end(trial: Trial) -> None:
    done = trial.run()
    assert done.returncode == 0, done.stderr
    assert [re.search(command, asked) is not None for command, asked in zip(COMMANDS, trial.asked, strict=False)] == (
        [True] * len(PARTS)
    )
    assert "--render-only" in trial.asked[-1]
    assert len(trial.asked) == len(PARTS) + 1
    assert trial.done() == set(PARTS)


def test_run_again_in_the_same_folder_it_leaves_out_what_has_ended_and_says_so(trial: Trial) -> None:
    trial.ending("--profile gpu --timeout 65", 124)
    first = trial.run()
    assert first.returncode == 3
    assert "time ran out; run again" in first.stdout
    assert trial.done() == set(PARTS) - {"peers"}
    assert "--render-only" in trial.asked[-1]
    trial.ending("nothing", 0)
    again = trial.run()
    assert again.returncode == 0
    assert again.stdout.count("done before with exit code 0") == len(PARTS) - 1
    assert ["--profile gpu --timeout 65" in asked or "--render-only" in asked for asked in trial.asked] == [True, True]


def test_a_part_that_fails_stops_no_other_and_is_remembered(trial: Trial) -> None:
    trial.ending("tests/kernels", 1)
    assert trial.run().returncode == 1
    assert len(trial.asked) == len(PARTS) + 1
    trial.ending("nothing", 0)
    again = trial.run()
    assert again.returncode == 1
    assert "kernels-tests: done before with exit code 1" in again.stdout


@pytest.mark.parametrize("code", [2, 130])
def test_a_part_that_was_broken_off_is_taken_up_again(code: int, trial: Trial) -> None:
    trial.ending("--profile gpu --timeout 65", code)
    assert trial.run().returncode == 1
    assert "peers" not in trial.done()


def test_without_time_left_nothing_is_begun_and_the_report_is_rendered(trial: Trial) -> None:
    done = trial.run("out", "25")
    assert done.returncode == 3
    assert done.stdout.count("no time left") == len(PARTS)
    assert [("--render-only" in asked) for asked in trial.asked] == [True]


def test_elsewhere_what_needs_a_gpu_is_left_out(trial: Trial) -> None:
    assert trial.run(profile="smoke").returncode == 0
    assert trial.done() == {"contenders", "peers"}
    assert not any("triton" in asked for asked in trial.asked)


def test_the_folder_is_the_caller_s_and_without_one_nothing_starts(trial: Trial) -> None:
    trial.run("elsewhere", "25")
    assert (trial.folder / "elsewhere").is_dir()
    for arguments, complaint in ((("",), "cannot make the folder"), (("out", "soon"), "SECONDS=soon")):
        done = trial.run(*arguments)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert trial.log.read_text() == ""
    nothing = script(cwd=trial.folder, python="./python")
    assert (nothing.returncode, trial.log.read_text()) == (2, "")
    assert ".ci/gpu_run FOLDER" in nothing.stderr


def test_what_is_missing_is_told_at_once_and_together(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/bash\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    done = script("out", cwd=tmp_path, python=str(bare))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "lacks torch triton" in line
    assert "pytest_timeout" in line
    assert line.endswith("-m pip install -e '.[test,peers]'")


def test_all_that_the_project_installs_is_asked_for() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(one for name in ("triton", "test", "huggingface", "peers") for one in extras[name]),
    ]
    names = {re.split(r"[>\[]", one)[0].replace("-", "_") for one in wanted} - {"reformer_suite"}
    (needs,) = re.findall(r"needs=\(([^)]*)\)", SCRIPT.read_text())
    imported_as = {"nvidia_ml_py": "pynvml", "pillow": "PIL", "pytest_xdist": "xdist"}
    assert set(needs.split()) == {imported_as.get(name, name) for name in names}


def parts() -> dict[str, tuple[int, str]]:
    """Seconds and command of each part, by name."""
    text = SCRIPT.read_text().replace("\\\n", " ")
    found = re.findall(r'^ *part (\d+) "?([a-z-]+)\S* (.*)$', text, re.MULTILINE)
    return {name: (int(seconds), command) for seconds, name, command in found}


def test_parts_fit_into_what_a_machine_is_lent_for() -> None:
    seconds = {name: seconds for name, (seconds, _) in parts().items()}
    assert list(seconds) == ["kernels-tests", "cuda-tests", "doctor", "repeats", "contenders", "peers", "tuning-"]
    assert max(seconds.values()) < 9 * 60
    assert sum(seconds.values()) + seconds["tuning-"] <= 25 * 60


def test_the_cells_of_a_gpu_are_expected_to_fit_into_their_part() -> None:
    seconds, command = parts()["peers"]
    (longest,) = map(float, re.findall(r"--timeout (\d+)", command))
    assert sum(min(estimate(one).seconds, longest) for one in EXPERIMENT.cells("gpu", "cuda")) <= seconds


def test_the_cells_that_are_repeated_on_a_gpu_are_expected_to_fit_into_their_part() -> None:
    seconds, command = parts()["repeats"]
    repeated = depth.EXPERIMENT
    for name, values in parse_axes(re.findall(r"--axis (\w+=[\w,]+)", command)).items():
        repeated = repeated.with_axis(name, values)
    cells = repeated.cells("gpu", "cuda")
    assert sum(estimate(one).seconds for one in cells) <= seconds
    assert {one.seed for one in cells} == {0, 1, 2, 3, 4}


def test_every_contender_of_a_gpu_runs_once_at_tiny_size_before() -> None:
    (tiny_axes,) = re.findall(r"tiny=\((--axis .*)\)", SCRIPT.read_text())
    axes = parse_axes(re.findall(r"--axis (\w+=\w+)", tiny_axes))
    assert axes == {"backend": ("triton",), "dtype": ("bfloat16",)}
    small = EXPERIMENT
    for name, values in axes.items():
        small = small.with_axis(name, values)
    tiny, large = small.cells("smoke", "cuda"), EXPERIMENT.cells("gpu", "cuda")
    assert contenders(tiny) == contenders(large)
    assert {one.workload.kind for one in tiny} == {one.workload.kind for one in large}
    assert {one.length for one in tiny} == {256}


def contenders(cells: tuple[Cell, ...]) -> set[tuple[str, ...]]:
    return {(one.scope, one.contender, one.dtype, *backends(one)) for one in cells}


def backends(one: Cell) -> list[str]:
    ours = one.implementation == "ours"
    return sorted({each.backend for each in one.config.attentions if ours and isinstance(each, LSHAttention)})


def test_the_script_for_the_paper_runs_every_experiment_of_its_profile_once() -> None:
    script = (PROJECT / ".ci" / "gpu_paper").read_text()
    groups = re.findall(r'^  "([a-z0-9_ ]+)"', script, flags=re.MULTILINE)
    named = [name for group in groups for name in group.split()]
    assert sorted(named) == sorted(one.name for one in EXPERIMENTS if "paper" in one.scales)


@pytest.mark.parametrize("arguments", [(), ("a", "b", "c"), ("out", "soon")])
def test_the_script_for_the_paper_says_how_it_is_used(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [PROJECT / ".ci" / "gpu_paper", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert ".ci/gpu_paper FOLDER [SECONDS]" in done.stderr
