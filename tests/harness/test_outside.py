"""Contenders of other packages: found by their entry points, measured, reported, and refused by name."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ablations.experiments import outside
from ablations.harness import contender, worker
from ablations.harness.cell import Ceiling, Cell, Exactness, TimeStep
from ablations.harness.contender import Contender, contenders, load
from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError
from ablations.harness.plan import pending
from ablations.harness.plausible import Judge
from ablations.harness.record import Record
from ablations.harness.steps import build_trial
from ablations.harness.store import load as load_records
from ablations.harness.work import NO_WORK, work_of
from ablations.report.comparison import blocks
from ablations.report.comparison_tables import comparison_tables
from ablations.report.views import experiment_results
from ablations.suite import EXPERIMENTS, chosen
from tests.harness.cells import cell, here, learning_cell, record
from tests.harness.conftest import Attempt
from tests.report import contenders as planted
from tests.report.records import ceilings

PACKAGE = Path(__file__).resolve().parents[1] / "outside_package"
IMPORTS = "import torch\nfrom ablations.harness.contender import Contender\n"
COPIES = f"{IMPORTS}CONTENDER = Contender(attention=lambda cell: lambda query, key, value: value * 1)\n"


class Site:
    """A folder that packages are found in, as they would be if they were installed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, source: str, *, version: str = "1.0", module: str | None = None) -> None:
        """A package of one module with a contender of that name."""
        module = module or f"module_of_{name}".replace("-", "_").lower()
        (self.folder / f"{module}.py").write_text(source)
        self.register(f"{module}-package", version, {name: f"{module}:CONTENDER"})

    def register(self, distribution: str, version: str, points: Mapping[str, str]) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[{contender.GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def register_project(self, pyproject: str) -> None:
        """What a build makes of the file."""
        project = tomllib.loads(pyproject)["project"]
        self.register(project["name"], project["version"], project["entry-points"][contender.GROUP])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def mine(site: Site) -> Site:
    """The package of `tests/outside_package`."""
    (site.folder / "mine").symlink_to(PACKAGE / "mine")
    site.register_project((PACKAGE / "pyproject.toml").read_text())
    return site


def outside_cell(name: str, variant: str = "dense_separate_qk", **changes: Any) -> Cell:  # noqa: ANN401
    return cell(variant, **{"implementation": f"outside:{name}", "scope": "attention", "batch": 2, **changes})


def test_what_is_registered_is_listed_by_name_and_not_imported(site: Site) -> None:
    site.add("second", "raise AssertionError")
    site.add("first", COPIES, version="2.5")
    assert [(one.name, one.package, one.module) for one in contenders()] == [
        ("first", "module_of_first-package 2.5", "module_of_first"),
        ("second", "module_of_second-package 1.0", "module_of_second"),
    ]
    assert not {"module_of_first", "module_of_second"} & set(sys.modules)
    assert isinstance(load("first"), Contender)


@pytest.mark.parametrize("name", ["flex", "ours", "reformer", "dense_separate_qk"])
def test_a_name_of_this_project_s_own_is_refused_and_both_are_named(name: str, site: Site) -> None:
    site.add(name, COPIES)
    with pytest.raises(UserError, match=f"{name} = module_of_{name}:CONTENDER of .* 1.0 has .* own {name}. Rename"):
        contenders()


@pytest.mark.parametrize("name", ["My-Attention", "2fast", "a.b", "a-b", "é"])
def test_a_name_that_no_cell_can_have_is_refused(name: str, site: Site) -> None:
    site.add(name, COPIES, module="fine")
    with pytest.raises(UserError, match=re.escape(f"{name} = fine:CONTENDER of fine-package 1.0")):
        contenders()
    with pytest.raises(ValueError, match="known are ours"):
        outside_cell(name)


def test_two_packages_with_contenders_of_one_name_are_both_named(site: Site) -> None:
    site.add("twin", COPIES, module="one")
    site.add("twin", COPIES, module="other")
    with pytest.raises(UserError, match=r"one:CONTENDER of one-package 1.0, and .*other:CONTENDER of other-package"):
        contenders()


def test_its_attention_and_gradients_are_those_of_a_sum_over_the_past(mine: Site) -> None:
    one = outside_cell("mine", length=9)
    trial = build_trial(one)
    query, key, value = trial.wanted
    out = trial.output()
    slowly = over_the_past(query, key, value)
    torch.testing.assert_close(out, slowly)
    assert trial.gradient is not None
    expected = torch.autograd.grad(slowly, trial.wanted, trial.gradient)
    trial.step("forward_backward")()
    torch.testing.assert_close(trial.gradients, expected)


def over_the_past(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor) -> Tensor:
    rows = []
    for position in range(query_BHLK.shape[2]):
        total, weights = torch.zeros_like(value_BHLK[:, :, 0]), torch.zeros_like(value_BHLK[:, :, 0, :1])
        for past in range(position + 1):
            one, other = (
                torch.where(x > 0, x + 1, x.exp()) for x in (query_BHLK[:, :, position], key_BHLK[:, :, past])
            )
            weight = (one * other).sum(-1, keepdim=True)
            total, weights = total + weight * value_BHLK[:, :, past], weights + weight
        rows.append(total / weights)
    return torch.stack(rows, dim=2)


def test_it_gets_the_same_vectors_as_every_other_attention(mine: Site) -> None:
    theirs = build_trial(outside_cell("mine")).wanted
    others = build_trial(outside_cell("mine", implementation="sdpa_math")).wanted
    assert all(map(torch.equal, theirs, others))
    assert len(theirs) == len(others) == 3


def test_one_like_lsh_attention_gets_queries_and_keys_as_one_tensor(site: Site) -> None:
    site.add("shared", f"{IMPORTS}def attend(q, k, v):\n    assert q is k\n    return q * v\n"
             "CONTENDER = Contender(attention=lambda cell: attend, like='lsh')")  # fmt: skip
    trial = build_trial(outside_cell("shared", "lsh_only", length=128))
    ours = build_trial(outside_cell("shared", "lsh_only", length=128, implementation="ours"))
    trial.step("forward_backward")()
    assert len(trial.gradients) == 2
    assert all(map(torch.equal, trial.wanted, ours.wanted))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_steps_move_the_parameters_of_its_model(dtype: str, mine: Site) -> None:
    one = outside_cell("mine", scope="model", dtype=dtype, workload=TimeStep(mode="training_step"))
    trial = build_trial(one)
    step = trial.step("training_step")
    before = [parameter.detach().clone() for parameter in trial.wanted]
    loss = step.checked()
    step()
    step.check_since(loss)
    same = list(map(torch.equal, before, trial.wanted))
    # A step as small as this is lost on what bfloat16 holds near one.
    assert not any(same) if dtype == "float32" else not all(same)
    assert trial.wanted[0].dtype == getattr(torch, dtype)


DRAWS = f"""{IMPORTS}
def attention(cell):
    layer = torch.nn.Linear(cell.config.d_head, cell.config.d_head)
    class Drawing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer
        def forward(self, query, key, value):
            return self.layer(value) + torch.rand_like(value)
    return Drawing()
CONTENDER = Contender(attention=attention)
"""


def test_its_weights_follow_the_seed_and_its_steps_are_drawn_anew_but_where_they_are_compared(site: Site) -> None:
    site.add("drawing", DRAWS)
    with torch.random.fork_rng():
        state = torch.get_rng_state()
        one, again, other = (build_trial(outside_cell("drawing", seed=seed)) for seed in (0, 0, 1))
        assert torch.equal(one.repeatable(), again.repeatable())
        assert torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(one.output(), one.output())
    assert torch.equal(one.wanted[-1], again.wanted[-1])
    assert not torch.equal(one.wanted[-1], other.wanted[-1])


def test_gradients_of_a_module_s_parameters_are_cleared_with_those_of_its_inputs(site: Site) -> None:
    site.add("drawing", DRAWS)
    step = (trial := build_trial(outside_cell("drawing"))).step("forward_backward")
    step.before()
    step()
    assert [gradient.shape for gradient in trial.gradients[-2:]] == [(4, 4), (4,)]
    once = trial.gradients[-1].clone()
    assert once.count_nonzero()
    step.before()
    step()
    assert torch.equal(trial.gradients[-1], once)


def test_a_cell_whose_contender_is_not_registered_is_not_run_and_says_what_is_missing(attempted: Attempt) -> None:
    one = outside_cell("elsewhere")
    worker.warm_up_for(one)
    outcome = attempted(one)
    assert outcome.status == "not_run"
    assert "`elsewhere` is not registered here: install the package" in str(outcome.reason)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('out of memory')", "RuntimeError: out of memory"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("", "has no attribute 'CONTENDER'"),
        ("CONTENDER = print", "no ablations.harness.contender.Contender but of type builtin_function_or_method"),
        (f"{IMPORTS}CONTENDER = Contender()", "a contender has an attention, a model, or both"),
        (f"{IMPORTS}CONTENDER = Contender(model=print, like='local')", "like='local'"),
    ],
)
def test_one_that_cannot_be_loaded_is_an_error_that_names_its_entry_point(
    source: str, words: str, site: Site, attempted: Attempt
) -> None:
    site.add("broken", source)
    outcome = attempted(outside_cell("broken"))
    assert outcome.status == "error"
    assert "broken = module_of_broken:CONTENDER of module_of_broken-package 1.0" in str(outcome.reason)
    assert words in str(outcome.reason)


