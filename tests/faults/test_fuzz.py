"""Files that were changed at random are loaded as documented or refused in one paragraph, and nothing else happens."""

import json
import math
import os
import random
import secrets
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from ablations.harness import store
from ablations.harness.cell import Cell
from ablations.harness.errors import UserError
from ablations.harness.plan import settled
from ablations.harness.record import Record
from ablations.harness.store import Plan, PlannedExperiment
from reformer.config import ReformerConfig
from tests.faults.mutations import mutated
from tests.faults.trials import environment
from tests.harness.cells import cell, here, learning_cell, record

SEED = int(os.environ.get("REFORMER_FAULT_SEED") or secrets.randbelow(10**6))
"""Drawn anew each time; set the variable to what a failed run printed to see the same again."""

N_FILES, N_CONFIGS = 2000, 500
STORED = Path(__file__).resolve().parents[1] / "harness"


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """The files of a machine's folder, each as small as its kind may be; records of all schemas."""
    cells = [cell(seed=0), cell("reformer", seed=1), learning_cell("lsh_only")]
    lines = [record(one, here()).model_dump_json() + "\n" for one in cells]
    lines.append(record(cells[0], here(), status="oom", reason="r", measurement=None).model_dump_json() + "\n")
    for version in (1, 2, 3):
        for line in (STORED / f"schema_{version}.jsonl").read_text().splitlines():
            older = json.loads(line)
            older["cell"]["experiment"] = "trial"
            lines.append(json.dumps(older) + "\n")
    plan = Plan(
        experiments=(PlannedExperiment(profile="cpu", name="trial", title="t", question="?", cells=tuple(cells)),)
    )
    return {
        "trial.jsonl": "".join(lines).encode(),
        "machine.json": here().model_dump_json(indent=1).encode(),
        "plan.json": plan.model_dump_json(indent=1).encode(),
    }


def paragraph(error: UserError) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.isprintable()
    assert text.endswith(".")
    assert len(text) < 1000
    return text


def finite(value: object) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(finite, value.values()))
        case list() | tuple():
            return all(map(finite, value))
    return True


def load(folder: Path, name: str) -> str:
    """Load the folder as a run does; whether that was refused. What is loaded can be written and read again."""
    path = folder / "trial.jsonl"
    try:
        records = store.read_records(path)
        settled(records, environment(), retry_failed=False)
        store.load_results(folder.parent)
    except UserError as refusal:
        return "refused" if name in paragraph(refusal) else "refused without its name"
    assert all(finite(one.model_dump()) for one in records)
    assert tuple(Record.model_validate_json(one.model_dump_json()) for one in records) == records
    list(store.mend(folder))
    assert store.read_records(path) == records
    assert not list(store.mend(folder))
    return "loaded"


def test_two_thousand_mutated_files_are_loaded_or_refused(
    whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results" / "a-machine"
    folder.mkdir(parents=True)
    became: Counter[str] = Counter()
    for number in range(N_FILES):
        drawn = random.Random(SEED * 1_000_003 + number)
        name = drawn.choice(("trial.jsonl",) * 6 + tuple(whole))
        for one, content in whole.items():
            (folder / one).write_bytes(mutated(content, drawn) if one == name else content)
        try:
            became[f"{name} {load(folder, name)}"] += 1
        except Exception as error:
            raise AssertionError(f"seed {SEED}, file {number}, {name}") from error
    with capsys.disabled():
        print(f"\nseed {SEED}: {dict(sorted(became.items()))}")
    assert became.total() == N_FILES
    assert all(became[f"{name} {what}"] > 0 for name in whole for what in ("loaded", "refused"))


def test_five_hundred_mutated_configs_are_loaded_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    became: Counter[str] = Counter()
    for number in range(N_CONFIGS):
        drawn = random.Random(SEED * 1_000_003 + number)
        of = drawn.choice((cell("dense"), cell("reformer"), learning_cell("lsh_only")))
        kind, whole = drawn.choice(((Cell, of), (ReformerConfig, of.config)))
        content = mutated(whole.model_dump_json().encode(), drawn)
        try:
            loaded = kind.model_validate_json(content)
        except ValidationError:
            became["refused"] += 1
            continue
        assert finite(loaded.model_dump()), (SEED, number)
        assert kind.model_validate_json(loaded.model_dump_json()) == loaded, (SEED, number)
        became["loaded"] += 1
    with capsys.disabled():
        print(f"\nseed {SEED}: {dict(became)}")
    assert became.total() == N_CONFIGS
    assert min(became["loaded"], became["refused"]) > 0
