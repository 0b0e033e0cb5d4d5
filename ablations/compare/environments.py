"""In what the conditions differ under which A and B measured the same cells."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ablations.harness.record import Environment
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


def differences(pairs: Iterable[tuple[Environment, Environment]]) -> tuple[Difference, ...]:
    """What sets the environments of the same cells apart, cell by cell: one folder may hold records of several.

    Args:
        pairs: Of each cell, where A measured it and where B did.
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


def _facts(environment: Environment) -> dict[str, str]:
    known = environment.model_dump(include={*DECISIVE, *MENTIONED})
    ordered = {name: "none" if known[name] is None else str(known[name]) for name in (*DECISIVE, *MENTIONED)}
    return ordered | {f"package {name}": version for name, version in sorted(environment.packages.items())}
