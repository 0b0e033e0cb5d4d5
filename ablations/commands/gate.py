"""`python run_all.py gate --base REV`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ablations.harness.contender import Contender

EXIT_CODES = {"regressed": 1, "not measured": 2}
"""Of outcomes that are no success."""


def gate(
    base: Annotated[str, typer.Option(help="Revision that the code in this folder is measured against.")],
    project: Annotated[
        Path | None,
        typer.Option(help="Repository of your own contenders, see docs/outside.md. Default: this project."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, max=64, help="In a batch; a second batch follows if in doubt.")] = 8,
    out: Annotated[Path | None, typer.Option(help="File for all samples, as JSON.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="File that the verdict is added to as Markdown, as $GITHUB_STEP_SUMMARY.")
    ] = None,
) -> None:
    """Measure base and head in turns and say whether the head is slower; three to six minutes on two cores.

    Exit codes: 0 it is not, or this machine cannot tell, which the verdict says; 1 it is, or cannot run something that
    the base can; 2 wrong use, interrupted, or there are cells that neither can run.
    """
    from ablations.gate.campaign import measure_gate
    from ablations.gate.cells import outside_cells, own_cells
    from ablations.gate.judge import judge
    from ablations.gate.projects import project_at, this_project
    from ablations.gate.sides import both
    from ablations.gate.summary import summary as in_markdown
    from ablations.harness.environment import describe
    from ablations.harness.errors import UserError

    tested = this_project() if project is None else project_at(project)
    cells = own_cells() if project is None else outside_cells(_loaded(tested.contenders))
    for path in (out, summary):
        if path:
            _write(path, "", mode="a")
    try:
        with both(tested, base) as sides:
            measured = measure_gate(
                sides, cells, describe("cpu"), rounds=rounds, tell=lambda line: typer.echo(line, err=True)
            )
    except KeyboardInterrupt:
        raise UserError("Interrupted. A gate keeps nothing; run it again.") from None
    judgement = judge(measured.cells, measured.control)
    text = in_markdown(measured, judgement)
    typer.echo(text)
    if out:
        _write(out, measured.model_dump_json(indent=1) + "\n", mode="w")
    if summary:
        _write(summary, text, mode="a")
    if code := EXIT_CODES.get(judgement.outcome):
        sys.exit(code)


def _loaded(names: Sequence[str]) -> "dict[str, Contender]":
    from ablations.harness.contender import ContenderError, load
    from ablations.harness.errors import UserError

    try:
        return {name: load(name) for name in names}
    except ContenderError as error:
        raise UserError(f"{error} Mend it, or uninstall its package.") from None


def _write(path: Path, text: str, *, mode: str) -> None:
    from ablations.harness.writing import writing

    with writing(path), path.open(mode, encoding="utf-8") as file:
        file.write(text)
