"""The table of fitted lines: exponents over length, slopes over anything else, and where there is no telling."""

from ablations.report.axes import axis_words
from ablations.report.statistics import CannotTell
from ablations.report.table import N_TITLE, NOTHING, Column, Row, Table
from ablations.report.units import BYTES, EXPONENT, SECONDS, Unit, interval_text, n_cell
from ablations.report.views import MODE_WORDS, KindResults, Series

_QUANTITIES = {"time": ("time", SECONDS), "memory": ("peak memory", BYTES)}


def fit_tables(kind: KindResults) -> tuple[Table, ...]:
    """One table if a number varies and what is measured can grow with it, none otherwise."""
    if kind.horizontal is None or kind.kind not in _QUANTITIES:
        return ()
    quantity, unit = _QUANTITIES[kind.kind]
    is_exponent = kind.horizontal == "length"
    words = axis_words(kind.horizontal)
    columns = (
        Column("mode", numeric=False),
        Column("variant", numeric=False),
        Column("exponent" if is_exponent else f"slope per {words.one}"),
        Column("interval"),
        Column(N_TITLE),
        Column(f"fitted at {kind.horizontal}", numeric=False),
    )
    rows = tuple(_row(series, EXPONENT if is_exponent else unit) for mode in kind.modes for series in kind.series(mode))
    return (Table(f"Growth of {quantity} with {words.plain}", columns, rows, (_note(quantity, kind.horizontal),)),)


def _row(series: Series, unit: Unit) -> Row:
    leading, fit = (MODE_WORDS[series.mode], series.label), series.fit()
    if series.is_reference:
        return Row((*leading, NOTHING, NOTHING, NOTHING, f"{series.variant} has no {series.horizontal}"))
    if isinstance(fit, CannotTell):
        return Row((*leading, "cannot tell", NOTHING, NOTHING, f"{fit.reason}: {series.support}"), ok=False)
    slope = fit.slope
    return Row((*leading, unit.text(slope.value), interval_text(slope, unit), n_cell(slope), series.support))


def _note(quantity: str, horizontal: str) -> str:
    how = (
        f"{quantity.capitalize()} ~ length^exponent: least squares of logarithms over the top three octaves of each "
        "variant's lengths with a result."
        if horizontal == "length"
        else f"Least squares of {quantity} over {horizontal}."
    )
    return (
        f"{how} The interval carries the noise of the points (95 %, bootstrap), not whether this is the right shape of "
        "line; exact counts have no noise. "
        f"{N_TITLE}: readings behind the points, and the processes that took them."
    )
