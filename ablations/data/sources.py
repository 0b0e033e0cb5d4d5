"""What the loaders share: where data is looked for, how it is checked and kept, and what is said if it is not there."""

import hashlib
import http.client
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

BLOCK = 2**20
TIMEOUT_SECONDS = 20

BROKEN = (OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, tarfile.TarError, http.client.HTTPException)
"""What a damaged archive, a full disk or a page that is no archive can raise."""

Report = Callable[[str, float], None]
"""Told what is being done and which fraction of it is done."""


class DataMissingError(Exception):
    """The data set is neither here nor to be had; the message says where it was looked for."""


def first_found(what: str, ways: Mapping[str, Callable[[], Path]], *, remedy: str = "") -> Path:
    """What the first way that leads anywhere returns.

    Args:
        what: The name of the data.
        ways: To get at it, each under its name, best first.
        remedy: What the user can do if none does.

    Raises:
        DataMissingError: None does; says why, way by way, and then the remedy.
    """
    tried: list[str] = []
    for name, way in ways.items():
        try:
            return way()
        except DataMissingError as missing:
            tried.append(str(missing))
        except BROKEN as error:
            tried.append(f"{name} failed: {type(error).__name__}: {error}")
    raise DataMissingError(f"{what} is missing: " + "; ".join([*tried, *filter(None, [remedy])]))


def data_folder() -> Path:
    """The folder that `$REFORMER_DATA` names.

    Raises:
        DataMissingError: It names none.
    """
    given = os.environ.get("REFORMER_DATA")
    if not given:
        raise DataMissingError("REFORMER_DATA is not set")
    return Path(given)


def download(url: str, target: Path, report: Report, *, what: str) -> None:
    """Write what the address serves to the target, whatever it is.

    Raises:
        DataMissingError: It cannot be reached.
    """
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response, target.open("wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            done = 0
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                report(f"downloading {what}", done / size if size else 0.0)
    except OSError as error:
        raise DataMissingError(f"download from {url} failed ({error})") from None


def keep(stream: BinaryIO, cached: Path, report: Report, *, sha256: str, n_bytes: int) -> Path:
    """Copy the stream to its place in the cache, checking its sum on the way.

    Args:
        stream: Unpacked.
        cached: The place.
        report: Told how far it is.
        sha256: What the sum must be.
        n_bytes: How many are expected, to tell how far it is.

    Returns:
        The place.

    Raises:
        DataMissingError: The sum is another. Nothing was kept.
    """
    with draft_of(cached) as draft, draft.open("wb") as file:
        digest, done = hashlib.sha256(), 0
        while block := stream.read(BLOCK):
            digest.update(block)
            file.write(block)
            done += len(block)
            report(f"unpacking {cached.name}", min(1.0, done / n_bytes))
        _require_right_sum(digest.hexdigest(), sha256, "what was unpacked")
    return cached


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A path to write to. It becomes the target in the end, unless something is raised: nobody sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = Path(folder) / target.name
        yield draft
        draft.replace(target)


def checked(path: Path, report: Report, *, sha256: str) -> Path:
    """The path, the sum of its content checked just now.

    Raises:
        DataMissingError: The sum is another.
    """
    report(f"checking {path}", 0.0)
    _require_right_sum(sum_of(path), sha256, str(path))
    return path


def sum_of(path: Path) -> str:
    """SHA-256 of the file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_right_sum(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise DataMissingError(f"{what} is something else: SHA-256 {found}, not {expected}")
