"""What to cite, as BibTeX."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ablations.export.latex_text import escaped
from ablations.harness.record import Record

TITLE = "The reference Reformer suite"
AUTHORS = "The reference Reformer suite's authors"
"""As in CITATION.cff."""

REFORMER = r"""@inproceedings{kitaev2020reformer,
  title     = {Reformer: The Efficient Transformer},
  author    = {Kitaev, Nikita and Kaiser, {\L}ukasz and Levskaya, Anselm},
  booktitle = {International Conference on Learning Representations},
  year      = {2020},
  url       = {https://openreview.net/forum?id=rkgNKkHtvB}
}
"""


def bibliography(records: Sequence[Record]) -> str:
    """The suite at the state that these records come from, and the paper that it implements."""
    # No version: the one that exports is not the one that measured, which the commit tells.
    fields = {
        "title": TITLE,
        "author": f"{{{AUTHORS}}}",
        "year": _year(records),
        "note": _note(records),
    }
    return f"@misc{{reformer_suite,\n{_fields(fields)}}}\n\n{REFORMER}"


def _fields(fields: Mapping[str, str]) -> str:
    width = max(map(len, fields))
    # The author's own braces keep a name of several words in one piece.
    texts = {name: text if name == "author" else escaped(text) for name, text in fields.items() if text}
    return ",\n".join(f"  {name:<{width}} = {{{text}}}" for name, text in texts.items()) + "\n"


def _year(records: Iterable[Record]) -> str:
    """Of the newest record; empty where none says when it was started."""
    starts = sorted(record.started for record in records)
    return max((start[:4] for start in starts if re.match(r"[0-9]{4}-", start)), default="")


def _note(records: Iterable[Record]) -> str:
    found = commits(records)
    return f"Commit{'s' if len(found) > 1 else ''} {', '.join(found)}" if found else "Of no known commit"


def commits(records: Iterable[Record]) -> tuple[str, ...]:
    """Every revision that records come from, those of modified files marked, in order of first appearance."""
    found = ((record.environment.commit, record.environment.dirty) for record in records)
    return tuple(dict.fromkeys(f"{commit}{' (modified)' if dirty else ''}" for commit, dirty in found if commit))
