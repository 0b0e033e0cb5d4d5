"""What must happen to a drawn SVG before it may stand in a page with others."""

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

MARK = 'data-by="reformer-suite"'
"""In every figure this report writes, so that a later rendering knows which files are its own to remove."""

DECIMALS = 2
"""Of coordinates: a hundredth of a point is seen by nobody."""

_ID = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r'((?:xlink:)?href="#|url\(#)')
_UNTOLD_ID = re.compile(
    r' id="(?:figure|axes|patch|line2d|text|legend|xtick|ytick|matplotlib\.axis|PathCollection|LineCollection|'
    r'FillBetweenPolyCollection|QuadMesh|use)_\d+"'
)
"""Numbers that matplotlib gives to whatever has no name of its own."""
_PLACES = re.compile(r' d="[^"]*"| (?:x|y|width|height)="[0-9.]+"|translate\([^)]*\)')
_LONG_NUMBER = re.compile(rf"-?\d+\.\d{{{DECIMALS + 1},}}")
_LETTER = re.compile(r'<use xlink:href="#([^"]*)"(?: transform="translate\(([0-9.]+) 0\)")?/>')
_GLYPH = re.compile(r'<path id="[^"]*?\.([A-Za-z]+-[A-Za-z-]*[0-9a-f]+)" (d="[^"]*" transform="[^"]*"/>)\s*')
_EMPTY = re.compile(r"<defs>\s*</defs>\s*")


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
    element = _compact(drawn[drawn.index("<svg") :])
    element = _ID.sub(lambda found: f'id="{name}.{found[1]}"', element)
    element = _REFERENCE.sub(lambda found: f"{found[1]}{name}.", element)
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, count=1, flags=re.DOTALL)
    opening, rest = element.split(">", maxsplit=1)
    label = quoteattr(f"{title}. {description}")
    return f'{opening} role="img" aria-label={label} {MARK}>\n <title>{escape(title)}</title>{rest.rstrip()}\n'


def _compact(element: str) -> str:
    """The same drawing in fewer bytes: no comments, no indentation, no ids that nothing refers to, short numbers."""
    element = re.sub(r"<!--.*?-->\s*", "", element, flags=re.DOTALL)
    element = _UNTOLD_ID.sub("", element)
    element = _LETTER.sub(_placed, element)
    element = _PLACES.sub(lambda found: _short(found[0]), element)
    return re.sub(r">\s+<", ">\n<", element)


def _placed(letter: re.Match[str]) -> str:
    """A letter by its place along the line, in the fewest bytes."""
    along = f' x="{float(letter[2]):.1f}"' if letter[2] else ""
    return f'<use href="#{letter[1]}"{along}/>'


def _short(places: str) -> str:
    rounded = _LONG_NUMBER.sub(lambda found: f"{round(float(found[0]), DECIMALS) + 0.0:g}", places)
    if not rounded.startswith(" d="):
        return rounded
    return " " + re.sub(r'\s+(?=[A-Za-z"])|(?<=[A-Z])\s+', "", rounded[1:])


def on_one_page(elements: Sequence[tuple[str, str]]) -> tuple[str, dict[str, str]]:
    """Figures that share the outlines of their letters, and whose ids are short.

    Args:
        elements: Name and `<svg>` element of each, as `finished` gives them.

    Returns:
        An `<svg>` element that must stand on the page and shows nothing, and the figures by their names.
    """
    glyphs: dict[str, str] = {}
    figures = {name: _sharing(element, name, f"f{place}", glyphs) for place, (name, element) in enumerate(elements)}
    outlines = "\n".join(f'<path id="{name}" {outline}' for name, outline in sorted(glyphs.items()))
    return f'<svg width="0" height="0" class="letters" aria-hidden="true"><defs>\n{outlines}\n</defs></svg>', figures


def _sharing(element: str, name: str, short: str, glyphs: dict[str, str]) -> str:
    """The figure with ids that begin with `short`; outlines that are as in `glyphs`, or not in it, move there."""
    moved = set()

    def move(found: re.Match[str]) -> str:
        if glyphs.setdefault(found[1], found[2]) != found[2]:
            return found[0]
        moved.add(found[1])
        return ""

    element = _EMPTY.sub("", _GLYPH.sub(move, element))
    element = re.sub(
        rf'(href="#){re.escape(name)}\.([^"]*)"',
        lambda found: f'{found[1]}{found[2] if found[2] in moved else f"{short}.{found[2]}"}"',
        element,
    )
    return re.sub(rf'((?:\bid="|url\(#)){re.escape(name)}\.', rf"\g<1>{short}.", element)
