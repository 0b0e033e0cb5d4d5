"""One run at a time measures into a folder, and who comes second hears who is first."""

import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from ablations.harness.errors import UserError
from reformer.config import Frozen


class Holder(Frozen):
    """The process that measures into a folder, as it says of itself in the folder's lock file."""

    pid: int
    host: str
    started: str
    command: str


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder, making it if need be, so that two runs cannot measure into it at once.

    The system lets go of it when this process ends, however that happens: what the file says of a holder that is gone
    keeps nobody out. No process that this one starts holds it, as Python has files closed where another program runs.

    Raises:
        UserError: It cannot be written, or another run holds it.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not emptied by being opened: it is another's until it is locked.
        file = path.open("a+")
    except OSError as error:
        raise UserError(f"Cannot write to {folder}: {error.strerror}. Choose another --results.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another run is measuring into {folder}: {_who(path)}. Wait for it, or choose another --results."
            ) from None
        except OSError as error:
            raise UserError(f"Cannot lock {path}: {error.strerror}. Choose --results on a local disk.") from None
        _sign(path)
        yield


def _sign(path: Path) -> None:
    holder = Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(sys.argv),
    )
    try:
        path.write_text(holder.model_dump_json() + "\n")
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Free the disk or choose another --results.") from None


def _who(path: Path) -> str:
    """In words, whatever the file holds: as JSON, so that no text of it can command a terminal."""
    try:
        holder = Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return "a process that has not said yet which it is"
    host, started, command = map(json.dumps, (holder.host, holder.started, holder.command))
    return f"process {holder.pid} on {host}, started {started} as {command}"
