"""A plan measured on two Ray nodes: the records of one machine, whatever is killed on the way."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ablations.cli import _place
from ablations.harness.errors import UserError
from ablations.harness.store import load
from tests.cluster.driver import cells
from tests.cluster.nodes import Nodes, nodes

SECONDS = 120.0
ENOUGH = 15
"""Records after which something is killed."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes(tmp_path_factory.mktemp("nodes"), 2) as found:
        yield found


def driver(results: Path, *address: str) -> subprocess.Popen[bytes]:
    with (results.parent / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.driver", str(results), *address], stdout=log, stderr=log
        )


def measured(results: Path) -> Counter[tuple[str, str]]:
    """Id and status of all records."""
    found = [record for folder in results.glob("*/") for record in load(folder)]
    return Counter((record.cell_id, record.status) for record in found)


def machines(results: Path) -> set[str]:
    return {record.environment.machine for folder in results.glob("*/") for record in load(folder)}


def lines(results: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in results.glob("*/*.jsonl"))


def ended(process: subprocess.Popen[bytes], results: Path) -> int:
    try:
        return process.wait(SECONDS)
    finally:
        process.kill()
        print((results.parent / "log").read_text()[-3000:])


def wait_for_records(count: int, process: subprocess.Popen[bytes], results: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while lines(results) < count:
        assert process.poll() is None, (results.parent / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def on_one_machine(tmp_path_factory: pytest.TempPathFactory) -> Counter[tuple[str, str]]:
    results = tmp_path_factory.mktemp("local") / "results"
    assert ended(driver(results), results) == 0
    found = measured(results)
    assert found == Counter({(cell.id, "ok"): 1 for cell in cells()})
    return found


def test_two_nodes_give_the_records_of_one_machine_and_both_take_part(
    cluster: Nodes, on_one_machine: Counter[tuple[str, str]], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    assert ended(driver(results, cluster.address), results) == 0
    assert measured(results) == on_one_machine
    assert len(machines(results)) == 2
    assert len(list(results.glob("*/"))) == 1, "of one kind, so that a figure draws them as one"
    # All is measured: a second run adds nothing.
    assert ended(driver(results, cluster.address), results) == 0
    assert measured(results) == on_one_machine


def kill_a_node(cluster: Nodes) -> None:
    cluster.last.kill()


def kill_a_station(cluster: Nodes) -> None:
    (station, *_) = [one for node in cluster.living for one in node.processes("ray::Station")]
    station.kill()


@pytest.mark.parametrize("kill", [kill_a_station, kill_a_node])
def test_what_is_lost_with_a_process_or_a_node_is_measured_again(
    kill: Callable[[Nodes], None], cluster: Nodes, on_one_machine: Counter[tuple[str, str]], tmp_path: Path
) -> None:
    cluster.add()
    results = tmp_path / "results"
    process = driver(results, cluster.address)
    wait_for_records(ENOUGH, process, results)
    kill(cluster)
    assert ended(process, results) == 0
    assert measured(results) == on_one_machine


def test_a_driver_that_was_killed_is_started_again_and_goes_on(
    cluster: Nodes, on_one_machine: Counter[tuple[str, str]], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    process = driver(results, cluster.address)
    wait_for_records(ENOUGH, process, results)
    process.kill()
    process.wait()
    before = lines(results)
    assert before < len(cells())
    assert ended(driver(results, cluster.address), results) == 0
    assert measured(results) == on_one_machine


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'reformer-suite\[cluster\]'"):
        _place("ray", None, None)


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("127.0.0.1:1", r"There is no Ray cluster at --address 127\.0\.0\.1:1 .*`ray start --head`"),
        ("somewhere", r"--address somewhere is no HOST:PORT"),
    ],
)
def test_a_wrong_address_is_told_at_once_with_what_to_do(address: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        _place("ray", address, None)


def test_an_address_without_the_engine_that_has_one_is_refused() -> None:
    with pytest.raises(UserError, match="give --engine ray with it"):
        _place("local", "127.0.0.1:6379", None)
