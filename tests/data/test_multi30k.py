"""Pairs are found, checked and read; word pieces are learned from them, the same ones every time."""

import gzip
import hashlib
import os
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from ablations.data import multi30k
from ablations.data.multi30k import BEGIN, END, PAD, UNKNOWN, Pieces
from ablations.data.sources import DataMissingError

TEXTS = {
    "train.en": "A dog runs.\nTwo cats\u2028sit.\nA bird sings.\n",
    "train.de": "Ein Hund läuft.\nZwei Katzen sitzen.\nEin Vogel singt.\n",
    "val.en": "A cat runs.\nTwo dogs sit.\n",
    "val.de": "Eine Katze läuft.\nZwei Hunde sitzen.\n",
    "test_2016_flickr.en": "A bird sits.\n",
    "test_2016_flickr.de": "Ein Vogel sitzt.\n",
}
TRAIN = tuple(
    (f"{who} {does} on the {where}.", f"{wer} {tut} auf der {wo}.")
    for who, wer in (("A dog", "Ein Hund"), ("A bird", "Ein Vogel"), ("Two girls", "Zwei Mädchen"))
    for does, tut in (("sits", "sitzt"), ("runs", "läuft"))
    for where, wo in (("street", "Straße"), ("meadow", "Wiese"))
)
GIVEN = Path(os.environ.get("REFORMER_DATA", "")) / "multi30k"


