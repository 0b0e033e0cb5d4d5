"""`python run_all.py compare A B`."""

import math
from pathlib import Path
from typing import Annotated

import typer

REGRESSED = 1
COLOURS = {"worse": "red", "better": "green", "cannot tell": "yellow"}
"""On a terminal; elsewhere the text is plain."""


def compare(
    a: Annotated[str, typer.Argument(help="A folder of records, a machine in --results, or a git revision.")],
    b: Annotated[str, typer.Argument(help="What to compare with A; likewise.")],
    results: Annotated[Path, typer.Option(help="Folder that machines are looked up in.")] = Path("results"),
    machine: Annotated[str | None, typer.Option(help="Which one. Default: all that A and B both hold.")] = None,
    across: Annotated[bool, typer.Option("--across", help="Compare unlike environments all the same.")] = False,
    threshold: Annotated[float, typer.Option(help="Ratio of times beyond which there is a change.")] = 1.10,
    memory_threshold: Annotated[float, typer.Option(help="Ratio of peaks beyond which there is a change.")] = 1.01,
    bits_threshold: Annotated[float, typer.Option(help="Held-out bits beyond which there is a change.")] = 0.01,
    strict: Annotated[bool, typer.Option("--strict", help="Take what A has and B lacks for a regression.")] = False,
    html: Annotated[Path | None, typer.Option(help="File to write the comparison to, as a page.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="File to write it to as GitHub Markdown.")] = None,
) -> None:
    """Say what is better, worse or the same in B, and what is new or missing; measures nothing.

    Exit codes: 0 nothing is worse; 1 something is, or with --strict missing; 2 wrong use, or unlike environments.
    """
    from ablations.compare.judge import Limits
    from ablations.compare.page import write_html, write_markdown
    from ablations.compare.report import compare_sources
    from ablations.compare.sources import read_source
    from ablations.compare.terminal import lines

    _check("--threshold", threshold, above=1.0)
    _check("--memory-threshold", memory_threshold, above=1.0)
    _check("--bits-threshold", bits_threshold, above=0.0)
    limits = Limits(time=threshold, memory=memory_threshold, bits=bits_threshold)
    report = compare_sources(read_source(a, results), read_source(b, results), limits, machine, across=across)
    if html:
        write_html(report, html)
    if markdown:
        write_markdown(report, markdown)
    for answer, text in lines(report):
        typer.secho(text, fg=COLOURS.get(answer or ""))
    if report.regressed or (strict and report.lacks):
        raise typer.Exit(REGRESSED)


def _check(option: str, value: float, *, above: float) -> None:
    from ablations.harness.errors import UserError

    if not above < value < math.inf:
        raise UserError(f"{option} {value:g} is no limit: give a number above {above:g}.")
