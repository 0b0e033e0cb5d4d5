"""Quantiles of Student's t distribution, for which nothing here needs a library of statistics."""

from functools import cache
from math import atan, cos, pi, sin, sqrt, tan

CONFIDENCE = 0.95
"""Of every interval in a report."""


def probability_within(t: float, degrees: int) -> float:
    """How likely a t variable of so many degrees of freedom, one or more, lies between -t and t.

    The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    angle = atan(t / sqrt(degrees))
    odd = degrees % 2
    term, total = (cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (k - 1) / k
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total


@cache
def t_quantile(degrees: int) -> float:
    """The t that 95 % lie within: 12.7 at one degree of freedom, 4.30 at two, 1.96 at many."""
    low, high = 0.0, pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        inside = probability_within(sqrt(degrees) * tan(middle), degrees) < CONFIDENCE
        low, high = (middle, high) if inside else (low, middle)
    return sqrt(degrees) * tan(low)