class Network:
    """Serves what it is given, and notes what it was asked for."""

    def __init__(self, served: dict[str, bytes]) -> None:
        self.served = served
        self.asked: list[str] = []

    def urlopen(self, url: str, timeout: float) -> Any:  # noqa: ANN401
        self.asked.append(url)
        if url not in self.served:
            raise OSError("no network in this test")
        answer = BytesIO(self.served[url])
        answer.headers = {}  # type: ignore[attr-defined]
        return answer


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    silent = Network({})
    monkeypatch.setattr("ablations.data.sources.urlopen", silent.urlopen)
    return silent


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Network) -> tuple[Path, Path]:
    """An empty folder for the archives and an empty cache; the texts are short ones."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    (data / "multi30k").mkdir(parents=True)
    monkeypatch.setenv("REFORMER_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in TEXTS.items()}
    monkeypatch.setattr(multi30k, "SHA256", sums)
    return data / "multi30k", cache / "reformer-suite"


def fill(folder: Path) -> None:
    for name, text in TEXTS.items():
        (folder / f"m30k_{name}.gz").write_bytes(gzip.compress(text.encode()))


def locate() -> Path:
    return multi30k.locate(lambda _doing, _done: None)


def test_archives_are_unpacked_into_the_cache_once(folders: tuple[Path, Path], network: Network) -> None:
    fill(folders[0])
    assert locate() == folders[1] / "multi30k"
    assert {path.name: path.read_text(encoding="utf-8") for path in locate().iterdir()} == TEXTS
    before = {path: path.stat() for path in locate().iterdir()}
    assert {path: path.stat() for path in locate().iterdir()} == before
    assert network.asked == []


def test_the_cache_serves_without_archives(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folders[0])
    unpacked = locate()
    monkeypatch.delenv("REFORMER_DATA")
    assert locate() == unpacked


@pytest.mark.parametrize("name", list(TEXTS))
def test_a_text_that_went_bad_in_the_cache_is_replaced(name: str, folders: tuple[Path, Path]) -> None:
    fill(folders[0])
    damaged = locate() / name
    damaged.write_bytes(b"?")
    assert (locate() / name).read_text(encoding="utf-8") == TEXTS[name]


@pytest.mark.parametrize("name", list(TEXTS))
def test_another_text_is_refused(name: str, folders: tuple[Path, Path]) -> None:
    fill(folders[0])
    (folders[0] / f"m30k_{name}.gz").write_bytes(gzip.compress(b"Something else.\n"))
    with pytest.raises(DataMissingError, match=rf"multi30k's {name} is missing: .*something else: SHA-256"):
        locate()
    assert not (folders[1] / "multi30k" / name).exists()


@pytest.mark.parametrize(
    "content", [b"<html>sign in</html>", gzip.compress(b"A dog runs.\n" * 90)[:-20]], ids=["another page", "cut short"]
)
def test_a_damaged_archive_is_a_missing_data_set(content: bytes, folders: tuple[Path, Path]) -> None:
    fill(folders[0])
    (folders[0] / "m30k_train.en.gz").write_bytes(content)
    with pytest.raises(DataMissingError, match="archive from folder failed"):
        locate()


def test_what_is_not_here_is_downloaded(folders: tuple[Path, Path], network: Network) -> None:
    network.served = {f"{multi30k.URL}/{name}.gz": gzip.compress(text.encode()) for name, text in TEXTS.items()}
    assert {path.name: path.read_text(encoding="utf-8") for path in locate().iterdir()} == TEXTS
    assert network.asked == list(network.served)


def test_another_text_from_the_network_is_refused(folders: tuple[Path, Path], network: Network) -> None:
    network.served = {f"{multi30k.URL}/train.en.gz": gzip.compress(b"Something else.\n")}
    with pytest.raises(DataMissingError, match="something else: SHA-256"):
        locate()


def test_without_anything_every_place_is_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataMissingError) as missing:
        locate()
    for place in (str(folders[0]), str(folders[1]), multi30k.URL):
        assert place in str(missing.value)


def test_lines_of_both_languages_make_pairs_and_only_a_line_feed_ends_a_line(folders: tuple[Path, Path]) -> None:
    fill(folders[0])
    pairs = multi30k.read_pairs(locate())
    assert pairs.train == (
        ("A dog runs.", "Ein Hund läuft."),
        ("Two cats\u2028sit.", "Zwei Katzen sitzen."),
        ("A bird sings.", "Ein Vogel singt."),
    )
    assert pairs.validation == (("A cat runs.", "Eine Katze läuft."), ("Two dogs sit.", "Zwei Hunde sitzen."))
    assert pairs.test == (("A bird sits.", "Ein Vogel sitzt."),)
    for words in ("trained on 3 ", "2 (validation)", "1 (test 2016"):
        assert words in pairs.description


def test_without_sentencepiece_the_extra_is_named(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ImportError, match=r"pip install 'reformer-suite\[translation\]'"):
        Pieces.learned(TRAIN, vocab_size=60)


class TestPieces:
    """With sentencepiece."""

    @pytest.fixture(autouse=True)
    def _needs_sentencepiece(self, folders: tuple[Path, Path]) -> None:
        pytest.importorskip("sentencepiece", reason="the extra `translation` is not installed")

    def test_a_text_comes_back_from_its_pieces(self) -> None:
        pieces = Pieces.learned(TRAIN, vocab_size=90)
        for text in (text for pair in TRAIN for text in pair):
            ids = pieces.encode(text)
            assert pieces.decode(ids) == text
            assert min(ids) > UNKNOWN
            assert max(ids) < len(pieces) == 90
            assert len(ids) < len(text) / 2

    def test_a_character_that_was_never_seen_is_unknown(self) -> None:
        assert UNKNOWN in Pieces.learned(TRAIN, vocab_size=90).encode("A dog sits on 数.")

    def test_characters_are_left_as_they_are(self) -> None:
        train = (*TRAIN, ("½ … ﬁ", "½ … ﬁ"))
        pieces = Pieces.learned(train, vocab_size=90)
        assert pieces.decode(pieces.encode("½ … ﬁ")) == "½ … ﬁ"

    def test_ids_that_stand_for_no_text_add_none(self) -> None:
        pieces = Pieces.learned(TRAIN, vocab_size=90)
        assert pieces.decode([BEGIN, *pieces.encode("A dog runs"), END, PAD, PAD]) == "A dog runs"
        assert (PAD, BEGIN, END, UNKNOWN) == (0, 1, 2, 3)
        assert pieces.encode("") == []

    def test_the_same_texts_give_the_same_pieces(self, folders: tuple[Path, Path]) -> None:
        Pieces.learned(TRAIN, vocab_size=90)
        (kept,) = folders[1].iterdir()
        first = kept.read_bytes()
        kept.unlink()
        Pieces.learned(TRAIN, vocab_size=90)
        assert kept.read_bytes() == first

    def test_pieces_are_learned_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = Pieces.learned(TRAIN, vocab_size=90)
        monkeypatch.delattr("sentencepiece.SentencePieceTrainer.train")
        again = Pieces.learned(TRAIN, vocab_size=90)
        assert [again.encode(english) for english, _ in TRAIN] == [first.encode(english) for english, _ in TRAIN]

    def test_other_texts_and_another_size_have_pieces_of_their_own(self, folders: tuple[Path, Path]) -> None:
        sizes = [
            len(Pieces.learned(train, vocab_size=size)) for train, size in ((TRAIN, 90), (TRAIN, 70), (TRAIN[:-1], 90))
        ]
        assert sizes == [90, 70, 90]
        assert len(list(folders[1].iterdir())) == 3

    @pytest.mark.parametrize("size", [10, 5000])
    def test_a_size_that_the_texts_do_not_give_is_refused(self, size: int, folders: tuple[Path, Path]) -> None:
        with pytest.raises(ValueError, match=rf"vocab_size={size} cannot be had from 24 texts; give another"):
            Pieces.learned(TRAIN, vocab_size=size)
        assert not folders[1].exists()


@pytest.mark.skipif(not GIVEN.is_dir(), reason="REFORMER_DATA has no multi30k")
def test_the_real_texts_are_29_000_and_1_014_and_1_000_pairs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: Network
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pairs = multi30k.read_pairs(locate())
    assert [len(part) for part in (pairs.train, pairs.validation, pairs.test)] == [29_000, 1_014, 1_000]
    assert pairs.train[0][1] == "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."
    assert all(english and german for part in (pairs.train, pairs.validation, pairs.test) for english, german in part)
    assert network.asked == []
