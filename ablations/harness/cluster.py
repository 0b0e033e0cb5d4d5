"""Where cells run: on the nodes of a Ray cluster, on each of them as on one machine."""

import contextlib
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ablations.harness.cell import Cell, Device
from ablations.harness.engine import Announce, Bench, without_measurement
from ablations.harness.environment import describe, hardware, named_here
from ablations.harness.errors import UserError
from ablations.harness.record import Environment, Record
from ablations.harness.runner import Runner
from ablations.harness.worklist import Worklist

POLL_SECONDS = 1.0
INTRODUCTION_SECONDS = 60.0
"""How long a node may take to say what it is; the driver waits as long for a node when it has none left."""
KNOCK_SECONDS = 5.0
MOST_LOSSES = 3
"""A cell that was lost with so many nodes is given up: it may be what ends them."""

MISSING = "--engine ray needs Ray, which is not installed: pip install 'reformer-suite[cluster]'."

Ray = Any
"""The module, whose functions have no types worth the name."""


class Station:
    """One node, or one GPU of it: measures cell after cell in processes of their own. Lives in a process of Ray's.

    Args:
        device: What cells run on.
        timeout_seconds: As of `LocalEngine`.
    """

    def __init__(self, device: Device, timeout_seconds: float | None) -> None:
        # Ray tells its workers to use as many threads as they asked for processors; a cell decides for itself.
        os.environ.pop("OMP_NUM_THREADS", None)
        self._environment = describe(device)
        runner = Runner(self._environment)
        self._bench = Bench(
            runner, self._environment, timeout_seconds=timeout_seconds, announce=lambda _doing, _share: None
        )

    def environment(self) -> str:
        """Of the node, as JSON."""
        return self._environment.model_dump_json()

    def measure(self, cell: str) -> list[str]:
        """All attempts at a cell, as JSON."""
        return [record.model_dump_json() for record in self._bench.attempts(Cell.model_validate_json(cell))]


@dataclass(frozen=True)
class _Place:
    """A station and what it is asked: to say what it is, as long as `environment` is `None`, else to measure `cell`."""

    node: str
    number: int
    actor: Any
    environment: Environment | None = None
    cell: Cell | None = None


class Cluster:
    """A Ray cluster.

    Args:
        address: Its own; `None` for the one that this machine belongs to.
        timeout_seconds: As of `LocalEngine`.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str | None, *, timeout_seconds: float | None) -> None:
        self._ray = _connected(address)
        self._timeout_seconds = timeout_seconds

    @property
    def device(self) -> Device:
        """`cuda` where some node has a GPU, `cpu` elsewhere."""
        return "cuda" if self._ray.cluster_resources().get("GPU", 0) >= 1 else "cpu"

    @contextmanager
    def engine(self, device: Device) -> Iterator["RayEngine"]:
        """Measures on the nodes that have such a device."""
        engine = RayEngine(self._ray, device, timeout_seconds=self._timeout_seconds)
        try:
            yield engine
        finally:
            engine.close()
            self._ray.shutdown()


def _connected(address: str | None) -> Ray:
    try:
        import ray
    except ImportError:
        raise UserError(MISSING) from None
    if address:
        _knock(address)
    try:
        ray.init(address=address or "auto", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from None
    return ray


def _knock(address: str) -> None:
    """Find out whether anything is there: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address} is no HOST:PORT, as `ray start --head` prints it.")
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> UserError:
    where = f"at --address {address}" if address else "that this machine belongs to"
    return UserError(
        f"There is no Ray cluster {where} ({str(error).strip().splitlines()[0]}). Start one with `ray start --head`, "
        "or name its --address."
    )


