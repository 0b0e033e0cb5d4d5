"""A comparison as lines of plain text."""

from collections.abc import Iterator, Sequence

from ablations.claims.listing import shown
from ablations.compare.comparison import Comparison, Row
from ablations.compare.judge import Answer
from ablations.compare.view import COLUMNS, Report, cells_of, heads, lists

HEADINGS = (*(column.title for column in COLUMNS[:6]), "what")
Line = tuple[Answer | None, str]
"""The answer that a line gives, which may colour it, and its text."""


def lines(report: Report) -> Iterator[Line]:
    """Everything, the summary last. No line holds anything that a terminal would obey."""
    for answer, text in _everything(report):
        yield answer, _safe(text)


def _safe(text: str) -> str:
    """What `shown` makes of it, but with the spaces that set columns apart."""
    return " ".join(shown(word) for word in text.split(" "))


def _everything(report: Report) -> Iterator[Line]:
    for part in report.parts:
        yield from ((None, f"{label}: {text}") for label, text in heads(report, part))
        yield from ((None, remark) for remark in part.remarks)
        yield None, ""
        yield from _table(part.rows)
        yield from ((None, f"  {text}") for text in part.marks)
        yield from _lists(part)
        yield None, ""
    yield from ((None, rule) for rule in (*report.rules, *report.alarms))
    yield None, report.summary


def _table(rows: Sequence[Row]) -> Iterator[Line]:
    if not rows:
        return
    texts = [HEADINGS, *map(_texts, rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    answers = [None, *(row.judgement.answer for row in rows)]
    reasons = ["", *(row.judgement.reason for row in rows)]
    for answer, cells, reason in zip(answers, texts, reasons, strict=True):
        yield answer, "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()
        if reason:
            yield answer, f"{' ' * widths[0]}  {reason}"


def _texts(row: Row) -> tuple[str, ...]:
    """The first columns of `view.COLUMNS`, and the label in place of the others."""
    return (*cells_of(row)[: len(HEADINGS) - 1], shown(row.label.text))


def _lists(part: Comparison) -> Iterator[Line]:
    for heading, texts in lists(part):
        yield None, ""
        yield None, f"{heading}:"
        yield from ((None, f"  {text}") for text in texts)
