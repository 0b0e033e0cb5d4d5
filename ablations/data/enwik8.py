"""enwik8: the first 100,000,000 bytes of an English Wikipedia dump of 2006 (Hutter prize).

Looked for in `$REFORMER_DATA`, then in the user's cache, then downloaded. Whatever is used has the right SHA-256.
"""

import gzip
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ablations.data.cache import cache_folder
from ablations.data.sources import (
    TIMEOUT_SECONDS,
    DataMissingError,
    Report,
    checked,
    data_folder,
    download,
    first_found,
    keep,
)

__all__ = ["DataMissingError", "Split", "locate", "read_split"]

N_BYTES = 100_000_000
SHA256 = "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"
URL = "http://mattmahoney.net/dc/enwik8.zip"
DISTRIBUTION, MEMBER = "mingru-pytorch==0.2.1", "data/enwik8.gz"
"""A source distribution that carries the same bytes: the second place to download from."""

TRAIN_BYTES, VALIDATION_BYTES = 90_000_000, 5_000_000
PIP_SECONDS = 600


@dataclass(frozen=True)
class Split:
    """Training, validation and test part: 90, 5 and 5 per cent of the bytes, in this order."""

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    test: NDArray[np.uint8]

    @property
    def description(self) -> str:
        """In words, for whoever reads a figure."""
        return (
            "enwik8 split by bytes: trained on the first 90,000,000, reported on the next 5,000,000 (validation); "
            "the last 5,000,000 (test) not looked at"
        )


def read_split(path: Path) -> Split:
    """The three parts, mapped and not read."""
    text: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r", shape=(N_BYTES,))
    held_out = TRAIN_BYTES + VALIDATION_BYTES
    return Split(train=text[:TRAIN_BYTES], validation=text[TRAIN_BYTES:held_out], test=text[held_out:])


def locate(report: Report) -> Path:
    """Path of the unpacked file, its sum checked just now, wherever it had to come from.

    Looked for in `$REFORMER_DATA` first: a plain file there is used where it is. An archive there is unpacked into the
    cache, unless that has been done before.

    Raises:
        DataMissingError: It is not here and cannot be downloaded, or what was found is something else.
    """
    sources = (_plain_from_folder, _from_cache, _archive_from_folder, _from_url, _from_distribution)
    return first_found("enwik8", {_words(source): partial(source, report) for source in sources})


def _words(source: Callable[[Report], Path]) -> str:
    return source.__name__.strip("_").replace("_", " ")


def _plain_from_folder(report: Report) -> Path:
    path = data_folder() / "enwik8"
    if not path.exists():
        raise DataMissingError(f"no enwik8 in REFORMER_DATA={path.parent}")
    return checked(path, report, sha256=SHA256)


def _from_cache(report: Report) -> Path:
    path = cache_folder() / "enwik8"
    if not path.exists():
        raise DataMissingError(f"none in the cache {path.parent}")
    return checked(path, report, sha256=SHA256)


def _archive_from_folder(report: Report) -> Path:
    folder = data_folder()
    for name, opened in (("enwik8.gz", _gzipped), ("enwik8.zip", _zipped)):
        if (folder / name).exists():
            with opened(folder / name) as stream:
                return _keep(stream, report)
    raise DataMissingError(f"no enwik8.gz or enwik8.zip in REFORMER_DATA={folder}")


def _from_url(report: Report) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "enwik8.zip"
        download(URL, archive, report, what="enwik8")
        with _zipped(archive) as stream:
            return _keep(stream, report)


def _from_distribution(report: Report) -> Path:
    report(f"downloading enwik8 with {DISTRIBUTION}", 0.0)
    name = DISTRIBUTION.split("==")[0]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--timeout", str(TIMEOUT_SECONDS), "--retries", "1"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*pip, "--no-deps", "--no-binary", name, "--dest", folder, DISTRIBUTION]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PIP_SECONDS)
            archive = next(Path(folder).glob("*.tar.gz"))
        except (OSError, subprocess.SubprocessError, StopIteration):
            raise DataMissingError(f"pip could not download {DISTRIBUTION}") from None
        with tarfile.open(archive) as packed:
            member = next((m for m in packed if m.name.endswith("/" + MEMBER)), None)
            stream = packed.extractfile(member) if member else None
            if stream is None:
                raise DataMissingError(f"{DISTRIBUTION} holds no {MEMBER}")
            with gzip.open(stream) as unpacked:
                return _keep(cast(BinaryIO, unpacked), report)


def _gzipped(path: Path) -> AbstractContextManager[BinaryIO]:
    return cast(AbstractContextManager[BinaryIO], gzip.open(path))


def _zipped(path: Path) -> AbstractContextManager[BinaryIO]:
    return cast(AbstractContextManager[BinaryIO], zipfile.ZipFile(path).open("enwik8"))


def _keep(stream: BinaryIO, report: Report) -> Path:
    return keep(stream, cache_folder() / "enwik8", report, sha256=SHA256, n_bytes=N_BYTES)
