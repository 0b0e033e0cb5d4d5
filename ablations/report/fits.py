"""The table of fitted lines: exponents over length, slopes over anything else, and where there is no telling."""

from ablations.report.axes import axis_words
from ablations.report.crossover_tables import crossover_tables
from ablations.report.growth import WIDEST, Growth
from ablations.report.lines import TOP_OCTAVES
from ablations.report.statistics import CannotTell
from ablations.report.table import N_TITLE, NOTHING, Column, Row, Table
from ablations.report.units import BYTES, EXPONENT, SECONDS, Unit, interval_text, n_cell
from ablations.report.views import MODE_WORDS, KindResults, Series

_QUANTITIES = {"time": ("time", SECONDS), "memory": ("peak memory", BYTES)}


def fit_tables(kind: KindResults) -> tuple[Table, ...]:
    """How what is measured grows with the number that varies, and over length where it crosses; none without one."""
    if kind.horizontal is None or kind.kind not in _QUANTITIES:
        return ()
    return (_growth_table(kind, kind.horizontal), *crossover_tables(kind))


def _growth_table(kind: KindResults, horizontal: str) -> Table:
    quantity, unit = _QUANTITIES[kind.kind]
    over_length, words = horizontal == "length", axis_words(horizontal)
    columns = (
        Column("mode", numeric=False),
        Column("variant", numeric=False),
        Column("exponent" if over_length else f"slope per {words.one}"),
        Column("interval"),
        *((Column("beside a constant"), Column("its interval"), Column("constant")) if over_length else ()),
        Column(N_TITLE),
        Column(f"fitted at {horizontal}", numeric=False),
    )
    series = [one for mode in kind.modes for one in kind.series(mode)]
    rows = tuple(_exponents(one, unit) if over_length else _slope(one, unit) for one in series)
    notes = _length_notes(quantity) if over_length else (_slope_note(quantity, horizontal),)
    return Table(f"Growth of {quantity} with {words.plain}", columns, rows, notes)


def _slope(series: Series, unit: Unit) -> Row:
    leading, fit = (MODE_WORDS[series.mode], series.label), series.fit()
    if series.is_reference:
        return Row((*leading, *[NOTHING] * 3, f"{series.variant} has no {series.horizontal}"))
    if isinstance(fit, CannotTell):
        return Row((*leading, "cannot tell", *[NOTHING] * 2, f"{fit.reason}: {series.support}"), ok=False)
    slope = fit.slope
    return Row((*leading, unit.text(slope.value), interval_text(slope, unit), n_cell(slope), series.support))


def _exponents(series: Series, unit: Unit) -> Row:
    leading, fit = (MODE_WORDS[series.mode], series.label), series.fit()
    beside = _beside_a_constant(series.growth(), unit)
    if isinstance(fit, CannotTell):
        where = f"{fit.reason}: {series.support}"
        return Row((*leading, "cannot tell", NOTHING, *beside, NOTHING, where), ok=False)
    line = (EXPONENT.text(fit.slope.value), interval_text(fit.slope, EXPONENT))
    return Row((*leading, *line, *beside, n_cell(fit.slope), series.support))


def _beside_a_constant(found: Growth | CannotTell, unit: Unit) -> tuple[str, str, str]:
    if isinstance(found, CannotTell):
        return ("cannot tell", found.reason, NOTHING)
    power = found.power
    return (EXPONENT.text(power.value), interval_text(power, EXPONENT), unit.text(found.constant))


_N_NOTE = f"{N_TITLE}: readings behind the points, and the processes that took them."
_NOISE_NOTE = (
    "The intervals carry the noise of the points (95 %, by the spread between processes, pooled over the points of a "
    "line), not whether this is the right shape of line."
)


def _slope_note(quantity: str, horizontal: str) -> str:
    return f"Least squares of {quantity} over {horizontal}. {_NOISE_NOTE} Exact counts have no noise. {_N_NOTE}"


def _length_notes(quantity: str) -> tuple[str, ...]:
    return (
        f"Exponent: {quantity} ~ length^exponent, least squares of logarithms over the top {TOP_OCTAVES} octaves "
        "of each variant's lengths with a result. Beside a constant: the p of a + b x length^p through all of "
        "its lengths, by least squares of relative errors, with a at least 0; what does not grow with the length is in "
        f"the constant a, not in p. Cannot tell: fewer than four lengths, or an interval of p wider than {WIDEST:g}.",
        f"{_NOISE_NOTE} Exact counts have no noise: there the interval beside a constant is what p becomes with one of "
        f"the lengths left out. {_N_NOTE}",
    )
