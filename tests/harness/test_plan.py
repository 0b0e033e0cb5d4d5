"""Plans: what a report needs to know of what was asked for."""

import json
from pathlib import Path

from ablations.harness import store
from ablations.harness.experiment import parse_budget
from ablations.harness.plan import make_plan
from ablations.suite import chosen
from tests.report import records


def test_a_plan_notes_the_options_that_its_cells_came_from() -> None:
    axes = ("n_hashes=1,2", "length=128")
    experiments = [
        one.with_axis("length", (128,)).with_budget(parse_budget("900MiB"))
        for one in chosen(["hash_rounds", "max_length"], "smoke")
    ]
    noted = make_plan(experiments, "smoke", "cpu", axes=axes, memory_budget="900MiB").experiments
    assert [(one.name, one.axes, one.memory_budget) for one in noted] == [
        ("hash_rounds", axes, None),
        ("max_length", axes, "900MiB"),
    ]
    (plain,) = make_plan(chosen(["max_length"], "smoke"), "smoke", "cpu").experiments
    assert (plain.axes, plain.memory_budget) == ((), None)


def test_a_plan_from_before_options_were_noted_has_none(tmp_path: Path) -> None:
    results = records.machine({"depth": records.grid("depth", variants=("dense",), seeds=(0,))})
    old = json.loads(results.plan.model_dump_json())
    for experiment in old["experiments"]:
        assert [experiment.pop(name) for name in ("axes", "memory_budget")] == [[], None]
    (tmp_path / "plan.json").write_text(json.dumps(old))
    (tmp_path / "machine.json").write_text(results.environment.model_dump_json())
    assert store.load_machine(tmp_path).plan == results.plan


def test_options_survive_the_file(tmp_path: Path) -> None:
    results = records.machine({"depth": records.grid("depth", variants=("dense",), seeds=(0,))})
    (experiment,) = results.plan.experiments
    noted = experiment.model_copy(update={"axes": ("length=512",), "memory_budget": "2GiB"})
    store.record_plan(results.plan.model_copy(update={"experiments": (noted,)}), results.environment, tmp_path)
    (read,) = store.load_machine(tmp_path).plan.experiments
    assert read == noted
