"""What a gate puts to the test: this project's library, or the packages of contenders from another one."""

from importlib.util import find_spec
from pathlib import Path

from ablations.gate.sides import Project, git
from ablations.gate.strays import HARNESS
from ablations.harness.contender import contenders
from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError

LIBRARY = "reformer"


def this_project() -> Project:
    """This one: the library is under test."""
    return Project(PROJECT, {LIBRARY: Path(LIBRARY)})


def project_at(folder: Path) -> Project:
    """Another one: the packages of all contenders that are registered from it.

    Raises:
        UserError: It is no repository, or nothing is registered from it.
    """
    root = Path(git(folder, "rev-parse", "--show-toplevel").strip()).resolve()
    found = {one.name: _package_of(one.module, root) for one in contenders()}
    packages = {name: path.relative_to(root) for one in found.values() if one for name, path in _beside(one).items()}
    if not packages:
        raise UserError(
            f"--project {folder} registers no contender that is installed here from its own folder. Install it with "
            "pip install -e, with an entry point in the group reformer_suite.contenders; see docs/outside.md."
        )
    return Project(root, packages, tuple(name for name, path in found.items() if path))


def _package_of(module: str, root: Path) -> Path | None:
    """The folder or file of a module's topmost package, if it belongs to the repository."""
    spec = find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin).resolve()
    path = origin.parent if spec.submodule_search_locations else origin
    # An environment inside the repository holds packages that are nobody's work here.
    return path if path.is_relative_to(root) and git(root, "ls-files", "--", str(path)).strip() else None


def _beside(package: Path) -> dict[str, Path]:
    """What can be imported from the folder that a package lies in: it may use any of it."""
    importable = (path for path in package.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    return {path.name: path for path in importable if path.name != HARNESS}
