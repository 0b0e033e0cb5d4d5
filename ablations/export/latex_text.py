"""Text as LaTeX that prints it, whatever it holds."""

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

_SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",
        "}": r"\textbraceright{}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "_": r"\_",
        "%": r"\%",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedblright{}",
        "`": r"\textasciigrave{}",
        # After the end of a row these two would be read as its options.
        "[": "{[}",
        "*": "{*}",
        "\N{EM DASH}": r"\textemdash{}",
        "\N{EN DASH}": r"\textendash{}",
        "\N{RIGHT SINGLE QUOTATION MARK}": r"\textquoteright{}",
        "†": r"\textdagger{}",
        "‡": r"\textdaggerdbl{}",
        "§": r"\textsection{}",
        "¶": r"\textparagraph{}",
        "‖": r"\textbardbl{}",
        "µ": r"\textmu{}",
        "\N{MULTIPLICATION SIGN}": r"\texttimes{}",
        "±": r"\textpm{}",
        "²": r"\texttwosuperior{}",
        "·": r"\textperiodcentered{}",
        "…": r"\textellipsis{}",
        "≤": r"\ensuremath{\le}",
        "≥": r"\ensuremath{\ge}",
        "≈": r"\ensuremath{\approx}",
        "\N{MINUS SIGN}": r"\ensuremath{-}",
        "→": r"\ensuremath{\rightarrow}",
    }
)

_ACCENTS: Mapping[str, str] = MappingProxyType(
    {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r", "\u030c": "v"}
)


def escaped(text: str) -> str:
    """The text in one line, as LaTeX that prints it; braces balance, so that it may stand in BibTeX too.

    A character that a plain document has no sign for is printed as its number: `[U+2713]`.
    """
    signs = "".join(map(_sign, " ".join(text.split())))
    # Two hyphens in turn would be read as a dash; one before a digit is a minus.
    return re.sub(r"-(?=-)", "-{}", re.sub(r"(?<![\w}\-])-(?=[0-9])", r"\\ensuremath{-}", signs))


def _sign(one: str) -> str:
    if one in _SIGNS:
        return _SIGNS[one]
    if one.isascii() and one.isprintable():
        return one
    letter, *accents = list(unicodedata.normalize("NFD", one))
    if re.fullmatch("[A-Za-z]", letter) and len(accents) == 1 and accents[0] in _ACCENTS:
        return f"{{\\{_ACCENTS[accents[0]]}{{{letter}}}}}"
    return f"{{[}}U+{ord(one):04X}]"