@pytest.mark.parametrize(("there", "scope"), [("attention", "model"), ("model", "attention")])
def test_a_scope_that_it_has_not_is_unsupported(there: str, scope: str, site: Site, attempted: Attempt) -> None:
    site.add("half", f"{IMPORTS}CONTENDER = Contender({there}=print)")
    outcome = attempted(outside_cell("half", scope=scope))
    assert (outcome.status, there in str(outcome.reason)) == ("unsupported", True)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("value[:, :, 1:]", r"\[2, 2, 15, 4\] in torch.float32 and has to return \[2, 2, 16, 4\] in torch.float32"),
        ("value.double()", ".* in torch.float64 and has to return"),
        ("(value, None)", "no tensor but a tuple"),
    ],
)
def test_what_is_no_output_of_attention_is_an_error_that_says_what_would_be(
    returned: str, words: str, site: Site, attempted: Attempt
) -> None:
    site.add("odd", COPIES.replace("value * 1", returned))
    outcome = attempted(outside_cell("odd"))
    assert outcome.status == "error"
    assert re.search(f"attention of contender odd returned {words}", str(outcome.reason))


def test_logits_of_another_shape_are_an_error(site: Site, attempted: Attempt) -> None:
    site.add("odd", f"{IMPORTS}CONTENDER = Contender(model=lambda cell: torch.nn.Embedding(cell.config.vocab_size, 7))")
    outcome = attempted(outside_cell("odd", scope="model"))
    assert "model of contender odd returned [2, 16, 7]" in str(outcome.reason)


