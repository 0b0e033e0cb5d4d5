"""Multi30k, task 1: descriptions of photographs in English and, translated by people, in German.

Looked for in the user's cache, then in `$REFORMER_DATA`, then downloaded; whatever is used has the right SHA-256. With
it comes a vocabulary of word pieces, learned from the training part.
"""

import gzip
import hashlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import BinaryIO, Self, cast

from ablations.data.cache import cache_folder
from ablations.data.sources import DataMissingError, Report, checked, data_folder, download, draft_of, first_found, keep

URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
LANGUAGES = ("en", "de")
SHA256: Mapping[str, str] = MappingProxyType(
    {
        "train.en": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
        "train.de": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
        "val.en": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
        "val.de": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
        "test_2016_flickr.en": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
        "test_2016_flickr.de": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    }
)
"""Of the texts, unpacked."""

PAD, BEGIN, END, UNKNOWN = range(4)
"""Ids that stand for no text; the other pieces follow."""

SETTINGS: Mapping[str, object] = MappingProxyType(
    {
        "model_type": "bpe",
        "num_threads": 1,
        "shuffle_input_sentence": False,
        "byte_fallback": False,
        "character_coverage": 1.0,
        "normalization_rule_name": "identity",
        "pad_id": PAD,
        "bos_id": BEGIN,
        "eos_id": END,
        "unk_id": UNKNOWN,
    }
)
"""Of sentencepiece, so that the same texts give the same pieces; the rest is as it comes."""

Pair = tuple[str, str]
"""A description in English, and in German."""


@dataclass(frozen=True)
class Pairs:
    """Training, validation and test part; `description` says in words what they are."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]
    description: str


def read_pairs(path: Path) -> Pairs:
    """All three parts, from the folder that `locate` returned."""
    train, validation, test = (_read(path, part) for part in ("train", "val", "test_2016_flickr"))
    description = (
        f"Multi30k, task 1, English to German, texts as they are: trained on {len(train):,} pairs, reported on "
        f"{len(validation):,} (validation), at most {len(test):,} (test 2016, Flickr) translated"
    )
    return Pairs(train=train, validation=validation, test=test, description=description)


def _read(path: Path, part: str) -> tuple[Pair, ...]:
    # Not `splitlines`: only a line feed ends a description.
    english, german = (
        (path / f"{part}.{one}").read_bytes().decode().removesuffix("\n").split("\n") for one in LANGUAGES
    )
    return tuple(zip(english, german, strict=True))


def locate(report: Report) -> Path:
    """The folder of six unpacked texts, their sums checked just now, wherever they had to come from.

    Raises:
        DataMissingError: A text is not here and cannot be downloaded, or what was found is something else.
    """
    folder = cache_folder() / "multi30k"
    for name in SHA256:
        ways = {"cache": _from_cache, "archive from folder": _from_folder, "download": _from_url}
        first_found(f"multi30k's {name}", {word: partial(way, folder / name, report) for word, way in ways.items()})
    return folder


def _from_cache(text: Path, report: Report) -> Path:
    if not text.exists():
        raise DataMissingError(f"none in the cache {text.parent}")
    return checked(text, report, sha256=SHA256[text.name])


def _from_folder(text: Path, report: Report) -> Path:
    archive = data_folder() / "multi30k" / f"m30k_{text.name}.gz"
    if not archive.exists():
        raise DataMissingError(f"no {archive.name} in {archive.parent}")
    return _unpack(archive, text, report)


def _from_url(text: Path, report: Report) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / f"{text.name}.gz"
        download(f"{URL}/{archive.name}", archive, report, what=f"multi30k's {text.name}")
        return _unpack(archive, text, report)


def _unpack(archive: Path, text: Path, report: Report) -> Path:
    with gzip.open(archive) as stream:
        # A few hundred kilobytes: one block, told of when it is done.
        return keep(cast(BinaryIO, stream), text, report, sha256=SHA256[text.name], n_bytes=1)


class Pieces:
    """Word pieces of both languages, in one vocabulary.

    Args:
        model: A model of sentencepiece, as bytes.

    Raises:
        ImportError: sentencepiece is not installed.
    """

    def __init__(self, model: bytes) -> None:
        self._processor = load_sentencepiece().SentencePieceProcessor(model_proto=model)

    @classmethod
    def learned(cls, train: Sequence[Pair], *, vocab_size: int) -> Self:
        """Learn them, or take them from the user's cache where the same texts had been learned from before.

        Args:
            train: Pairs of the training part, and of no other.
            vocab_size: Pieces, the four ids that stand for no text included.

        Raises:
            ImportError: sentencepiece is not installed.
            ValueError: The texts do not give that many pieces, or have more different characters.
        """
        texts = [text for pair in train for text in pair]
        settings = {**SETTINGS, "vocab_size": vocab_size, "version": load_sentencepiece().__version__}
        key = hashlib.sha256(json.dumps([settings, texts], sort_keys=True).encode()).hexdigest()
        kept = cache_folder() / f"multi30k-pieces-{key[:12]}.model"
        if not kept.exists():
            model = _learn(texts, vocab_size)
            with draft_of(kept) as draft:
                draft.write_bytes(model)
        return cls(kept.read_bytes())

    def __len__(self) -> int:
        return len(self._processor)

    def encode(self, text: str) -> list[int]:
        """Ids of the text's pieces, without `BEGIN` and `END`; a run of blanks counts as one."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these pieces; `PAD`, `BEGIN` and `END` stand for none."""
        text: str = self._processor.decode([int(one) for one in ids])
        return text


def _learn(texts: list[str], vocab_size: int) -> bytes:
    model = io.BytesIO()
    try:
        load_sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=model, vocab_size=vocab_size, minloglevel=2, **SETTINGS
        )
    except RuntimeError as error:
        raise ValueError(
            f"vocab_size={vocab_size} cannot be had from {len(texts)} texts; give another ({error})"
        ) from None
    return model.getvalue()


def load_sentencepiece() -> ModuleType:
    """The package.

    Raises:
        ImportError: It is not installed; names the extra that brings it.
    """
    try:
        import sentencepiece
    except ImportError:
        raise ImportError("extra `translation` is not installed: pip install 'reformer-suite[translation]'") from None
    return sentencepiece
