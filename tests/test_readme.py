"""What the README says is true."""

import re
from pathlib import Path

import typer.main

from ablations import cli

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_its_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})


def test_its_table_of_options_is_complete() -> None:
    flags = {option for parameter in typer.main.get_command(cli.app).params for option in parameter.opts}
    assert flags == set(re.findall(r"`(--[a-z-]+)[ `]", README.split("| option |")[1].split("\n\n")[0]))
