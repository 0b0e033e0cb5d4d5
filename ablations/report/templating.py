"""Text from records into pages: always as text, whatever it says."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def templates(package: str) -> Environment:
    """The templates of a package. HTML is escaped, and a name that is not given is an error."""
    found = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["markdown"] = markdown
    found.filters["script_data"] = script_data
    return found


def script_data(json_text: str) -> Markup:
    """JSON that may stand in a `<script>` element whatever it says: nothing in it can end the element."""
    signs: dict[str, str | int | None] = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    return Markup(json_text.translate(str.maketrans(signs)))


_SIGNS = re.compile(r"([\\`*\[\]~$|])|(?<![^\W_])_|_(?![^\W_])")


def markdown(text: str) -> Markup:
    """Text as GitHub Markdown that shows it unchanged, in a table's cell too: no HTML, no cell borders, one line."""
    one_line = " ".join(str(text).split())
    marked = _SIGNS.sub(lambda found: f"&#{ord(found[0])};", str(escape(one_line)).replace("&#39;", "'"))
    return Markup(marked)
