"""Photographs of 64 x 64 pixels as rows of 12,288 bytes: red, green and blue of each pixel, row by row.

Taken from local archives, converted once into the user's cache, memory-mapped. Nothing is downloaded: ImageNet 64 x 64,
which the paper used, is not served any more, and Tiny ImageNet states no licence.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ablations.data.cache import cache_folder
from ablations.data.sources import DataMissingError, Report, checked, data_folder, draft_of, first_found, sum_of
from reformer.config import Count, Frozen

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 64
ROW_BYTES = 3 * SIDE * SIDE
SUFFIXES = (".jpeg", ".jpg", ".png")
EVERY = 500
"""Pictures from one word of progress to the next."""


@dataclass(frozen=True)
class Archive:
    """A tar file of pictures, compressed or not, and its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """Two archives that belong together, and what they hold."""

    title: str
    train: Archive
    validation: Archive

    @property
    def converted(self) -> Path:
        """Where the converted pictures are kept."""
        sums = self.train.sha256 + self.validation.sha256
        return cache_folder() / f"images64-{hashlib.sha256(sums.encode()).hexdigest()[:12]}.npy"


SOURCES = (
    Source(
        title="ImageNet, reduced to 64 x 64 pixels",
        train=Archive("train_64x64.tar", "e2a2c1947a748d0d256e98e6d82800d855441dc9e4de2e71a773f1324c4524d7"),
        validation=Archive("valid_64x64.tar", "eeac03ec4f585baf871d2b4cb9c974bfe345e74878a74e5820fe6eb1041629cd"),
    ),
    Source(
        title="Tiny ImageNet, 200 classes of photographs of 64 x 64 pixels (not the ImageNet 64 x 64 of the paper)",
        train=Archive(
            "tiny_imagenet_train_20k.tar.gz", "1215cc8006522ff22570b76f02cf1ae563acb1350b4c4af2cb012bf844c9aae7"
        ),
        validation=Archive(
            "tiny_imagenet_val_10k.tar.gz", "5f2bfe546f315763a8c670aa612d9ffd5d84c75acc7b41683cbb67368f92599b"
        ),
    ),
)
"""The one that the paper used first: where both are, it is taken."""


class Contents(Frozen):
    """What a file of converted pictures holds; kept beside it.

    Attributes:
        title: Of the source.
        n_train: Rows from the training archive; they come first.
        n_validation: Rows from the validation archive.
        sha256: Of the file.
    """

    title: str
    n_train: Count
    n_validation: Count
    sha256: str


@dataclass(frozen=True)
class ImageSplit:
    """Pictures to train on and others to report on, one a row; `description` says in words what they are."""

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    description: str


def read_split(path: Path) -> ImageSplit:
    """Both parts, mapped and not read.

    Raises:
        DataMissingError: What should lie beside the file does not.
    """
    contents = _contents(path)
    rows: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return ImageSplit(
        train=rows[: contents.n_train],
        validation=rows[contents.n_train :],
        description=(
            f"{contents.title}: trained on the {contents.n_train:,} pictures of the training archive, reported on the "
            f"{contents.n_validation:,} of the validation archive; {ROW_BYTES:,} bytes each, red, green and blue of "
            "each pixel, row by row"
        ),
    )


def locate(report: Report) -> Path:
    """Path of the converted pictures, their sum checked just now.

    Archives in `$REFORMER_DATA` come first; they are converted into the cache, unless that has been done before.
    Without any, what is in the cache is used.

    Raises:
        DataMissingError: There are none, or what was found is something else. The message says what to put where.
    """
    ways = {"archives from folder": partial(_from_folder, report), "cache": partial(_from_cache, report)}
    remedy = f"nothing to download: put {_choice('and', 'or')} into the folder that REFORMER_DATA names"
    return first_found("images64", ways, remedy=remedy)


def _choice(both: str, either: str) -> str:
    return f" {either} ".join(f"{one.train.name} {both} {one.validation.name}" for one in SOURCES)


def _from_folder(report: Report) -> Path:
    folder = data_folder()
    for source in SOURCES:
        if (folder / source.train.name).exists() and (folder / source.validation.name).exists():
            return _once_converted(source, folder, report)
    raise DataMissingError(f"no {_choice('with', 'and no')} in REFORMER_DATA={folder}")


def _once_converted(source: Source, folder: Path, report: Report) -> Path:
    try:
        return _checked(source.converted, report)
    except (DataMissingError, FileNotFoundError):
        return _convert(source, folder, report)


def _from_cache(report: Report) -> Path:
    for source in SOURCES:
        if source.converted.exists():
            return _checked(source.converted, report)
    raise DataMissingError(f"no images64 in the cache {cache_folder()}")


def _checked(path: Path, report: Report) -> Path:
    return checked(path, report, sha256=_contents(path).sha256)


def _contents(path: Path) -> Contents:
    beside = path.with_suffix(".json")
    try:
        return Contents.model_validate_json(beside.read_bytes())
    except (OSError, ValidationError):
        raise DataMissingError(f"{beside} does not say what {path.name} holds") from None


def _convert(source: Source, folder: Path, report: Report) -> Path:
    """Check both archives and write their pictures to the cache, each archive's in the order of their names."""
    opened = _opener()
    train, validation = (
        checked(folder / one.name, report, sha256=one.sha256) for one in (source.train, source.validation)
    )
    n_train, n_validation = len(_ranks(train)), len(_ranks(validation))
    with draft_of(source.converted) as draft:
        rows = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=(n_train + n_validation, ROW_BYTES))
        _fill(rows[:n_train], train, opened, report)
        _fill(rows[n_train:], validation, opened, report)
        rows.flush()
        contents = Contents(title=source.title, n_train=n_train, n_validation=n_validation, sha256=sum_of(draft))
        # First: whoever finds the pictures finds what they are.
        with draft_of(source.converted.with_suffix(".json")) as beside:
            beside.write_text(contents.model_dump_json())
    return source.converted


def _opener() -> Callable[[IO[bytes]], "Image"]:
    try:
        from PIL import Image
    except ImportError:
        raise DataMissingError(
            "photographs are converted with Pillow, which is not installed: pip install pillow"
        ) from None
    return Image.open


def _fill(rows_ND: NDArray[np.uint8], archive: Path, opened: Callable[[IO[bytes]], "Image"], report: Report) -> None:
    """Write every picture to the row that its name ranks it at; the archive is read once, front to back."""
    ranks = _ranks(archive)
    for done, (name, stream) in enumerate(_pictures(archive)):
        if done % EVERY == 0:
            report(f"converting {archive.name}", done / len(ranks))
        with opened(stream) as picture:
            if picture.size != (SIDE, SIDE):
                width, height = picture.size
                raise DataMissingError(f"{name} in {archive} has {width} x {height} pixels, not {SIDE} x {SIDE}")
            rows_ND[ranks[name]] = np.asarray(picture.convert("RGB")).reshape(-1)


def _ranks(archive: Path) -> dict[str, int]:
    with tarfile.open(archive) as packed:
        names = [member.name for member in packed if _is_picture(member)]
    return {name: rank for rank, name in enumerate(sorted(names))}


def _pictures(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as packed:
        for member in packed:
            stream = packed.extractfile(member) if _is_picture(member) else None
            if stream is not None:
                yield member.name, stream


def _is_picture(member: tarfile.TarInfo) -> bool:
    return member.isfile() and PurePosixPath(member.name).suffix.lower() in SUFFIXES
