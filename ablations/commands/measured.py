"""What commands read that measure nothing: the records of all machines, or of the one named."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablations.harness.store import MachineResults


def measured(results: Path, machine: str | None) -> "tuple[MachineResults, ...]":
    """All machines with records, or the one named.

    Raises:
        UserError: There is no such folder, no record, or no such machine.
    """
    from ablations.harness.errors import UserError
    from ablations.harness.store import load_results, printable

    remedy = "Measure first, python run_all.py --profile paper-cpu, or name another folder with --results."
    if not results.is_dir():
        raise UserError(f"There is no results folder {results}. {remedy}")
    found = load_results(results)
    if not found:
        raise UserError(f"There are no records in {results}. {remedy}")
    names = [one.environment.machine for one in found]
    if machine is not None and machine not in names:
        raise UserError(f"There is no machine {machine!r} in {results}; known are {printable(', '.join(names))}.")
    return tuple(one for one in found if machine in (None, one.environment.machine))
