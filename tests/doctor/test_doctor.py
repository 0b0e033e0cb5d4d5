"""The doctor on this machine, as a user meets it. Its times are what they are here; the rest must hold anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from ablations.doctor import cells, judgements
from ablations.doctor.checkup import PROBE_SERVER
from ablations.harness.environment import describe
from ablations.harness.runner import SERVER, Runner

PROJECT = Path(__file__).resolve().parents[2]


def doctor(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "run_all.py", *options, "doctor"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False)


def test_every_check_has_its_line_and_the_exit_code_says_whether_one_failed() -> None:
    done = doctor()
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stdout.splitlines() if line[:6].strip() in ("ok", "null", "FAIL")]
    states = {line[6:].split(": ")[0]: line[:6].strip() for line in lines}
    assert list(states)[:9] == [
        "known memory",
        "out of memory",
        "known sleep",
        "timeout",
        "A/A",
        "planted slowdown",
        "ceilings",
        "contention",
        "device state",
    ]
    assert {"energy", "process bytes by the driver", "kernel times"} <= set(states)
    # Counts do not depend on what else runs.
    assert states["known memory"] == states["out of memory"] == "ok"
    assert "201,326,592 bytes measured of 201,326,592" in lines[0]
    (timeout,) = (line for line in lines if "timeout:" in line)
    assert "ended as timeout" in timeout
    assert "0 processes left" in timeout
    failed = [name for name, state in states.items() if state == "FAIL"]
    assert done.returncode == (1 if failed else 0)
    assert ("cannot be trusted, see " + ", ".join(failed) if failed else "can be trusted.") in done.stdout


def test_the_doctor_takes_no_option_of_a_run() -> None:
    done = doctor("--profile", "smoke", "--dry-run")
    assert done.returncode == 2
    assert "doctor takes none of the options of a run; leave out --profile, --dry-run." in " ".join(done.stderr.split())


def test_a_known_size_is_not_found_where_the_server_measures_something_else() -> None:
    """Ordinary cells' server, asked for a probe, measures the model instead: the check tells."""
    here, cell = describe("cpu"), cells.probe("known memory", "cpu")
    with Runner(here, server=SERVER) as ordinary, Runner(here, server=PROBE_SERVER) as probes:
        assert judgements.known_memory(ordinary.run(cell, timeout_seconds=60)).state == "FAIL"
        assert judgements.known_memory(probes.run(cell, timeout_seconds=60)).state == "ok"


def test_asking_for_the_doctor_imports_no_torch_into_this_process() -> None:
    code = "import sys; import ablations.doctor.checkup; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.parametrize("probe", cells.PROBES)
def test_every_probe_can_be_done(probe: cells.Probe) -> None:
    from ablations.doctor.probes import PROBED

    assert cells.probe(probe, "cpu").experiment in PROBED
