"""Pictures become rows of bytes, once; other archives, other pictures and damaged files are refused."""

import hashlib
import os
import sys
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ablations.data import images64
from ablations.data.images64 import Archive, Source
from ablations.data.sources import DataMissingError

TINY = images64.SOURCES[1]
GIVEN = Path(os.environ.get("REFORMER_DATA", ""))


def colours(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)


def packed(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def archive(path: Path, members: Mapping[str, bytes]) -> Archive:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        folder = tarfile.TarInfo("pictures.png")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, BytesIO(content))
    return Archive(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def source(folder: Path, name: str, train: Mapping[str, bytes], validation: Mapping[str, bytes]) -> Source:
    return Source(
        title=f"pictures called {name}",
        train=archive(folder / f"{name}_train.tar.gz", train),
        validation=archive(folder / f"{name}_val.tar", validation),
    )


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """An empty data folder and an empty cache."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("REFORMER_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return data, cache / "reformer-suite"


@pytest.fixture
def one(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Source:
    """Three pictures to train on and two held out, stored in an order that is not that of their names."""
    made = source(
        folders[0],
        "one",
        {
            "b/2.png": packed(colours(2)),
            "labels.txt": b"cat",
            "a/9.png": packed(colours(9)),
            "b/10.png": packed(colours(10)),
        },
        {"y.PNG": packed(colours(21)), "x.png": packed(colours(20))},
    )
    monkeypatch.setattr(images64, "SOURCES", (made,))
    return made


def locate() -> Path:
    return images64.locate(lambda _doing, _done: None)


def rows(*seeds: int) -> NDArray[np.uint8]:
    return np.stack([colours(seed).reshape(12_288) for seed in seeds])


def test_a_picture_is_a_row_of_bytes_in_the_order_of_names(one: Source) -> None:
    split = images64.read_split(locate())
    assert np.array_equal(split.train, rows(9, 10, 2))
    assert np.array_equal(split.validation, rows(20, 21))
    assert split.train.dtype == split.validation.dtype == np.uint8
    assert isinstance(split.train, np.memmap)


def test_red_green_and_blue_of_the_first_pixel_come_first_then_its_right_neighbour(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[1, 0] = (1, 2, 3), (4, 5, 6), (7, 8, 9)
    made = source(folders[0], "it", {"a.png": packed(pixels)}, {"b.png": packed(pixels)})
    monkeypatch.setattr(images64, "SOURCES", (made,))
    row = images64.read_split(locate()).train[0]
    assert row[:6].tolist() == [1, 2, 3, 4, 5, 6]
    assert row[192:195].tolist() == [7, 8, 9]


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("JPEG", "JPEG"), ("JPEG", "jpg")])
def test_a_grey_picture_has_three_equal_channels(
    kind: str, suffix: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = np.full((64, 64), 77, dtype=np.uint8)
    made = source(folders[0], "grey", {f"a.{suffix}": packed(flat, kind)}, {f"b.{suffix}": packed(flat, kind)})
    monkeypatch.setattr(images64, "SOURCES", (made,))
    assert np.array_equal(images64.read_split(locate()).train, np.full((1, 12_288), 77))


def test_the_description_says_what_how_many_and_from_where(one: Source) -> None:
    description = images64.read_split(locate()).description
    for words in ("pictures called one", "trained on the 3 ", "reported on the 2 ", "12,288 bytes"):
        assert words in description


def test_archives_are_converted_once(one: Source, folders: tuple[Path, Path]) -> None:
    sums = one.train.sha256 + one.validation.sha256
    name = f"images64-{hashlib.sha256(sums.encode()).hexdigest()[:12]}"
    converted = locate()
    assert converted == folders[1] / f"{name}.npy"
    assert {path.name for path in folders[1].iterdir()} == {f"{name}.npy", f"{name}.json"}
    before = converted.stat()
    assert locate().stat() == before


def test_progress_is_told_archive_by_archive(one: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images64, "EVERY", 1)
    said: list[tuple[str, float]] = []
    images64.locate(lambda doing, done: said.append((doing, done)))
    converting = [(doing, done) for doing, done in said if doing.startswith("converting")]
    assert converting == [("converting one_train.tar.gz", third / 3) for third in range(3)] + [
        ("converting one_val.tar", half / 2) for half in range(2)
    ]


def test_the_cache_serves_without_archives_and_without_a_data_folder(
    one: Source, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = locate()
    (folders[0] / one.train.name).unlink()
    assert locate() == converted
    monkeypatch.delenv("REFORMER_DATA")
    assert locate() == converted


def test_of_two_sources_the_first_is_taken_and_archives_come_before_the_cache(
    one: Source, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = source(folders[0], "other", {"a.png": packed(colours(30))}, {"b.png": packed(colours(31))})
    monkeypatch.setattr(images64, "SOURCES", (one, other))
    assert locate() == one.converted
    (folders[0] / one.train.name).unlink()
    assert locate() == other.converted
    (folders[0] / other.train.name).unlink()
    assert locate() == one.converted


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_cache_that_went_bad_is_converted_again(suffix: str, one: Source) -> None:
    converted = locate()
    damaged = converted.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert np.array_equal(images64.read_split(locate()).train, rows(9, 10, 2))


@pytest.mark.parametrize(("suffix", "why"), [(".npy", "something else: SHA-256"), (".json", "does not say what")])
def test_a_cache_that_went_bad_is_not_used_without_archives(
    suffix: str, why: str, one: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = locate().with_suffix(suffix)
    damaged.write_bytes(b"?")
    monkeypatch.delenv("REFORMER_DATA")
    with pytest.raises(DataMissingError, match=why):
        locate()


@pytest.mark.parametrize("part", ["train", "validation"])
def test_another_archive_is_refused(part: str, one: Source, folders: tuple[Path, Path]) -> None:
    path = folders[0] / getattr(one, part).name
    archive(path, {"a.png": packed(colours(1))})
    with pytest.raises(DataMissingError, match=f"{path.name} is something else: SHA-256"):
        locate()
    assert not folders[1].exists()


@pytest.mark.parametrize("shape", [(64, 63, 3), (65, 64, 3), (128, 128, 3)])
def test_a_picture_of_another_size_is_refused_and_nothing_is_kept(
    shape: tuple[int, int, int], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = packed(np.zeros(shape, dtype=np.uint8))
    made = source(folders[0], "large", {"a.png": packed(colours(1))}, {"big.png": large})
    monkeypatch.setattr(images64, "SOURCES", (made,))
    with pytest.raises(DataMissingError, match=rf"big.png in .* has {shape[1]} x {shape[0]} pixels, not 64 x 64"):
        locate()
    assert list(folders[1].iterdir()) == []


def test_a_damaged_picture_is_a_missing_data_set(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made = source(folders[0], "it", {"a.png": packed(colours(1))[:-2000]}, {"b.png": packed(colours(2))})
    monkeypatch.setattr(images64, "SOURCES", (made,))
    with pytest.raises(DataMissingError, match="archives from folder failed: OSError"):
        locate()
    assert list(folders[1].iterdir()) == []


def test_without_pillow_it_is_named(one: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataMissingError, match="pip install pillow"):
        locate()


def test_without_anything_the_message_says_what_to_put_where(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataMissingError) as missing:
        locate()
    wanted = ["train_64x64.tar", "valid_64x64.tar", "tiny_imagenet_train_20k.tar.gz", "tiny_imagenet_val_10k.tar.gz"]
    for words in (*wanted, str(folders[0]), str(folders[1]), "into the folder that REFORMER_DATA names"):
        assert words in str(missing.value)


@pytest.mark.parametrize("part", [TINY.train, TINY.validation], ids=lambda part: part.name)
def test_the_real_archives_have_the_sums_that_are_asked_for(part: Archive) -> None:
    path = GIVEN / part.name
    if not path.is_file():
        pytest.skip(f"REFORMER_DATA has no {part.name}")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == part.sha256
