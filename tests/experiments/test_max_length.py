"""The search for the longest sequence, from its plan to the command line."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from ablations.experiments.max_length import EXPERIMENT, VARIANTS
from ablations.harness.cell import Capacity
from ablations.harness.errors import UserError
from ablations.harness.experiment import Experiment, Profile, parse_axis, parse_budget
from ablations.harness.plan import ATTEMPTS, make_plan, searches_of, settled, with_probes
from ablations.harness.record import Record
from ablations.harness.search import Search, found
from ablations.harness.store import Plan, load
from reformer.config import AxialPositions, LSHAttention
from tests.harness.cells import here, record

PROJECT = Path(__file__).resolve().parents[2]
GIB = 2**30


def searches(profile: Profile, experiment: Experiment = EXPERIMENT) -> tuple[Search, ...]:
    return experiment.searches(profile, "cuda" if profile in ("gpu", "paper") else "cpu")


def budgets(found_searches: tuple[Search, ...]) -> set[int | None]:
    workloads = {one.cell.workload for one in found_searches}
    return {workload.budget_bytes for workload in workloads if isinstance(workload, Capacity)}


@pytest.mark.parametrize("profile", get_args(Profile))
def test_every_variant_is_searched_within_every_budget(profile: Profile) -> None:
    asked = searches(profile)
    assert Counter(one.cell.config.variant for one in asked) == dict.fromkeys(VARIANTS, len(budgets(asked)))
    assert all(one.cell.mode == "training_step" for one in asked)
    assert all(one.granule == 128 for one in asked)


def test_on_a_gpu_the_budgets_are_the_paper_s_and_the_whole_device() -> None:
    assert budgets(searches("gpu")) == {16 * GIB, None}


@pytest.mark.parametrize("profile", get_args(Profile))
def test_positions_serve_the_longest_to_try_and_weigh_next_to_nothing(profile: Profile) -> None:
    for one in searches(profile):
        positions = one.probe(one.most).config.positions
        assert isinstance(positions, AxialPositions)
        table = sum(n * width for n, width in zip(positions.shape, positions.dims, strict=True))
        # Against the stream of a single layer at the first length already.
        assert table < one.cell.length * one.cell.config.d_model


def test_what_a_probe_may_take_bounds_the_lengths_and_the_reason_is_kept() -> None:
    reasons = {one.cell.config.variant: (one.most, one.most_reason) for one in searches("cpu")}
    assert reasons["reformer"][0] > reasons["dense_fused"][0]
    assert re.fullmatch(r"twice as long would take \d+ s by estimate, more than 12 s", reasons["dense_fused"][1])
    in_smoke = {one.cell.config.variant: one.most_reason for one in searches("smoke")}
    assert in_smoke["reformer"] == "the experiment tries none beyond 4,096"


def test_another_budget_takes_the_place_of_all() -> None:
    asked = searches("gpu", EXPERIMENT.with_budget(7 * GIB))
    assert budgets(asked) == {7 * GIB}
    assert len(asked) == len(VARIANTS)


def test_axes_apply_to_searches_and_the_shortest_length_is_where_they_start() -> None:
    changed = EXPERIMENT.with_axis("length", (2048, 256)).with_axis("variant", ("dense", "reformer"))
    changed = changed.with_axis("n_hashes", (1, 3)).with_axis("n_buckets", (8,))
    asked = searches("smoke", changed)
    assert [one.cell.length for one in asked] == [256] * 3
    lsh = [one.probe(1024).config.attentions[0] for one in asked if one.cell.config.variant == "reformer"]
    assert {(one.n_hashes, one.n_buckets) for one in lsh if isinstance(one, LSHAttention)} == {(1, (8,)), (3, (8,))}


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("length=1000", "length=1000 is no multiple of 128"),
        ("length=many", "max_len='many'"),
        ("chunk_len=0", "chunk_len"),
        ("length=8192", "longer than the 4096 positions"),
    ],
)
def test_a_search_that_cannot_exist_is_refused_by_name(axis: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        searches("smoke", EXPERIMENT.with_axis(*parse_axis(axis)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("16GiB", 16 * GIB), ("900MiB", 900 * 2**20), ("1.5GiB", 3 * 2**29), ("7KiB", 7168), ("2TiB", 2**41)],
)
def test_a_budget_is_read_in_binary_units(text: str, expected: int) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize(
    "text", ["", "16", "16GB", "GiB", "-1GiB", "0GiB", "0.0000001KiB", "1e3GiB", "nanGiB", "16 GiB ", "1٢GiB", 40 * "9"]
)
def test_any_other_budget_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"in KiB, MiB, GiB, TiB, as --memory-budget 16GiB"):
        parse_budget(text)


def test_a_plan_keeps_its_searches_and_one_that_has_none_is_read() -> None:
    plan = make_plan([EXPERIMENT], "smoke", "cpu")
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    older = plan.model_dump(mode="json")
    for experiment in older["experiments"]:
        del experiment["searches"]
    assert searches_of(Plan.model_validate(older)) == ()


def test_a_failed_probe_is_tried_again_only_if_asked_for() -> None:
    plan = make_plan([EXPERIMENT.with_axis("variant", ("dense",))], "smoke", "cpu")
    (search,) = searches_of(plan)
    environment = here()
    killed = record(search.cell, environment, status="killed", reason="r", measurement=None)
    kept, again = (settled([killed] * ATTEMPTS, environment, retry_failed=retry) for retry in (False, True))
    assert found(search, kept).next is None
    assert found(search, again).next == search.cell
    assert with_probes(plan, kept) == with_probes(plan, again) == (search.cell,)


TINY = ("--profile", "smoke", "--only", "max_length", "--axis", "variant=dense")


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, folder=folder), cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )


def command(*arguments: str, folder: Path) -> list[str]:
    where = ("--results", str(folder / "results"), "--reports", str(folder / "reports"))
    return [sys.executable, "run_all.py", *TINY, *arguments, *where]


def records(folder: Path) -> tuple[Record, ...]:
    (machine,) = (folder / "results").iterdir()
    return load(machine)


def test_a_search_killed_midway_goes_on_where_it_stopped_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    process = subprocess.Popen(command(folder=tmp_path), cwd=PROJECT, stdout=subprocess.DEVNULL)
    while sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("results/*/*.jsonl")) < 4:
        time.sleep(0.02)
        assert process.poll() is None, "the run ended before it was killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = run(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    made = records(tmp_path)
    assert max(Counter(one.cell_id for one in made).values()) == 1
    (search,) = searches("smoke", EXPERIMENT.with_axis(*parse_axis(TINY[-1])))
    finding = found(search, {one.cell_id: one.status for one in made})
    assert (finding.stop, len(finding.probes)) == ("bracketed", len(made))
    assert finding.fits
    page = (tmp_path / "reports" / "index.html").read_bytes()
    again = run(folder=tmp_path)
    assert f"0 of {len(made)} cells to measure" in again.stdout
    assert (tmp_path / "reports" / "index.html").read_bytes() == page


def test_a_smaller_budget_is_another_search_and_finds_a_shorter_length(tmp_path: Path) -> None:
    listed = run("--memory-budget", "24MiB", "--dry-run", folder=tmp_path)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["to", "max_length", "1"]
    assert "1 of 1 cells to do, and what 1 search for a length tries next" in listed.stdout
    assert list(tmp_path.iterdir()) == []
    for budget in ("64MiB", "24MiB"):
        assert run("--memory-budget", budget, folder=tmp_path).returncode == 0
    report = (tmp_path / "reports" / "index.md").read_text()
    assert "24.0 MiB" in report
    longest = Counter[int]()
    for one in records(tmp_path):
        assert isinstance(one.cell.workload, Capacity)
        budget_bytes = one.cell.workload.budget_bytes
        assert budget_bytes
        if one.status == "ok":
            longest[budget_bytes] = max(longest[budget_bytes], one.cell.length)
    assert longest[24 * 2**20] < longest[64 * 2**20]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--memory-budget", "16GB"), "in KiB, MiB, GiB, TiB"),
        (("--memory-budget", "999TiB"), "--memory-budget 999TiB is more than the"),
        (("--memory-budget", "1GiB", "--render-only"), "--render-only renders what is there"),
    ],
)
def test_a_wrong_budget_gets_a_paragraph_and_exit_code_2(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_budget_without_an_experiment_that_has_one_is_refused(tmp_path: Path) -> None:
    arguments = ["run_all.py", "--profile", "smoke", "--only", "depth", "--memory-budget", "1GiB"]
    done = subprocess.run([sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--memory-budget is for max_length, which --only leaves out" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
