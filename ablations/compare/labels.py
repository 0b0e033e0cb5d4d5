"""What a row of a comparison is called: enough of its settings to tell it from all others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ablations.harness.cell import Cell
from ablations.report import axes
from ablations.report.units import setting
from ablations.report.views import MODE_WORDS

KIND_WORDS: Mapping[str, str] = {
    "time": "time",
    "memory": "peak memory",
    "kernels": "kernels' time",
    "learn": "held-out bits",
    "exactness": "exactness",
    "ceiling": "ceiling",
    "capacity": "fits",
}
"""What is compared of each kind of workload."""


@dataclass(frozen=True)
class Label:
    """Where a result stands: experiment, what is compared, whose, and under which settings."""

    experiment: str
    what: str
    variant: str
    settings: str

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.experiment}: {self.what}: {self.variant}, {self.settings}"


class Labels:
    """Labels of the cells of a comparison.

    Args:
        cells: All of them, of both sides.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        found: dict[str, list[Cell]] = {}
        for cell in cells:
            found.setdefault(cell.experiment, []).append(cell)
        self._names = {name: tuple(dict.fromkeys(("length", *axes.independent(of)))) for name, of in found.items()}

    def of(self, cell: Cell, *, without: frozenset[str] = frozenset()) -> Label:
        """What the cell is called, its seed aside.

        Args:
            cell: One of those that the labels are of.
            without: Settings to leave out.
        """
        known = axes.settings(cell)
        names = [name for name in self._names[cell.experiment] if name in known and name not in without]
        texts = ", ".join(f"{name}={setting(known[name])}" for name in names)
        return Label(cell.experiment, _what(cell), cell.contender, texts)


def _what(cell: Cell) -> str:
    words = [KIND_WORDS.get(cell.workload.kind, cell.workload.kind)]
    if cell.mode != cell.workload.kind:
        words.append(MODE_WORDS.get(cell.mode, cell.mode))
    if cell.workload.kind == "exactness":
        words.append(cell.workload.check)
    return ", ".join(words if cell.scope == "model" else [*words, f"{cell.scope} alone"])
