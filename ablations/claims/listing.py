"""Judged claims as plain text for a terminal or a file: one block each, no line wider than asked."""

import textwrap
from collections.abc import Iterator

from ablations.report.claims_table import ClaimRow

WIDTH = 100
INDENT = " " * 12


def heading(row: ClaimRow, width: int = WIDTH) -> str:
    """Id, verdict and place."""
    return textwrap.fill(shown(f"{row.sign} {row.id}: {row.verdict} ({row.place})"), width, subsequent_indent=INDENT)


def body(row: ClaimRow, width: int = WIDTH) -> str:
    """The rest of a block, wrapped; what is empty is left out."""
    return "\n".join(line for label, text in _parts(row) if text for line in _wrapped(label, text, width))


def _parts(row: ClaimRow) -> Iterator[tuple[str, str]]:
    yield "claim", row.says
    yield "paper", row.paper
    yield "ours", f"{row.ours} (profile {row.scale})" if row.ours and row.scale else row.ours
    yield "predicate", row.predicate
    yield "reason", row.reason
    yield "evidence", " ".join(row.evidence)


def _wrapped(label: str, text: str, width: int) -> list[str]:
    first = f"  {label}".ljust(len(INDENT))
    return textwrap.wrap(shown(text), width, initial_indent=first, subsequent_indent=INDENT, break_on_hyphens=False)


def shown(text: str) -> str:
    """On one line, and without anything that a terminal would obey instead of showing."""
    one_line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in one_line)
