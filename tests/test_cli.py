"""The command line, as its user meets it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import typer.main
from typer.core import TyperGroup

from ablations import cli
from ablations.harness.record import Record
from ablations.harness.store import Plan, load

PROJECT = Path(__file__).resolve().parents[1]
TINY = ("--profile", "smoke", "--only", "hash_rounds", "--axis", "length=64", "--axis", "n_hashes=1,2")
N_TINY_CELLS = 15 + 1
"""Of the experiment, and the machine's ceilings."""


def command(*arguments: str, folder: Path) -> list[str]:
    where = ("--results", str(folder / "results"), "--reports", str(folder / "reports"))
    return [sys.executable, "run_all.py", *arguments, *where]


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, folder=folder),
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def machine_folder(folder: Path) -> Path:
    (only,) = (folder / "results").iterdir()
    return only


def records(folder: Path) -> tuple[Record, ...]:
    return load(machine_folder(folder))


def assert_is_a_paragraph(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    text = " ".join(done.stderr.split())
    for word in words:
        assert word in text, text


def test_the_flags_are_these_and_no_others() -> None:
    flags = [option for parameter in typer.main.get_command(cli.app).params for option in parameter.opts]
    assert flags == [
        "--profile",
        "--only",
        "--axis",
        "--memory-budget",
        "--results",
        "--reports",
        "--engine",
        "--address",
        "--timeout",
        "--dry-run",
        "--render-only",
        "--retry-failed",
    ]


def test_the_commands_beside_a_run_are_these_with_these_flags_and_no_others() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    flags = {
        name: [option for one in command.params for option in one.opts] for name, command in group.commands.items()
    }
    assert flags == {
        "doctor": [],
        "claims": ["--results", "--machine"],
        "compare": [
            *("a", "b", "--results", "--machine", "--across", "--threshold", "--memory-threshold", "--bits-threshold"),
            *("--strict", "--html", "--markdown"),
        ],
        "export": ["folder", "--results", "--machine", "--format"],
        "gate": ["--base", "--project", "--rounds", "--out", "--summary"],
        "history": ["file", "--reports", "--add"],
        "instructions": ["--out", "--base"],
    }


@pytest.mark.parametrize("arguments", [("compare", "a", "b"), ("doctor",), ("claims",), ("--render-only",)])
def test_a_fault_of_the_suite_is_not_the_exit_code_that_says_worse(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    for place in ("compare.sources.read_source", "doctor.checkup.examine", "cli.measured", "cli._render"):
        monkeypatch.setattr(f"ablations.{place}", fail)
    monkeypatch.setattr(sys, "argv", ["run_all.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "ZeroDivisionError: planted" in said
    assert "in fail" in said


def test_a_reader_that_goes_before_the_end_is_not_the_exit_code_that_says_worse() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "run_all.py", "claims"], cwd=PROJECT, stdout=nobody, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (2, b"")


def test_help_imports_next_to_nothing() -> None:
    code = """
import sys
sys.argv = ["run_all.py", "--help"]
from ablations import cli
try:
    cli.main()
except SystemExit as end:
    assert end.code == 0
heavy = {"torch", "numpy", "pandas", "matplotlib", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "--render-only" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--profile", "huge"), ("no profile 'huge'", "smoke, cpu, gpu")),
        (("--only", "width"), ("no experiment 'width'", "sequence_length, hash_rounds, depth, learn_enwik8")),
        (("--axis", "width=3"), ("no axis 'width'", "known are seed, batch")),
        (("--axis", "length"), ("NAME=VALUE",)),
        (("--axis", "variant=sparse"), ("no variant 'sparse'", "reformer")),
        (("--axis", "n_hashes=0"), ("n_hashes=0", "greater than or equal to 1")),
        (("--axis", "n_buckets=33"), ("n_buckets=33 is odd", "use 32 or 34")),
        (("--profile", "smoke", "--axis", "length=5000"), ("length=5000", "longer than the 2048 positions")),
        (("--axis", "length=-3"), ("length", "-3")),
        (("--axis", "length=1", "--axis", "length=2"), ("length is given twice",)),
        (("--axis", "length=--5"), ("max_len='--5'", "valid integer")),
        (("--render-only",), ("no results folder", "Run without --render-only first")),
        (("--render-only", "--profile", "cpu"), ("--render-only renders what is there",)),
        (("--timeout", "nothing"), ("--timeout",)),
        (("--unheard-of",), ("--unheard-of",)),
        (("sweep",), ("sweep",)),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_user_s_mistake_gets_a_paragraph_and_exit_code_2(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    assert_is_a_paragraph(run(*arguments, folder=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


def test_the_gpu_profile_without_a_gpu_is_refused(tmp_path: Path) -> None:
    if shutil.which("nvidia-smi"):
        assert run("--profile", "gpu", "--dry-run", folder=tmp_path).returncode == 0
    else:
        assert_is_a_paragraph(run("--profile", "gpu", folder=tmp_path), "needs an NVIDIA GPU", "--profile cpu")


@pytest.mark.parametrize("name", ["results", "reports"])
def test_a_folder_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("a file in the way")
    assert_is_a_paragraph(run(*TINY, folder=tmp_path), "Cannot write", name, f"--{name}")


def test_dry_run_lists_every_cell_and_writes_nothing(tmp_path: Path) -> None:
    done = run(*TINY, "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    cells, costs = lines[:N_TINY_CELLS], lines[N_TINY_CELLS:-1]
    assert sorted(line.split()[0] for line in costs) == ["ceilings", "hash_rounds"]
    assert lines[-1].startswith(f"{N_TINY_CELLS} of {N_TINY_CELLS} cells to do")
    assert all("to do" in line and " s " in line and "MiB" in line for line in cells)
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_at_any_cell_goes_on_where_it_stopped(tmp_path: Path) -> None:
    seen = 0
    for stop_at in (1, 4, 9):
        process = subprocess.Popen(command(*TINY, folder=tmp_path), cwd=PROJECT, stdout=subprocess.DEVNULL)
        while seen < stop_at:
            time.sleep(0.02)
            files = list(tmp_path.glob("results/*/*.jsonl"))
            seen = sum(path.read_bytes().count(b"\n") for path in files)
            assert process.poll() is None, "the run ended before it was killed"
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGKILL)
        process.wait()
        psutil.wait_procs(family, timeout=10)
        assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        seen = len(records(tmp_path))
    done = run(*TINY, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = Counter(record.cell_id for record in records(tmp_path))
    plan = Plan.model_validate_json((machine_folder(tmp_path) / "plan.json").read_text())
    planned = [cell.id for experiment in plan.experiments for cell in experiment.cells]
    assert len(planned) == N_TINY_CELLS
    assert counts == Counter(planned)
    assert {record.status for record in records(tmp_path)} == {"ok"}

    page = (tmp_path / "reports" / "index.html").read_bytes()
    again = run(*TINY, folder=tmp_path)
    assert f"0 of {N_TINY_CELLS} cells to measure" in again.stdout
    assert (tmp_path / "reports" / "index.html").read_bytes() == page
    assert run("--render-only", folder=tmp_path).returncode == 0
    assert (tmp_path / "reports" / "index.html").read_bytes() == page

    path = machine_folder(tmp_path) / "hash_rounds.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert run("--render-only", folder=tmp_path).returncode == 0
    assert path.read_bytes() == whole[:-30]
    mended = run(*TINY, folder=tmp_path)
    assert mended.returncode == 0, mended.stderr
    assert f"1 of {N_TINY_CELLS} cells to measure" in mended.stdout
    assert "a crash had cut the last line short" in " ".join(mended.stdout.split())
    assert len(records(tmp_path)) == N_TINY_CELLS


def test_an_interrupt_keeps_what_was_measured(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(*TINY, folder=tmp_path), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(path.read_bytes().count(b"\n") for path in tmp_path.glob("results/*/*.jsonl")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert_is_a_paragraph(
        subprocess.CompletedProcess([], process.returncode, out, err), "Interrupted", "run the same command again"
    )
    measured = len(records(tmp_path))
    assert measured >= 1
    assert f"{measured} of {N_TINY_CELLS} cells were measured" in " ".join(err.split())


def test_a_second_run_beside_the_first_is_refused(tmp_path: Path) -> None:
    process = subprocess.Popen(command(*TINY, folder=tmp_path), cwd=PROJECT, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("results/*/.lock")):
        time.sleep(0.02)
    time.sleep(0.2)
    try:
        assert_is_a_paragraph(run(*TINY, folder=tmp_path), "Another run is measuring", "--results")
    finally:
        process.kill()
        process.wait()


def test_without_data_learning_cells_say_so_and_the_rest_goes_on(tmp_path: Path) -> None:
    # No data folder, an empty cache, and a proxy that refuses: nothing can be found or downloaded.
    nowhere = {
        "REFORMER_DATA": "",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
    }
    done = run(*TINY, "--only", "learn_enwik8", "--axis", "seed=0", folder=tmp_path, **nowhere)
    assert done.returncode == 0, done.stderr
    by_experiment = Counter((record.cell.experiment, record.status) for record in records(tmp_path))
    assert by_experiment == {
        ("ceilings", "ok"): 1,
        ("hash_rounds", "ok"): N_TINY_CELLS - 1,
        ("learn_enwik8", "not_run"): 6,
    }
    reasons = {record.reason for record in records(tmp_path) if record.status == "not_run"}
    (reason,) = reasons
    assert reason
    assert "REFORMER_DATA is not set" in reason
    assert "mattmahoney.net" in reason
    assert "not run" in (tmp_path / "reports" / "index.md").read_text().lower()
