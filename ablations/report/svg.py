"""What must happen to a drawn SVG before it may stand in a page with others."""

import re
from xml.sax.saxutils import escape, quoteattr

MARK = 'data-by="reformer-suite"'
"""In every figure this report writes, so that a later rendering knows which files are its own to remove."""

_ID = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r'((?:xlink:)?href="#|url\(#)')


def slug(text: str) -> str:
    """Letters, digits and single hyphens or underscores: safe in ids and in file names."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "unnamed"


def finished(drawn: str, *, name: str, title: str, description: str) -> str:
    """The `<svg>` element alone, its ids made unique by `name`, with text for those who cannot see it.

    Args:
        drawn: A whole SVG document as matplotlib writes it.
        name: Unique on the page; a slug.
        title: A few words.
        description: What the figure shows, in a sentence or two.
    """
    element = drawn[drawn.index("<svg") :]
    element = _ID.sub(lambda found: f'id="{name}.{found[1]}"', element)
    element = _REFERENCE.sub(lambda found: f"{found[1]}{name}.", element)
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, count=1, flags=re.DOTALL)
    opening, rest = element.split(">", maxsplit=1)
    label = quoteattr(f"{title}. {description}")
    return f'{opening} role="img" aria-label={label} {MARK}>\n <title>{escape(title)}</title>{rest.rstrip()}\n'
