"""One cell, one process, one record, whatever happens to the process."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ablations.harness.cell import Ceiling, PeakMemory, TimeStep
from ablations.harness.errors import UserError
from ablations.harness.measurement import Ceilings, LearningCurve, PeakBytes, StepTimes
from ablations.harness.plan import pending
from ablations.harness.request import Request
from ablations.harness.runner import Runner, _outcome, _read_outcome, seconds_asleep
from ablations.harness.training import Learn
from reformer.config import LSHAttention
from tests.harness.cells import cell, config, here, learning_cell


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(here()) as one:
        one.run(cell(), timeout_seconds=60)
        yield one


def server_of(runner: Runner) -> psutil.Process:
    assert runner._server is not None
    return psutil.Process(runner._server.pid)


def test_a_time_cell_becomes_a_record_of_samples(runner: Runner) -> None:
    one = cell("reformer", length=40, workload=TimeStep(mode="forward", min_samples=7, seconds=0.001))
    record = runner.run(one, timeout_seconds=60)
    assert record.status == "ok"
    assert record.cell == one
    assert isinstance(record.measurement, StepTimes)
    assert len(record.measurement.wall_seconds) == len(record.measurement.cpu_seconds) == 7
    assert record.measurement.tokens_per_step == 40
    assert record.measurement.device_seconds is None
    assert record.worker_seconds is not None
    assert record.seconds >= record.worker_seconds > sum(record.measurement.wall_seconds)


def test_a_memory_cell_is_exact_and_the_same_in_every_process(runner: Runner) -> None:
    one = cell("reformer", length=200, workload=PeakMemory(mode="forward_backward"))
    first, second = (runner.run(one, timeout_seconds=60).measurement for _ in range(2))
    assert isinstance(first, PeakBytes)
    assert isinstance(second, PeakBytes)
    assert first.peak_bytes == second.peak_bytes > 0
    assert first.gradient_bytes == first.parameter_bytes > 0
    assert first.os_peak_bytes is not None
    assert first.process_bytes is None
    assert first.process_missing


@pytest.mark.parametrize("implementation", ["ours", "huggingface", "lucidrains"])
def test_attention_alone_of_every_implementation_becomes_a_record(implementation: str, runner: Runner) -> None:
    small = config("lsh_only", length=48, attention=LSHAttention(chunk_len=6, n_hashes=3))
    one = cell(config=small, length=48, batch=5, scope="attention", implementation=implementation)
    record = runner.run(one, timeout_seconds=120)
    assert (record.status, record.reason) == ("ok", None)
    assert isinstance(record.measurement, StepTimes)
    assert record.measurement.tokens_per_step == 5 * 48


def test_a_machine_s_ceilings_become_a_record(runner: Runner) -> None:
    record = runner.run(
        cell(scope="machine", dtype="bfloat16", workload=Ceiling(widths=(32,), copy_bytes=4096)), timeout_seconds=60
    )
    assert isinstance(record.measurement, Ceilings)
    assert [one.width for one in record.measurement.products] == [32]


def test_what_does_not_exist_here_is_unsupported_with_its_reason(runner: Runner) -> None:
    dense = config("dense_separate_qk", length=48)
    one = cell(config=dense, length=48, scope="attention", implementation="sdpa_cudnn")
    record = runner.run(one, timeout_seconds=60)
    assert record.status == "unsupported"
    assert record.reason
    assert "No viable backend" in record.reason


def test_the_system_s_view_of_memory_is_left_out_where_it_is_not_asked_for(runner: Runner) -> None:
    asked, not_asked = (
        runner.run(cell(workload=PeakMemory(mode="forward", resident=resident)), timeout_seconds=60).measurement
        for resident in (True, False)
    )
    assert isinstance(asked, PeakBytes)
    assert isinstance(not_asked, PeakBytes)
    assert asked.peak_bytes == not_asked.peak_bytes
    assert (not_asked.os_peak_bytes, not_asked.os_peak_missing) == (None, "not asked for")


def test_a_cell_s_process_is_gone_once_its_record_is_there(runner: Runner) -> None:
    for _ in range(2):
        assert runner.run(cell(workload=PeakMemory(mode="forward")), timeout_seconds=60).status == "ok"
        assert server_of(runner).children() == []


def test_more_memory_than_the_machine_has_becomes_an_oom_record_and_the_next_cell_runs(runner: Runner) -> None:
    length = 400_000
    large = cell(length=length, workload=PeakMemory(mode="forward"), config=config(length=length))
    record = runner.run(large, timeout_seconds=60)
    assert record.status == "oom"
    assert record.reason
    assert "can't allocate memory" in record.reason
    assert runner.run(cell(), timeout_seconds=60).status == "ok"


def test_a_cell_that_takes_too_long_becomes_a_timeout_record() -> None:
    slow = cell(
        workload=TimeStep(mode="forward", seconds=50.0, min_samples=10**6), length=2048, config=config(length=2048)
    )
    with Runner(here()) as runner:
        record = runner.run(slow, timeout_seconds=1.5)
        assert record.status == "timeout"
        assert record.reason == "not done within 1.5 s"
        assert server_of(runner).children() == []


def kill_children_soon(of: psutil.Process) -> threading.Thread:
    def kill() -> None:
        time.sleep(1.0)
        for process in of.children():
            process.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


LONG = TimeStep(mode="forward", seconds=20.0)


def test_a_killed_cell_becomes_a_record_and_the_next_cell_runs(runner: Runner) -> None:
    killer = kill_children_soon(of=server_of(runner))
    record = runner.run(cell(length=1024, workload=LONG), timeout_seconds=60)
    killer.join()
    assert record.status == "killed"
    assert record.reason
    assert "SIGKILL" in record.reason
    assert runner.run(cell(), timeout_seconds=60).status == "ok"


def test_a_killed_server_takes_its_cell_along_and_is_replaced() -> None:
    with Runner(here()) as runner:
        runner.run(cell(), timeout_seconds=60)
        server = server_of(runner)
        found: list[psutil.Process] = []

        def kill() -> None:
            time.sleep(1.0)
            found.extend(server.children())
            server.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        record = runner.run(cell(length=1024, workload=LONG), timeout_seconds=60)
        killer.join()
        assert record.status == "killed"
        assert runner.run(cell(), timeout_seconds=60).status == "ok"
        assert [child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in found] == [False]


def test_a_mistake_in_the_code_becomes_an_error_record_that_names_it(runner: Runner) -> None:
    # A learning cell whose data is not what it should be.
    record = runner.run(learning_cell("dense"), Path("/dev/null"), timeout_seconds=60)
    assert record.status == "error"
    assert record.reason
    assert ".py, line" in record.reason


def test_the_runner_waits_without_computing(runner: Runner) -> None:
    before = time.process_time()
    runner.run(cell(length=1024, workload=TimeStep(mode="forward", seconds=1.0)), timeout_seconds=60)
    assert time.process_time() - before < 0.05


def test_leaving_the_runner_ends_its_processes() -> None:
    with Runner(here()) as runner:
        runner.run(cell(), timeout_seconds=60)
        server = server_of(runner)
    assert not server.is_running()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of enwik8's size, nearly all of it a hole; learning from it is easy."""
    path = tmp_path / "text"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    return path


