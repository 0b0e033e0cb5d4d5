"""Numbers as people read them."""

import pytest

from ablations.report.statistics import Estimate, Interval
from ablations.report.units import BITS_PER_BYTE, BYTES, PERCENT, SECONDS, TOKENS_PER_SECOND, Unit, interval_text


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (SECONDS, 0.0123, "12.3 ms"),
        (SECONDS, 1.2449, "1.24 s"),
        (SECONDS, 3.21e-5, "32.1 µs"),
        (SECONDS, 1234.0, "1,230 s"),
        (BYTES, 64 * 2**20, "64.0 MiB"),
        (BYTES, 1.43 * 2**30, "1.43 GiB"),
        (BYTES, 0, "0 bytes"),
        (BYTES, 4e-9, "0 bytes"),
        (BYTES, -3 * 2**10, "-3.00 KiB"),
        (TOKENS_PER_SECOND, 41234, "41,200 tokens/s"),
        (BITS_PER_BYTE, 2.31456, "2.315"),
        (PERCENT, 0.0141, "1.41 %"),
        (PERCENT, 0.0005, "0.0500 %"),
        (PERCENT, 0.0089, "0.890 %"),
        (PERCENT, -0.009999, "-1.00 %"),
        (BITS_PER_BYTE, -0.0004, "0.000"),
        (BITS_PER_BYTE, -0.0006, "-0.001"),
    ],
)
def test_a_value_is_written_with_three_digits_in_a_fitting_unit(unit: Unit, value: float, text: str) -> None:
    assert unit.text(value) == text


def test_both_bounds_are_in_the_unit_of_the_value() -> None:
    estimate = Estimate(1.01, Interval(0.98, 1.04, "95 %"), None, 7, 2)
    assert interval_text(estimate, SECONDS) == "0.980 to 1.04 s"


def test_a_range_is_called_a_range_and_an_exact_count_exact() -> None:
    assert (
        interval_text(Estimate(2.2, Interval(2.1, 2.3, "range"), None, 2, 2), BITS_PER_BYTE) == "range 2.100 to 2.300"
    )
    assert interval_text(Estimate(5, Interval(5, 5, "exact"), None, 1, 1), BYTES) == "exact"
    assert interval_text(Estimate(5, Interval(5, 5, "range"), None, 2, 2), BYTES) == "all equal"


def test_without_an_interval_the_reason_stands_in_its_place() -> None:
    assert interval_text(Estimate(0.2, None, "too few samples (3)", 3, 1), SECONDS) == "too few samples (3)"