def test_a_model_that_is_no_module_is_an_error(site: Site, attempted: Attempt) -> None:
    site.add("odd", f"{IMPORTS}CONTENDER = Contender(model=lambda cell: print)")
    outcome = attempted(outside_cell("odd", scope="model"))
    assert "model of contender odd is no torch.nn.Module but a builtin_function_or_method" in str(outcome.reason)


def test_one_that_remembers_its_calls_is_an_error(site: Site, attempted: Attempt) -> None:
    site.add("state", f"{IMPORTS}calls = []\ndef attend(q, k, v):\n    calls.append(0)\n    return v * len(calls)\n"
             "CONTENDER = Contender(attention=lambda cell: attend)")  # fmt: skip
    outcome = attempted(outside_cell("state"))
    assert outcome.status == "error"
    assert "they left something behind" in str(outcome.reason)


def test_a_record_of_one_that_is_not_installed_is_read_back_under_its_name() -> None:
    one = record(outside_cell("gone"), here())
    read = Record.model_validate_json(one.model_dump_json())
    assert read == one
    assert (read.cell.contender, read.cell.id) == ("gone", one.cell_id)


@pytest.mark.parametrize("name", ["mine", "outside:", "outside:Mine", "outside:mine\n", "outside", "elsewhere:mine"])
def test_no_other_implementation_is_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"known are ours, .*, and outside:NAME"):
        outside_cell("mine", implementation=name)