class RayEngine:
    """The nodes of a cluster that are of one kind: the kind that most of them are of at the start.

    Each station takes a whole node, or a whole GPU and its share of a node's processors, so that nothing else of Ray's
    runs beside a cell. What is lost with a node or a process is measured again elsewhere. A node that comes later takes
    part.

    Args:
        ray: The module, connected to the cluster.
        device: What cells run on.
        timeout_seconds: As of `LocalEngine`.

    Raises:
        UserError: No node has such a device.
    """

    def __init__(self, ray: Ray, device: Device, *, timeout_seconds: float | None) -> None:
        self._ray, self._device, self._timeout_seconds = ray, device, timeout_seconds
        self._asked: dict[Any, _Place] = {}
        self._free: deque[_Place] = deque()
        self._again: deque[Cell] = deque()
        self._losses: Counter[str] = Counter()
        self._others: dict[str, Environment] = {}
        self._environment = self._most_common()

    @property
    def environment(self) -> Environment:
        """Of its nodes, under the name that this machine gives to hardware of their kind."""
        return named_here(self._environment)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Machines of another kind: what they measured could not be drawn as one line with the rest."""
        return tuple(sorted({environment.machine for environment in self._others.values()}))

    def close(self) -> None:
        """Give all nodes back."""
        for place in (*self._free, *self._asked.values()):
            self._ray.kill(place.actor)

    def measure(self, work: Worklist, announce: Announce) -> Iterator[Record]:
        """A record for each cell, as soon as it is there, in no certain order."""
        while not work.done:
            self._hand_out(work, announce)
            if not self._asked:
                self._wait_for_a_node()
            for reference in self._answered():
                yield from self._heard(reference)
            self._visit()

    def _hand_out(self, work: Worklist, announce: Announce) -> None:
        while self._free and (cell := self._again.popleft() if self._again else work.take()):
            place = replace(self._free.popleft(), cell=cell)
            announce(f"{cell.description} on {place.environment.machine if place.environment else place.node}", None)
            self._asked[place.actor.measure.remote(cell.model_dump_json())] = place

    def _answered(self) -> list[Any]:
        answered, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=POLL_SECONDS)
        return list(answered)

    def _heard(self, reference: Any) -> Iterator[Record]:  # noqa: ANN401  (a reference of Ray's)
        place = self._asked.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            yield from self._lost(place, error)
            return
        if place.cell is None:
            self._admit(replace(place, environment=Environment.model_validate_json(answer)))
            return
        self._free.append(replace(place, cell=None))
        yield from map(Record.model_validate_json, answer)

    def _lost(self, place: _Place, error: Exception) -> Iterator[Record]:
        """The node or the process is gone: `_visit` starts another where it can."""
        self._ray.kill(place.actor)
        if place.cell is None or place.environment is None:
            return
        self._losses[place.cell.id] += 1
        if self._losses[place.cell.id] < MOST_LOSSES:
            self._again.append(place.cell)
            return
        reason = f"lost {MOST_LOSSES} times with the process or node that measured it: {type(error).__name__}"
        yield without_measurement(place.cell, "killed", reason, place.environment)

    def _admit(self, place: _Place) -> None:
        assert place.environment is not None, "it has just said what it is"
        if self._kept(place.environment):
            self._free.append(place)
        else:
            self._others[place.node] = place.environment
            self._ray.kill(place.actor)

    def _kept(self, environment: Environment) -> bool:
        return _kind(environment) == _kind(self._environment)

    def _most_common(self) -> Environment:
        """What most nodes are; the others are left out."""
        introduced = [place for place in self._introductions() if place.environment]
        if not introduced:
            what = "a GPU" if self._device == "cuda" else "processors"
            raise UserError(
                f"No node of the Ray cluster has {what} to give. Add one, or wait until other jobs are done."
            )
        [(kind, _)] = Counter(_kind(place.environment) for place in introduced if place.environment).most_common(1)
        self._environment = next(
            one.environment for one in introduced if one.environment and _kind(one.environment) == kind
        )
        for place in introduced:
            self._admit(place)
        return self._environment

    def _introductions(self) -> list[_Place]:
        found, deadline = [], time.monotonic() + INTRODUCTION_SECONDS
        self._visit()
        while self._asked and time.monotonic() < deadline:
            for reference in self._answered():
                place = self._asked.pop(reference)
                # One that is lost right now is asked again later.
                with contextlib.suppress(self._ray.exceptions.RayError):
                    answer = Environment.model_validate_json(self._ray.get(reference))
                    found.append(replace(place, environment=answer))
        return found

    def _wait_for_a_node(self) -> None:
        deadline = time.monotonic() + INTRODUCTION_SECONDS
        while not self._asked:
            if time.monotonic() > deadline:
                raise UserError(
                    "No node of the Ray cluster is left. What was measured is kept; add nodes and run the same command "
                    "again to go on."
                )
            time.sleep(POLL_SECONDS)
            self._visit()

    def _visit(self) -> None:
        """Ask whatever has no station yet what it is."""
        known = {(place.node, place.number) for place in (*self._free, *self._asked.values())}
        for node in self._ray.nodes():
            name, resources = node["NodeID"], node["Resources"]
            count = int(resources.get("GPU", 0)) if self._device == "cuda" else int(resources.get("CPU", 0) >= 1)
            for number in range(count if node["Alive"] and name not in self._others else 0):
                if (name, number) not in known:
                    self._introduce(name, number, resources.get("CPU", 0) // count)

    def _introduce(self, node: str, number: int, processors: float) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        station = self._ray.remote(
            num_cpus=processors,
            num_gpus=int(self._device == "cuda"),
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )(Station)
        actor = station.remote(self._device, self._timeout_seconds)
        self._asked[actor.environment.remote()] = _Place(node, number, actor)


def _kind(environment: Environment) -> tuple[object, ...]:
    """What must be alike for times to be drawn as one line: hardware, packages and the code."""
    return (*hardware(environment), *sorted(environment.packages.items()), environment.commit, environment.dirty)
