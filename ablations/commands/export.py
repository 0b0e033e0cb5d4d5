"""`python run_all.py export FOLDER`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from ablations.commands.measured import measured

if TYPE_CHECKING:
    from ablations.export.contents import Files, Format
    from ablations.harness.store import MachineResults


def export(
    folder: Annotated[Path, typer.Argument(help="To write to: new, empty, or a former export, which is replaced.")],
    results: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("results"),
    machine: Annotated[str | None, typer.Option(help="Whose records. Needed where several machines have some.")] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(help="csv, parquet, markdown, latex, svg, pdf or bibtex; repeat for several. Default: all."),
    ] = None,
) -> None:
    """Write one machine's results for papers and notebooks: data files, tables, figures, and what to cite.

    Exit codes: 0 done; 2 wrong use, or a format that needs something that is not installed.
    """
    from ablations.claims.registry import judge_all
    from ablations.claims.rows import rows
    from ablations.export.contents import contents
    from ablations.export.folder import refuse_foreign, write

    formats = _formats(format or ())
    found = _chosen(results, machine)
    refuse_foreign(folder)
    files = contents(found, rows(judge_all(found)), formats)
    write(files, folder)
    typer.echo(f"{folder}: {_counts(files)}")


def _formats(names: Sequence[str]) -> "tuple[Format, ...]":
    from typing import get_args

    from ablations.export.contents import Format
    from ablations.export.parquet_bytes import refuse_without_pyarrow
    from ablations.harness.errors import UserError

    known: tuple[Format, ...] = get_args(Format)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--format {unknown[0]} is unknown; known are {', '.join(known)}.")
    chosen = tuple(one for one in known if one in names or not names)
    if "parquet" in chosen:
        refuse_without_pyarrow()
    return chosen


def _chosen(results: Path, machine: str | None) -> "MachineResults":
    """The machine named, or the only one."""
    from ablations.harness.errors import UserError
    from ablations.harness.store import printable

    found = measured(results, machine)
    if len(found) > 1:
        known = printable(", ".join(one.environment.machine for one in found))
        raise UserError(f"An export is of one machine; name one with --machine: {known}.")
    return found[0]


def _counts(files: "Files") -> str:
    endings = Counter(PurePosixPath(path).suffix.removeprefix(".") for path in files)
    return ", ".join(f"{number} {ending}" for ending, number in sorted(endings.items()))
