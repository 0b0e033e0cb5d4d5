"""The sizes that numbers were measured at, in words, read off the cells."""

from collections.abc import Iterable, Mapping, Sequence

from ablations.harness.cell import Cell
from ablations.harness.training import Learn
from ablations.report.groups import Group
from ablations.report.units import count, listed

SIZES: Mapping[str, str] = {
    "length": "length",
    "n_layers": "n_layers",
    "d_model": "d_model",
    "n_heads": "n_heads",
    "batch": "batch",
    "n_hashes": "n_hashes",
}
FEW = 6
"""More values than that are told as the first and the last."""


def scale_of(groups: Sequence[Group]) -> str:
    """`length 512, 1024; n_layers 2; ...; 3 seeds; cpu, float32`."""
    cells = [attempt.cell for group in groups for attempt in group.attempts if attempt.record]
    if not cells:
        return "no size: nothing was measured"
    sizes = [f"{words} {_values(group.settings.get(name) for group in groups)}" for name, words in SIZES.items()]
    where = ", ".join(dict.fromkeys([*(cell.device for cell in cells), *(cell.dtype for cell in cells)]))
    told = [*(size for size in sizes if not size.endswith(" ")), *_training(cells), *_budgets(cells)]
    return "; ".join([*told, count(len({cell.seed for cell in cells}), "seed"), where])


def _values(found: Iterable[float | str | None]) -> str:
    values = sorted({value for value in found if isinstance(value, int | float)})
    return listed(values) if len(values) <= FEW else f"{values[0]:g} to {values[-1]:g}"


def _training(cells: Iterable[Cell]) -> list[str]:
    steps = sorted({cell.workload.recipe.steps for cell in cells if isinstance(cell.workload, Learn)})
    return [f"{listed(steps)} training steps"] if steps else []


def _budgets(cells: Iterable[Cell]) -> list[str]:
    budgets = {getattr(cell.workload, "budget_bytes", None) for cell in cells}
    gibibytes = sorted(budget / 2**30 for budget in budgets if budget is not None)
    return [f"budget {listed([float(f'{one:.3g}') for one in gibibytes])} GiB"] if gibibytes else []
