"""By which number a table's cell is sorted: the one it shows, in the smallest unit."""

import re
from collections.abc import Mapping

from ablations.report import units
from ablations.report.units import Unit

_SIZES: Mapping[str, float] = {
    name: size for unit in vars(units).values() if isinstance(unit, Unit) for size, name in unit.scales if name
}
_DIGITS = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_NUMBER = re.compile(rf"(?<![\[\w.,]){_DIGITS}")
"""No footnote, and no part of a name: `float32` is not 32."""
_NAMES = "|".join(sorted(map(re.escape, _SIZES), key=len, reverse=True))
_UNIT = re.compile(rf"(?:\s+to\s+{_DIGITS})?\s*({_NAMES})(?![\w/])")


def sort_value(text: str) -> str:
    """The first number in a cell times the size of its unit; empty where there is none.

    Numbers of a column are rounded to equal digits before they are written, so the order of what is written is never
    against the order of what was measured; what reads the same stays in the table's own order.
    """
    number = _NUMBER.search(text)
    if number is None:
        return ""
    unit = _UNIT.match(text, number.end())
    return f"{float(number[0].replace(',', '')) * (_SIZES[unit[1]] if unit else 1.0):.10g}"
