"""`run_all.py history`: counts and times over commits, as a page."""

from pathlib import Path
from typing import Annotated

import typer


def history(
    file: Annotated[Path, typer.Argument(help="History that `instructions --out` has written.")],
    reports: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("reports"),
    add: Annotated[
        Path | None, typer.Option(help="Folder of a sweep's records: append a line of its times and peaks first.")
    ] = None,
) -> None:
    """Draw every series of a history, and mark where it steps.

    Exit codes: 0 drawn; 2 wrong use, or no room to write.
    """
    from ablations.harness.errors import UserError
    from ablations.harness.store import load_results
    from ablations.history.entries import append, read
    from ablations.history.page import render
    from ablations.history.sweeps import entry_of

    if add is not None:
        found = load_results(add) if add.is_dir() else ()
        if not found:
            raise UserError(f"There are no records in --add {add}. Name the folder of a sweep's records.")
        for entry in [entry_of(machine) for machine in found]:
            append(entry, file)
    typer.echo(f"History: {render(read(file), reports)}")
