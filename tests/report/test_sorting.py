"""Cells are sorted by the number they show, whatever its unit."""

import pytest

from ablations.report.sorting import sort_value
from ablations.report.units import BYTES, SECONDS, Unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4,096", 4096.0),
        ("24 (2)", 24.0),
        ("at least 4,096", 4096.0),
        ("12.1 to 12.6 ms", 0.0121),
        ("412 MiB (401 to 420 MiB) [1]", 412 * 2.0**20),
        ("-0.012", -0.012),
        ("2.4e-08", 2.4e-8),
    ],
)
def test_the_first_number_counts_in_its_unit(text: str, value: float) -> None:
    assert float(sort_value(text)) == pytest.approx(value)


@pytest.mark.parametrize("text", ["—", "out of memory", "n/a [12]", "float32", "v1.25", "lsh_4", "a1,234", ""])
def test_what_is_no_number_has_no_value(text: str) -> None:
    assert sort_value(text) == ""


@pytest.mark.parametrize("unit", [SECONDS, BYTES])
def test_the_order_of_what_is_shown_is_never_against_that_of_what_was_measured(unit: Unit) -> None:
    smallest = unit.scales[-1][0]
    values = [smallest * 1.013**step for step in range(1500)]
    shown = [float(sort_value(unit.text(value))) for value in values]
    assert shown == sorted(shown)
