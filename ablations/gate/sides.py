"""The base and the head as folders to start a server in: each side's own code under test, and one harness for both.

The harness that measures is the head's on either side: what is compared is the code under test alone, and a change of
how things are measured is none of it. A folder holds links to packages; a process started there imports these first.
"""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablations.gate.rounds import Side
from ablations.gate.strays import HARNESS
from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError


@dataclass(frozen=True)
class Project:
    """A repository and the packages in it that are under test, by name, as paths from its root."""

    root: Path
    packages: Mapping[str, Path]
    contenders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sides:
    """Both sides, where each lies, and the repository that the head's code comes from."""

    project: Path
    base: Side
    head: Side
    base_root: Path
    head_root: Path


@contextlib.contextmanager
def both(project: Project, base: str) -> Iterator[Sides]:
    """Folders of both sides, gone afterwards.

    Args:
        project: What is under test.
        base: A revision of its repository; the head is what lies in its folder.

    Raises:
        UserError: There is no such revision.
    """
    revision = _commit(project.root, base)
    with tempfile.TemporaryDirectory(prefix="reformer-gate-") as name:
        folder = Path(name)
        checkout = folder / "checkout"
        git(project.root, "worktree", "add", "--detach", "--quiet", str(checkout), revision)
        try:
            _link(folder / "base", project, checkout)
            _link(folder / "head", project, project.root)
            yield Sides(
                project=project.root.resolve(),
                base=Side(name="base", revision=revision),
                head=Side(name="head", revision=_commit(project.root, "HEAD"), dirty=_dirty(project)),
                base_root=folder / "base",
                head_root=folder / "head",
            )
        finally:
            # What was measured is not thrown away for a folder that could not be: git forgets that one by itself.
            with contextlib.suppress(UserError):
                git(project.root, "worktree", "remove", "--force", str(checkout))


def _link(folder: Path, project: Project, root: Path) -> None:
    folder.mkdir()
    (folder / HARNESS).symlink_to(PROJECT / HARNESS)
    for name, path in project.packages.items():
        if (root / path).exists():
            (folder / name).symlink_to(root / path)
        else:
            _hide(folder / name)


def _hide(place: Path) -> None:
    """Of a side from before the package was there: an empty one, for the installed one must not stand in for it."""
    if place.suffix:
        place.touch()
    else:
        place.mkdir()
        (place / "__init__.py").touch()


def _commit(root: Path, revision: str) -> str:
    return git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", unless=f"--base {revision}").strip()


def _dirty(project: Project) -> bool:
    paths = [str(path) for path in project.packages.values()]
    return bool(git(project.root, "status", "--porcelain", "--", *paths).strip())


def git(root: Path, *words: str, unless: str = "") -> str:
    """What a git command in a repository prints.

    Args:
        root: Of the repository.
        words: Of the command.
        unless: Names what is no revision if the command fails.

    Raises:
        UserError: It fails.
    """
    command: Sequence[str] = ("git", "-C", str(root), *words)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"The gate needs git, and it cannot be started: {error.strerror}.") from None
    if done.returncode:
        fault = f"{unless} is no revision of {root}" if unless else (done.stderr.strip() or f"git {words[0]} failed")
        raise UserError(f"{fault}. Name a revision of a git repository that is checked out with its history.")
    return done.stdout
