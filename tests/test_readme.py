"""What the README and the documents say is true."""

import re
from pathlib import Path

import pytest
import torch
import typer.main

from ablations import cli

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("document", ["README.md", "docs/library.md"])
@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
def test_its_examples_run_one_after_the_other(document: str) -> None:
    examples = re.findall(r"```python\n(.*?)```", (PROJECT / document).read_text(), flags=re.DOTALL)
    assert examples
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for example in examples:
            exec(compile(example, document, "exec"), names)


def test_its_table_of_options_is_complete() -> None:
    flags = {option for parameter in typer.main.get_command(cli.app).params for option in parameter.opts}
    assert flags == set(re.findall(r"`(--[a-z-]+)[ `]", README.split("| option |")[1].split("\n\n")[0]))


def test_the_tests_that_the_documents_name_exist() -> None:
    tests = "".join(path.read_text() for path in (PROJECT / "tests").rglob("test_*.py"))
    for document in (PROJECT / "docs").glob("*.md"):
        for name in re.findall(r"`(test_\w+)`", document.read_text()):
            assert f"def {name}(" in tests, f"{document.name}: {name}"


def test_each_of_the_fifteen_defects_of_peers_has_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \|.*`test_", (PROJECT / "docs" / "peers.md").read_text(), flags=re.MULTILINE)
    assert rows == [str(number) for number in range(1, 16)]
