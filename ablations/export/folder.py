"""The folder of an export: either all of an export stands there, or what stood there before.

A list of checksums marks the folder. An export replaces a former one only if it is as it was written: nobody's file or
change is ever lost.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ablations.export.contents import Files
from ablations.harness.errors import UserError
from ablations.harness.writing import writing

MARK = "reformer_suite.sha256"
"""As `sha256sum --check` reads it."""

_REMEDY = "Choose another folder, or move away what is there."


def refuse_foreign(folder: Path) -> None:
    """Say before anything is measured out whether the folder may be written.

    Raises:
        UserError: Something stands there that no export wrote, or that was changed since.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder. Name another.")
    found = {path.relative_to(folder).as_posix(): path for path in _files_in(folder)}
    if not found:
        return
    if MARK not in found:
        raise UserError(f"The folder {folder} is not empty, and no export stands there. {_REMEDY}")
    known = _checksums(folder / MARK)
    for name, path in found.items():
        if name != MARK and known.get(name) != _checksum(path):
            what = "was changed since its export" if name in known else "is not of the export"
            raise UserError(f"In {folder}, {name} {what}, and a new export would remove it. {_REMEDY}")


def write(files: Files, folder: Path) -> None:
    """Put these files in place of what stands there, which `refuse_foreign` has let pass.

    Raises:
        UserError: Something cannot be written, or `refuse_foreign` would not let pass what has come there meanwhile.
    """
    target = folder.resolve()
    with writing(folder, "Choose another folder."):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as beside:
            new = Path(beside) / "new"
            _write_all({**files, MARK: _listing(files).encode()}, new)
            refuse_foreign(folder)
            _replace(target, new, Path(beside) / "old")


def _replace(target: Path, new: Path, old: Path) -> None:
    """Put `new` in the target's place and what stood there at `old`; if anything comes in between, put it back."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


def _write_all(files: Files, folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _files_in(folder: Path) -> Iterator[Path]:
    """Everything but folders that are no links: an empty one is nothing to lose."""
    return (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())


def _listing(files: Files) -> str:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))


def _checksums(mark: Path) -> dict[str, str]:
    lines = (line.partition("  ") for line in mark.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: digest for digest, _, name in lines}


def _checksum(path: Path) -> str | None:
    """`None` of what no export writes: a link, or whatever is no file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else None
