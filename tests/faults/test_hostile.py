"""Nothing that is read from `results/` is executed, neither by this suite nor by who reads its report."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ablations.harness import store
from ablations.harness.store import load_results
from ablations.report.render import render
from tests.report import records

PROJECT = Path(__file__).resolve().parents[2]
EXECUTE = frozenset({"eval", "exec", "compile", "__import__"})
UNPACK = frozenset({"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"})
LOAD_CODE = frozenset({"torch.load", "numpy.load", "np.load", "pandas.read_pickle"})

HOSTILE = (
    '<script>alert(1)</script> "><img src=x onerror=alert(2)> | x\n# y [a](javascript:alert(3)) ![b](http://c) '
    "`{{ 7 * 7 }}` --> ]]> $\\href{x}{y}$ \x1b[31m </svg><svg onload=alert(4)>"
)


HARMLESS = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False"}
"""What keeps a loader from executing anything: an argument, spelled out."""


def dangers(source: str) -> list[str]:
    found: list[str] = []
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    harmless = {
        call.func for call in calls if HARMLESS.get(ast.unparse(call.func), "") in map(ast.unparse, call.keywords)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in EXECUTE:
                found.append(name)
            case ast.Import(names=names):
                found += [one.name for one in names if one.name.split(".")[0] in UNPACK]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNPACK:
                found.append(module)
            case ast.Attribute() if ast.unparse(node) in LOAD_CODE and node not in harmless:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(x)",
        "import pickle",
        "from yaml import load",
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import numpy as np\nnp.load(p)",
        "__import__('x')",
    ],
)
def test_what_executes_what_it_reads_is_found(source: str) -> None:
    assert len(dangers(source)) == 1


def test_no_module_of_the_suite_can_execute_what_it_reads() -> None:
    files = [*(PROJECT / "ablations").rglob("*.py"), PROJECT / "run_all.py"]
    assert len(files) > 50
    assert {str(path): found for path in files if (found := dangers(path.read_text()))} == {}


class Reader(HTMLParser):
    """Collects whatever in a page could do something."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        if tag in {"script", "img", "iframe", "object", "embed", "link", "form", "base"}:
            self.active.append(tag)
        for name, value in attrs:
            if not name.startswith("xmlns") and _acts(name, value or ""):
                self.active.append(f"{tag} {name}={value}")


def _is_data(text: str) -> bool:
    """JSON, or the plotting library packed as letters and digits: neither is a program, whatever it says."""
    if re.fullmatch(r"[A-Za-z0-9+/=\s]*", text):
        return True
    json.loads(text)
    return "<" not in text


def _acts(name: str, value: str) -> bool:
    return name.startswith("on") or re.match(r"\s*(javascript|data|https?):", value, re.IGNORECASE) is not None


def hostile_report(folder: Path) -> Path:
    """A report of a results folder in which every free text is hostile, read back from the disk."""
    cells = records.grid("depth", variants=records.CORNERS, n_layers=(1, 2, 4))
    machine = records.machine(
        {"depth": cells},
        lambda cell: ("error", HOSTILE) if cell.config.n_layers == 4 else ("ok", ""),
        where=records.environment(
            HOSTILE, processor=HOSTILE, system=HOSTILE, python=HOSTILE, packages={HOSTILE: HOSTILE}, commit=HOSTILE
        ),
    )
    experiments = tuple(
        one.model_copy(update={"title": HOSTILE, "question": HOSTILE}) for one in machine.plan.experiments
    )
    results = folder / "results" / "a-machine"
    results.mkdir(parents=True)
    store.record_plan(machine.plan.model_copy(update={"experiments": experiments}), machine.environment, results)
    for one in machine.records:
        store.append(one, results)
    return render(load_results(folder / "results"), folder / "reports").parent


def test_hostile_text_in_records_does_nothing_in_the_page_the_markdown_and_the_figures(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    reports = hostile_report(tmp_path)
    page = (reports / "index.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    reader = Reader()
    reader.feed(page)
    # The page's own: the figures' numbers, the plotting library as text, and what draws them.
    assert reader.active == ["script"] * len(reader.scripts)
    (program,) = [one for one in reader.scripts if "addEventListener" in one]
    assert "alert" not in program
    assert [one for one in reader.scripts if one != program and not _is_data(one)] == []
    markdown = (reports / "index.md").read_text()
    assert "alert(1)" in markdown
    assert "](javascript:" not in markdown
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "\n# y" not in markdown
    for line in markdown.splitlines():
        if "planted" in line or "alert(1)" in line:
            assert "| x" not in line.replace("&#124;", "")
    figures = list((reports / "figures").glob("*.svg"))
    assert figures
    for figure in figures:
        drawn = Reader()
        drawn.feed(figure.read_text())
        assert drawn.active == []