def test_all_variants_of_a_seed_learn_from_the_same_weights_and_windows(runner: Runner, text: Path) -> None:
    curves = {}
    for variant in ("dense", "reversible_only"):
        measurement = runner.run(learning_cell(variant, steps=5), text, timeout_seconds=60).measurement
        assert isinstance(measurement, LearningCurve)
        curves[variant] = measurement
    dense, reversible = curves["dense"], curves["reversible_only"]
    assert [evaluation.step for evaluation in dense.evaluations] == [2, 4, 5]
    assert dense.evaluations[-1].bits_per_token < dense.points[0].bits_per_token
    # The same function, the same weights and windows: only float32 rounding can tell the two apart.
    for one, other in zip(dense.points, reversible.points, strict=True):
        assert one.bits_per_token == pytest.approx(other.bits_per_token, abs=1e-3)
    assert "validation" in dense.split


def test_a_learning_run_repeats_itself(runner: Runner, text: Path) -> None:
    runs = [runner.run(learning_cell("reformer", seed=3), text, timeout_seconds=60).measurement for _ in range(2)]
    losses = [[point.bits_per_token for point in run.points] for run in runs if isinstance(run, LearningCurve)]
    assert losses[0] == losses[1]


def test_a_training_run_whose_process_is_killed_goes_on_from_its_checkpoint(
    runner: Runner, text: Path, tmp_path: Path
) -> None:
    one = learning_cell("reformer", steps=400)
    whole = runner.run(one, text, timeout_seconds=120).measurement
    environment = here().model_copy(update={"dirty": False, "commit": "0123abcd4567"})
    with Runner(environment, folder=tmp_path, checkpoint_seconds=0.0) as mortal:
        killing = threading.Thread(target=kill_while_training, args=(mortal, tmp_path / "training" / f"{one.id}.curve"))
        killing.start()
        killed = mortal.run(one, text, timeout_seconds=120)
        killing.join()
        resumed = mortal.run(one, text, timeout_seconds=120).measurement
    assert killed.status == "killed"
    assert isinstance(whole, LearningCurve)
    assert isinstance(resumed, LearningCurve)
    assert len(resumed.resumed_after) == 1
    assert [point.bits_per_token for point in resumed.points] == [point.bits_per_token for point in whole.points]


