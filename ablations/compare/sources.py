"""What A and B name: a folder of records, a machine in the results folder, or a revision of this checkout."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablations.harness import store
from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError
from ablations.harness.store import MachineResults

COMMITTED = "results"
"""The folder of records in a revision."""


@dataclass(frozen=True)
class Source:
    """A or B as it was given, and the machines that it holds records of."""

    name: str
    machines: tuple[MachineResults, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its machines."""
        return tuple(one.environment.machine for one in self.machines)


def read_source(name: str, results: Path, checkout: Path = PROJECT) -> Source:
    """The records that a name stands for.

    Args:
        name: A folder of machines' folders or one machine's; a machine's folder in `results`; or a git revision, whose
            committed records are read.
        results: Where machines are looked up.
        checkout: Where revisions are looked up.

    Raises:
        UserError: The name stands for nothing or for several things, or its records cannot be read.
    """
    shown = store.printable(name)
    try:
        found, known = _meanings(name, results, checkout), _machine_folders(results)
    except OSError as error:
        where = store.printable(str(error.filename))
        raise UserError(f"Cannot read {where}: {error.strerror}. Name another folder, or mend it.") from None
    if not found:
        raise UserError(
            f"{shown!r} is neither a folder with records, nor a machine in {results} (known are "
            f"{store.printable(', '.join(known)) or 'none'}), nor a revision of this checkout."
        )
    if len(found) > 1:
        raise UserError(
            f"{shown!r} is ambiguous: {', '.join(words for words, _ in found)}. Write ./{shown} for the folder, "
            f"{results / shown} for the machine, the full hash or refs/heads/{shown} for the revision."
        )
    ((_, read),) = found
    machines = read()
    if repeated := _repeated([one.environment.machine for one in machines]):
        raise UserError(f"{shown} holds two folders of machine {store.printable(repeated)}. Name one of them.")
    return Source(name, machines)


def matched(a: Source, b: Source, machine: str | None = None) -> tuple[tuple[MachineResults, MachineResults], ...]:
    """The machines that both hold, each with itself; of two sources of one machine each, these two.

    Args:
        a: The one.
        b: The other.
        machine: The only machine to compare; `None` for all.

    Raises:
        UserError: There is no such pair, or not the machine asked for.
    """
    of_a, of_b = ({one.environment.machine: one for one in source.machines} for source in (a, b))
    for source in (a, b):
        if machine is not None and machine not in source.names:
            raise UserError(
                f"--machine {machine}: {store.printable(source.name)} holds records of {_listed(source)} only."
            )
    common = [name for name in of_a if name in of_b and machine in (None, name)]
    if common:
        return tuple((of_a[name], of_b[name]) for name in common)
    if len(of_a) == len(of_b) == 1:
        return ((a.machines[0], b.machines[0]),)
    raise UserError(
        f"{store.printable(a.name)} and {store.printable(b.name)} have no machine in common: {_listed(a)} there, "
        f"{_listed(b)} here. Name one machine's folder each, and add --across."
    )


Meaning = tuple[str, Callable[[], tuple[MachineResults, ...]]]
"""What a name may stand for, in words, and how to read it."""


def _meanings(name: str, results: Path, checkout: Path) -> list[Meaning]:
    folder, shown, found = Path(name), store.printable(name), list[Meaning]()
    if _holds_records(folder):
        found.append((f"folder {shown}", lambda: _one_machine(folder)))
    elif folder.is_dir() and any(map(_holds_records, folder.iterdir())):
        found.append((f"folder {shown}", lambda: store.load_results(folder)))
    there = results / name
    if name in _machine_folders(results) and not (found and there.resolve() == folder.resolve()):
        found.append((f"machine {shown} in {results}", lambda: _one_machine(there)))
    if commit := _commit(name, checkout):
        found.append((f"revision {commit[:12]}", lambda: _committed(name, commit, checkout)))
    return found


def _holds_records(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.jsonl"))


def _machine_folders(results: Path) -> list[str]:
    return sorted(folder.name for folder in results.iterdir() if _holds_records(folder)) if results.is_dir() else []


def _one_machine(folder: Path) -> tuple[MachineResults, ...]:
    """The records of one machine's folder, whatever lies beside it."""
    return (store.load_machine(folder),)


def _loaded(results: Path, instead: Path) -> tuple[MachineResults, ...]:
    """Records of a folder that a reader of an error knows by another name."""
    try:
        return store.load_results(results)
    except UserError as error:
        raise UserError(str(error).replace(str(results), str(instead))) from None


def _commit(name: str, checkout: Path) -> str | None:
    """The hash of a revision; `None` of what is none."""
    done = _git(checkout, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return done.stdout.decode().strip() if done is not None and done.returncode == 0 else None


def _committed(name: str, commit: str, checkout: Path) -> tuple[MachineResults, ...]:
    shown = store.printable(name)
    done = _git(checkout, "archive", "--format=tar", commit, COMMITTED)
    if done is None or done.returncode != 0:
        raise UserError(f"Revision {shown} has no folder {COMMITTED}. Name one with records, or a folder.")
    with tempfile.TemporaryDirectory() as place:
        try:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
                archive.extractall(place, filter="data")
        except tarfile.TarError as error:
            raise UserError(f"Revision {shown} has a {COMMITTED} that is not to be trusted: {error}.") from None
        machines = _loaded(Path(place) / COMMITTED, instead=Path(f"{name}:{COMMITTED}"))
    if not machines:
        raise UserError(f"Revision {shown} has no records in {COMMITTED}. Name one that has some.")
    return machines


def _git(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes] | None":
    try:
        return subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, check=False, timeout=60)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _listed(source: Source) -> str:
    return ", ".join(map(store.printable, source.names))


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)