def test_another_version_of_a_package_puts_its_own_cells_to_do_again_and_no_others() -> None:
    bare, one, theirs = here(), outside_cell("mine"), outside_cell("theirs")
    first, second = (with_packages({"outside:mine": f"mine {v}", "outside:theirs": "theirs 1"}) for v in (1, 2))
    cells = (cell(), one, theirs)
    assert pending(cells, [record(each, first) for each in cells], first, retry_failed=False) == ()
    assert pending(cells, [record(each, first) for each in cells], second, retry_failed=False) == (one,)
    assert pending([cell()], [record(cell(), bare)], first, retry_failed=False) == ()
    assert pending([cell()], [record(cell(), first)], bare, retry_failed=False) == ()


def with_packages(packages: Mapping[str, str]) -> Any:  # noqa: ANN401
    environment = here()
    return environment.model_copy(update={"packages": {**environment.packages, **packages}})


def test_an_environment_says_whose_contenders_there_are_even_of_names_that_are_none(site: Site) -> None:
    site.add("mine", COPIES, version="3.1")
    site.add("Bad-Name", COPIES, module="bad")
    found = {name: version for name, version in here().packages.items() if name.startswith("outside:")}
    assert found == {"outside:mine": "module_of_mine-package 3.1", "outside:Bad-Name": "bad-package 1.0"}


NOTHING = Contender(attention=lambda cell: lambda query, key, value: value)
LSH = Contender(attention=NOTHING.attention, model=lambda cell: torch.nn.Linear(1, 1), like="lsh")


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_a_contender_has_the_sizes_of_what_it_is_like_and_stands_beside_it(profile: Any) -> None:  # noqa: ANN401
    found = outside.experiment({"flat": NOTHING, "hashed": LSH, "broken": None})
    cells = found.cells(profile, "cuda" if profile == "gpu" else "cpu")
    kinds = {(one.scope, one.contender): one.config.attentions[0].kind for one in cells}
    assert kinds == {
        ("attention", "ours"): "lsh",
        ("attention", "hashed"): "lsh",
        ("attention", "query_chunked"): "dense",
        ("attention", "sdpa_flash"): "dense",
        ("attention", "flat"): "dense",
        ("attention", "broken"): "dense",
        ("model", "reformer"): "lsh",
        ("model", "dense"): "dense",
        ("model", "hashed"): "lsh",
    }
    places: dict[tuple[object, ...], set[str]] = {}
    for one in cells:
        where = (one.scope, one.mode, one.workload.kind, one.length, one.batch, one.seed)
        places.setdefault(where, set()).add(one.contender)
    assert len(set(map(frozenset, places.values()))) == 2
    assert profile != "cpu" or {one.seed for one in cells} == {0, 1, 2}


def test_the_experiment_is_there_where_something_is_registered_and_looked_up_only_if_asked_for(site: Site) -> None:
    known = [one.name for one in EXPERIMENTS if "cpu" in one.scales]
    assert [one.name for one in chosen((), "cpu")] == known
    with pytest.raises(UserError, match="No package that is installed here registers a contender"):
        chosen(["outside"], "cpu")
    site.add("mine", COPIES)
    assert [one.name for one in chosen((), "cpu")] == [*known, "outside"]
    assert [one.name for one in chosen(["outside", "depth"], "cpu")] == ["depth", "outside"]
    with pytest.raises(UserError, match="no profile paper; it has smoke, cpu, gpu"):
        chosen(["outside"], "paper")
    site.add("Bad-Name", COPIES, module="bad")
    assert [one.name for one in chosen(["depth"], "cpu")] == ["depth"]
    with pytest.raises(UserError, match="Bad-Name"):
        chosen((), "cpu")