def kill_while_training(runner: Runner, curve: Path) -> None:
    """Kill the cell's process some steps after its checkpoint."""
    while not curve.exists() or len(curve.read_text().splitlines()) < 9:
        time.sleep(0.01)
    for process in server_of(runner).children():
        process.kill()


def test_the_server_prints_nothing_between_its_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ablations.harness.server"],
        input=b"",
        capture_output=True,
        check=True,
    )
    assert done.stdout == b""


def test_training_that_diverges_becomes_an_error_record(runner: Runner, text: Path) -> None:
    one = learning_cell("dense", steps=30)
    assert isinstance(one.workload, Learn)
    recipe = one.workload.recipe.model_copy(update={"learning_rate": 1e30})
    wild = one.model_copy(update={"workload": one.workload.model_copy(update={"recipe": recipe})})
    record = runner.run(wild, text, timeout_seconds=60)
    assert record.status == "error"
    assert record.reason
    assert "training diverged: the loss of step" in record.reason


def test_an_outcome_that_cannot_be_read_becomes_an_error_record(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    path.write_text('{"status": "ok", "reason": null, "measurement": {"kind": "time"}}')
    status, reason, measurement, _ = _read_outcome(path)
    assert status == "error"
    assert reason
    assert "left no valid outcome" in reason
    assert measurement is None


def test_a_cell_s_process_that_fails_outside_the_measurement_leaves_its_traceback(runner: Runner) -> None:
    one = cell()
    request = Request(cell=one, data=None, outcome_path="/nowhere/outcome.json", log_path=f"{runner._folder.name}/log")
    exit_code, _ = runner._serve(request, 60)
    status, reason, *_ = _outcome(request, exit_code)
    assert status == "error"
    assert reason
    assert "/nowhere/outcome.json" in reason


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit(3)", "the process that starts the cells ended with exit code 3"),
        ("print('a library says hello')", "said b'a library says hello"),
        ("import time; time.sleep(100)", "did not answer within 0.5 s"),
    ],
)
def test_a_server_that_does_not_serve_is_a_row_that_says_so(
    program: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_server.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("ablations.harness.runner.START_SECONDS", 0.5 if "time" in program else 60.0)
    with Runner(here(), server="no_server") as one:
        record = one.run(cell(), timeout_seconds=60)
        assert one._server is None
    assert record.status == "killed"
    assert record.reason
    assert words in record.reason


def test_a_server_that_cannot_be_started_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Runner(here()) as one:
        record = one.run(cell(), timeout_seconds=60)
    assert (record.status, record.reason) == (
        "killed",
        "the process that starts the cells cannot be started: No such file or directory",
    )


def test_a_cell_during_which_the_machine_slept_is_an_error_that_a_later_run_repeats(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([100.0, 3700.0, 3700.0, 3700.1])
    monkeypatch.setattr("ablations.harness.runner.seconds_asleep", lambda: next(readings))
    slept, awake = (runner.run(cell(), timeout_seconds=60) for _ in range(2))
    assert (slept.status, slept.reason) == ("error", "the machine slept for 3600 s meanwhile")
    assert slept.measurement is None
    assert awake.status == "ok"
    assert pending([cell()], [slept], here(), retry_failed=False) == (cell(),)


def test_the_clocks_that_tell_of_sleep_differ_by_the_time_asleep() -> None:
    assert seconds_asleep() >= -0.01
    assert seconds_asleep() == pytest.approx(seconds_asleep(), abs=0.4)


def test_no_folder_for_temporary_files_is_a_user_s_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    with pytest.raises(UserError, match=r"Cannot write to a folder for temporary files: .* TMPDIR"):
        Runner(here())
