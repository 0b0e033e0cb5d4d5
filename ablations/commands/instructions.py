"""`run_all.py instructions`: how many instructions one step takes."""

from pathlib import Path
from typing import Annotated

import typer


def instructions(
    out: Annotated[Path, typer.Option(help="History to append a line to.")],
    base: Annotated[
        Path | None, typer.Option(help="History whose newest line this commit may exceed by 1 % at most.")
    ] = None,
) -> None:
    """Count the instructions of one step of four small cells under callgrind; takes minutes.

    Exit codes: 0 counted, and no cell takes over 1 % more than the base; 1 some cell does; 2 wrong use, or no valgrind.
    """
    from datetime import UTC, datetime

    from ablations.harness.environment import describe
    from ablations.history.callgrind import count_instructions
    from ablations.history.cells import cells
    from ablations.history.entries import Entry, append, read
    from ablations.history.judgement import changes, newest_counted, refuse_unlike

    here = describe("cpu")
    torch = here.packages["torch"]
    # Read first: a mistake in it shall not cost the minutes that counting takes.
    before = newest_counted(read(base), str(base)) if base else None
    if before:
        refuse_unlike(before, torch, cells())
    entry = Entry(
        commit=here.commit,
        dirty=bool(here.dirty),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        torch=torch,
        cells=count_instructions(),
    )
    append(entry, out)
    for name, count in entry.cells.items():
        typer.echo(f"{name}: {count:,} instructions")
    found = changes(before, entry) if before else ()
    for change in found:
        typer.echo(change.line)
    if any(change.too_many for change in found):
        raise typer.Exit(1)
