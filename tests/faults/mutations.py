"""What may become of JSON lines, drawn: by a disk, by a crash, by an editor, or by somebody who means harm."""

import json
import random
from collections.abc import Callable
from typing import Any

HOSTILE_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    10**400,
    1e308,
    "",
    "NaN",
    "x" * 5000,
    "\u0000\u001b[2J",
    "../../../etc/passwd",
    "__import__('os').abort()",
    [],
    {},
    [[]],
    {"kind": "time"},
)
LITERALS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b'"\\ud800"', b"0x10", b"1_000")
DEPTH = 100_000


def mutated(content: bytes, drawn: random.Random) -> bytes:
    """One to three mutations after each other."""
    for _ in range(drawn.randint(1, 3)):
        content = drawn.choice(MUTATIONS)(content, drawn)
    return content


def _flip(content: bytes, drawn: random.Random) -> bytes:
    changed = bytearray(content or b"x")
    for _ in range(drawn.randint(1, 4)):
        changed[drawn.randrange(len(changed))] ^= 1 << drawn.randrange(8)
    return bytes(changed)


def _cut(content: bytes, drawn: random.Random) -> bytes:
    return content[: drawn.randint(0, len(content))]


def _lose(content: bytes, drawn: random.Random) -> bytes:
    start = drawn.randint(0, len(content))
    return content[:start] + content[start + drawn.randint(1, 600) :]


def _insert(content: bytes, drawn: random.Random) -> bytes:
    place = drawn.randint(0, len(content))
    rubbish = drawn.choice((b"\xff\xfe", b"\0" * 40, b"\n", b"\r\n", b"\xef\xbb\xbf", b"{half", drawn.randbytes(9)))
    return content[:place] + rubbish + content[place:]


def _shuffle(content: bytes, drawn: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    drawn.shuffle(lines)
    return b"".join(lines)


def _repeat(content: bytes, drawn: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    lines.insert(drawn.randint(0, len(lines)), drawn.choice(lines))
    return b"".join(lines)


def _put_literal(content: bytes, drawn: random.Random) -> bytes:
    """In the place of some number."""
    places = [index for index, byte in enumerate(content) if byte in b":," and content[index + 1 : index + 3].strip()]
    if not places:
        return content
    place = drawn.choice(places) + 1
    end = place
    while end < len(content) and content[end] not in b",}]\n":
        end += 1
    return content[:place] + drawn.choice(LITERALS) + content[end:]


def _nest(content: bytes, drawn: random.Random) -> bytes:
    opening, closing = drawn.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opening * DEPTH + b"1" + (closing * DEPTH if drawn.random() < 0.5 else b"")
    return drawn.choice((deep, content + deep + b"\n", content.replace(b"null", deep, 1)))


def _change_value(content: bytes, drawn: random.Random) -> bytes:
    """One line that is JSON has something else in one place."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    number = drawn.randrange(len(lines))
    try:
        value = json.loads(lines[number])
        lines[number] = json.dumps(_changed(value, drawn)).encode() + b"\n"
    except (ValueError, RecursionError):
        return content
    return b"".join(lines)


def _changed(value: Any, drawn: random.Random) -> Any:  # noqa: ANN401
    """The same with one of its parts, at any depth, replaced, removed or added."""
    if not value or not isinstance(value, dict | list) or drawn.random() < 0.1:
        return drawn.choice(HOSTILE_VALUES)
    key = drawn.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
    if drawn.random() < 0.75:
        value[key] = _changed(value[key], drawn)
    elif isinstance(value, dict) and drawn.random() < 0.5:
        value["__class__"] = drawn.choice(HOSTILE_VALUES)
    else:
        del value[key]
    return value


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _cut,
    _lose,
    _insert,
    _shuffle,
    _repeat,
    _put_literal,
    _nest,
    _change_value,
    _change_value,
    _change_value,
)
