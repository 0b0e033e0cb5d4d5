"""Whether training steps of a cell fit into a memory budget."""

from ablations.harness.cell import Capacity, Cell
from ablations.harness.errors import UnsupportedError
from ablations.harness.measurement import Trained


def measure_capacity(cell: Cell, workload: Capacity) -> Trained:
    """Take two steps."""
    raise UnsupportedError(f"capacity of {cell.config.variant!r} with {workload.mode!r} is not measured yet")
