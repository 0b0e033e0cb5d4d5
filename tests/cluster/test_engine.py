"""The engine on a stand-in for Ray: which nodes take part, and what becomes of cells that are lost again and again."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ablations.harness.cell import Cell
from ablations.harness.cluster import MOST_LOSSES, RayEngine
from ablations.harness.errors import UserError
from ablations.harness.record import Environment
from ablations.harness.worklist import Worklist
from tests.harness.cells import cell, here, record


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Reference:
    """To an answer that is not there yet."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer


class Actor:
    """A station whose calls are answered when they are asked for."""

    def __init__(self, environment: Environment, lost: Callable[[Cell], bool]) -> None:
        self.environment = SimpleNamespace(remote=lambda: Reference(environment.model_dump_json))
        self.measure = SimpleNamespace(remote=lambda text: Reference(lambda: self._measured(text)))
        self._environment, self._lost = environment, lost

    def _measured(self, text: str) -> list[str]:
        one = Cell.model_validate_json(text)
        if self._lost(one):
            raise RayError
        return [record(one, self._environment).model_dump_json()]


class FakeRay:
    """Nodes with one station each."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, environments: list[Environment], lost: Callable[[Cell], bool] = lambda _cell: False) -> None:
        self._environments, self._lost = environments, lost
        self.killed: list[Actor] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": f"{number:056x}", "Alive": True, "Resources": {"CPU": 2.0}} for number in self._numbers]

    @property
    def _numbers(self) -> range:
        return range(len(self._environments))

    def remote(self, *, scheduling_strategy: Any, **_options: object) -> Callable[[type], Any]:  # noqa: ANN401
        environment = self._environments[int(scheduling_strategy.node_id, 16)]
        return lambda _station: SimpleNamespace(remote=lambda *_arguments: Actor(environment, self._lost))

    def wait(self, references: list[Any], **_options: object) -> tuple[list[Any], list[Any]]:
        return references, []

    def get(self, reference: Reference) -> Any:  # noqa: ANN401
        return reference.answer()

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


def engine(ray: FakeRay) -> RayEngine:
    return RayEngine(ray, "cpu", timeout_seconds=None)


def quietly(_doing: str, _share: float | None) -> None:
    pass


def run(one: RayEngine, work: Worklist) -> Iterator[Any]:
    for found in one.measure(work, quietly):
        work.give(found)
        yield found


def named(name: str, **changes: object) -> Environment:
    return here().model_copy(update={"machine": name, **changes})


def test_only_nodes_of_the_kind_that_most_are_of_take_part() -> None:
    kinds = [named("slow-1", cores=3), named("fast-1", cores=64), named("slow-2", cores=3)]
    one = engine(FakeRay(kinds))
    assert one.left_out == ("fast-1",)
    assert one.environment.cores == 3
    found = list(run(one, Worklist(cell(seed=seed) for seed in range(7))))
    assert {record.environment.machine for record in found} == {"slow-1", "slow-2"}
    assert sorted(record.cell.seed for record in found) == list(range(7))


@pytest.mark.parametrize("change", [{"packages": {"torch": "1"}}, {"commit": "another"}, {"accelerator": "a GPU"}])
def test_what_can_change_a_figure_makes_another_kind(change: dict[str, object]) -> None:
    assert engine(FakeRay([named("a"), named("b"), named("c", **change)])).left_out == ("c",)


def test_a_cell_that_is_lost_now_and_then_is_measured_in_the_end() -> None:
    losses = iter([True] * (MOST_LOSSES - 1))
    (found,) = run(engine(FakeRay([named("a")], lambda _cell: next(losses, False))), Worklist([cell()]))
    assert found.status == "ok"


def test_a_cell_that_ends_every_node_is_given_up_and_the_others_are_measured() -> None:
    ray = FakeRay([named("a"), named("b")], lambda one: one.seed == 2)
    found = list(run(engine(ray), Worklist(cell(seed=seed) for seed in range(5))))
    assert {record.cell.seed: record.status for record in found} == {0: "ok", 1: "ok", 2: "killed", 3: "ok", 4: "ok"}
    assert len(ray.killed) == MOST_LOSSES


def test_without_a_node_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.harness.cluster.INTRODUCTION_SECONDS", 0.01)
    with pytest.raises(UserError, match="No node of the Ray cluster has processors to give"):
        engine(FakeRay([]))
