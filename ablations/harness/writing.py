"""Files that a user has named: one that cannot be written is the user's to mend."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablations.harness.errors import UserError


@contextmanager
def writing(path: Path, remedy: str = "Name another file.") -> Iterator[None]:
    """Around whatever writes to the path.

    Args:
        path: Of a file or a folder, as the user knows it.
        remedy: What to do if it cannot be written.

    Raises:
        UserError: It cannot.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. {remedy}") from None