def test_it_is_asked_for_steps_alone_and_not_to_train_or_to_know_the_machine() -> None:
    for scope in ("attention", "model", "machine"):
        for workload in (
            Ceiling(widths=(1,), copy_bytes=1),
            Exactness(check="inversion"),
            learning_cell("dense").workload,
        ):
            with pytest.raises(ValueError, match="does not go with workload"):
                outside_cell("mine", scope=scope, workload=workload, length=24)


def test_one_that_cannot_be_loaded_is_planned_all_the_same(site: Site) -> None:
    site.add("broken", "import no_such_module")
    (found,) = chosen(["outside"], "smoke")
    assert "broken" in {one.contender for one in found.cells("smoke", "cpu")}


def test_nothing_is_known_of_its_work_so_no_time_is_too_short() -> None:
    one = planted.contender("outside:mine", length=4096)
    assert work_of(one) == NO_WORK != work_of(planted.contender("sdpa_math", length=4096))
    ceiling = planted.measured([planted.ceiling_cell()], lambda _: ceilings(flops=1.0, bandwidth=1.0)).records
    fast, wrong = (
        planted.measured([each], lambda _: planted.times((1e-9,))).records[0]
        for each in (one, planted.contender("sdpa_math", length=4096))
    )
    assert Judge(ceiling).judged(fast) is fast
    assert Judge(ceiling).judged(wrong).status == "error"


def test_a_report_sets_it_beside_ours_and_says_that_it_has_no_floor() -> None:
    names = ("ours", "sdpa_flash", "outside:mine")
    cells = [planted.contender(name, seed=seed) for name in names for seed in range(3)]
    machine = planted.measured(cells, lambda one: planted.times((0.1 * (1 + names.index(one.implementation)),)))
    (kind,) = experiment_results(machine.plan.experiments[0], machine.records).kinds
    (block,) = blocks(kind, "forward_backward")
    assert [group.variant for group in block.groups] == ["ours", "sdpa_flash", "mine"]
    (table,) = comparison_tables(kind, None)
    row = table.rows[-1].cells
    assert "mine" in row
    assert any(text.startswith("3.00") for text in row), row


def run(*arguments: str, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    where = ("--results", str(folder / "results"), "--reports", str(folder / "reports"))
    return subprocess.run(
        [sys.executable, "run_all.py", *arguments, *where],
        cwd=PROJECT,
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_package_in_a_folder_of_its_own_is_measured_reported_and_read_when_it_is_gone(
    mine: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    done = run("--profile", "smoke", "--only", "outside", folder=folder, path=mine.folder)
    assert done.returncode == 0, done.stderr
    (machine,) = (folder / "results").iterdir()
    theirs = [one for one in load_records(machine) if one.cell.implementation == "outside:mine"]
    assert [one.status for one in theirs] == ["ok"] * 5
    assert {one.environment.packages["outside:mine"] for one in theirs} == {"mine 1.0"}
    report = folder / "reports" / "index.md"
    assert report.read_text().count("| mine |") == 5
    figures = [path for path in (folder / "reports" / "figures").iterdir() if "series-mine" in path.read_text()]
    assert len(figures) == 5
    first = report.read_bytes()
    assert run("--render-only", folder=folder).returncode == 0
    assert report.read_bytes() == first
    without = run("--profile", "smoke", "--only", "outside", folder=folder)
    assert without.returncode == 2
    assert "docs/outside.md shows how" in " ".join(without.stderr.split())


def test_the_example_in_the_documents_is_measured_as_it_stands(site: Site, attempted: Attempt) -> None:
    text = (PROJECT / "docs" / "outside.md").read_text()
    (pyproject,), (module,) = (
        re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL) for kind in ("toml", "python")
    )
    (site.folder / "my_attention.py").write_text(module)
    site.register_project(pyproject)
    one = outside_cell("window", length=128, workload=TimeStep(mode="forward_backward", seconds=0.01))
    assert attempted(one).status == "ok", attempted(one).reason
    short = build_trial(outside_cell("window", length=60))
    plain = build_trial(outside_cell("window", length=60, implementation="sdpa_math"))
    torch.testing.assert_close(short.output(), plain.output())
