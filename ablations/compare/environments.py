"""In what the conditions differ under which A and B measured the same cells."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ablations.harness.plan import relevant_packages
from ablations.harness.record import Record
from ablations.report.units import count

DECISIVE = ("machine", "processor", "cores", "accelerator", "accelerator_memory_bytes", "driver", "python")
"""Differences in these, or in the version of a package, make environments unlike. The commit is what is compared."""

MENTIONED = ("system", "memory_bytes")
"""Differences in these are told: a kernel's update changes both, and a peak or a time hardly."""


@dataclass(frozen=True)
class Difference:
    """One value in A, another in B, and at how many cells; `decisive` ones are refused unless asked for."""

    name: str
    before: str
    after: str
    n_cells: int
    decisive: bool

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.name}: {self.before} in A, {self.after} in B ({count(self.n_cells, 'cell')})"


def differences(pairs: Iterable[tuple[Record, Record]]) -> tuple[Difference, ...]:
    """What sets the environments of the same cells apart, cell by cell: one folder may hold records of several.

    Args:
        pairs: Of each cell, the record in A and that in B.
    """
    found = Counter(
        (name, before.get(name, "none"), after.get(name, "none"))
        for one, other in pairs
        for before, after in [(_facts(one), _facts(other))]
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )
    return tuple(
        Difference(name, before, after, n_cells, decisive=name not in MENTIONED)
        for (name, before, after), n_cells in found.items()
    )


def _facts(record: Record) -> dict[str, str]:
    known = record.environment.model_dump(include={*DECISIVE, *MENTIONED})
    ordered = {name: "none" if known[name] is None else str(known[name]) for name in (*DECISIVE, *MENTIONED)}
    return ordered | {
        f"package {name}": version
        for name, version in sorted(relevant_packages(record.environment, record.cell).items())
    }
