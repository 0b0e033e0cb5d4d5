"""What peaks are made of: each group's ledger in shares, and what was predicted of its peak."""

from collections.abc import Callable

from ablations.harness.ledger import Unpredicted, peak_of, predicted
from ablations.harness.measurement import Ledger
from ablations.report.groups import Group
from ablations.report.table import NOTHING, Table, results_table
from ablations.report.units import BYTES, PERCENT
from ablations.report.views import MODE_WORDS, KindResults

PREDICTION_TITLES = ("predicted", "difference")
PREDICTION_NOTE = (
    "Predicted: from the cell alone, by adding up the tensors that the code holds at the peak. Difference: of that "
    "from what was measured."
)
PARTS = tuple(Ledger.model_fields)

Mark = Callable[[str], str]
"""A reason, to the mark that stands for it."""


def prediction_cells(group: Group, mark: Mark) -> tuple[str, str]:
    """What was predicted of the peak and by how much that differs from the measured one; or why nothing was."""
    ledger = predicted(group.cell)
    if isinstance(ledger, Unpredicted):
        return f"n/a {mark(ledger.because)}", NOTHING
    assert group.estimate is not None, "rows of results are asked only of groups that have one"
    return BYTES.text(peak_of(ledger)), f"{peak_of(ledger) / group.estimate.value - 1:+.1%}".replace("%", " %")


def ledger_tables(kind: KindResults, mode: str) -> tuple[Table, ...]:
    """The parts of the peaks of one mode, if any group of it has a ledger."""
    if kind.kind != "memory" or not any(_ledger(group) for group in kind.ordered(mode)):
        return ()
    note = (
        "Everything that is alive at the peak, parameters, gradients and the state of an optimiser included, and the "
        "share of each part. Streams, activations and buckets: what the forward pass keeps for the backward pass, as "
        "residual streams, other floats and masks, and whole numbers. Transient: how far the peak lies above all that."
    )
    table = results_table(
        kind,
        mode,
        caption=f"What the peak is made of, {MODE_WORDS[mode]}",
        titles=("in all", *PARTS),
        results=_shares,
        notes=lambda: [note, *reasons_untold(kind, mode)],
    )
    return (table,)


def reasons_untold(kind: KindResults, mode: str) -> list[str]:
    """Why peaks of one mode are not told in parts, each reason once."""
    missing = (peak.ledger_missing for group in kind.ordered(mode) for peak in group.peaks if peak.ledger is None)
    return [f"Not told in parts: {reason}." for reason in dict.fromkeys(reason or "no reason" for reason in missing)]


def _ledger(group: Group) -> Ledger | None:
    """Of the first process that has one: it is the same in each."""
    return next((peak.ledger for peak in group.peaks if peak.ledger is not None), None)


def _shares(group: Group) -> tuple[str, ...]:
    ledger = _ledger(group)
    if ledger is None:
        return ("n/a", *[NOTHING] * len(PARTS))
    shares = (getattr(ledger, part) / ledger.total for part in PARTS)
    return (BYTES.text(ledger.total), *(PERCENT.text(share) if share else "0" for share in shares))
