"""A fit of features to measured configurations, and how far it is off those that it was not shown."""

from collections.abc import Sequence

import numpy as np

from ablations.report.statistics import CannotTell, Floats
from ablations.report.units import of_any_processor
from ablations.report.what_if.features import Feature
from ablations.report.what_if.least_squares import distinct, nonnegative
from ablations.report.what_if.sizes import LABELS, Monomial, Polynomial, Sizes, times, value
from reformer.config import Frozen

LEAST_CONFIGURATIONS = 4
"""Without one of them there are three left, which a line through a constant does not follow whatever they are."""
LEAST_FOR_QUANTILES = 40
"""With fewer sizes held out the interval is their whole range: of so few even that holds less than 95 %."""
QUANTILES = (0.025, 0.975)


class Measured(Frozen):
    """One configuration: its sizes, and what was measured there, in seconds or bytes."""

    sizes: dict[str, int]
    value: float


class Term(Frozen):
    """A feature and what it costs: the product of the two is a share of the prediction."""

    feature: Feature
    price: float


class Bounds(Frozen):
    """What a prediction is multiplied with for the ends of its interval, and what kind of interval that is."""

    low: float
    high: float
    kind: str


class Fit(Frozen):
    """A prediction for any sizes.

    Attributes:
        terms: Of these it is the sum.
        ratios: Measured over predicted of each configuration, by a fit to all others; in their order.
        bounds: `None` where there are none to give; then `no_interval` says why.
        no_interval: Reason in a few words, or `None`.
        ranges: Smallest and largest value of each size that was measured.
        n_configurations: That it goes through.
        worst: The largest relative error at these.
    """

    terms: tuple[Term, ...]
    ratios: tuple[float, ...]
    bounds: Bounds | None
    no_interval: str | None
    ranges: dict[str, tuple[int, int]]
    n_configurations: int
    worst: float

    @property
    def polynomial(self) -> Polynomial:
        """The whole prediction as one."""
        return _sum(self.terms)

    def at(self, sizes: Sizes) -> float:
        """The prediction, in the unit of what was measured."""
        return value(self.polynomial, sizes)


def fit(features: Sequence[Feature], measured: Sequence[Measured]) -> Fit | CannotTell:
    """Prices of the features, by the least sum of squares of relative errors.

    Args:
        features: What a value is made of. Of those that the configurations do not tell apart the first one counts.
        measured: Different configurations with positive values.
    """
    n_sizes = len({_without_updates(one) for one in measured})
    if n_sizes < LEAST_CONFIGURATIONS:
        return CannotTell(f"measured at {n_sizes} of the {LEAST_CONFIGURATIONS} sizes that a fit needs")
    terms = _terms(features, measured)
    errors = [abs(value(_sum(terms), one.sizes) / one.value - 1) for one in measured]
    ratios = held_out(features, measured)
    bounds = bounds_of(ratios, n_sizes)
    return Fit(
        terms=terms,
        ratios=tuple(one for one in ratios if one is not None),
        bounds=bounds,
        no_interval=None if bounds else "without one of the measured sizes the fit predicts nothing there",
        ranges=_ranges(measured),
        n_configurations=len(measured),
        worst=max(errors),
    )


def _sum(terms: Sequence[Term]) -> tuple[Monomial, ...]:
    return tuple(one for term in terms for one in times(term.feature.amount, term.price))


def _terms(features: Sequence[Feature], measured: Sequence[Measured]) -> tuple[Term, ...]:
    """Those features with their prices that have one."""
    matrix = _relative(features, measured)
    kept = distinct(matrix)
    least = np.asarray([features[column].least_price for column in kept])
    prices = least + nonnegative(matrix[:, kept], 1 - matrix[:, kept] @ least)
    found = zip((features[column] for column in kept), map(of_any_processor, prices), strict=True)
    return tuple(Term(feature=feature, price=price) for feature, price in found if price > 0)


def _relative(features: Sequence[Feature], measured: Sequence[Measured]) -> Floats:
    """How much of each feature there is in each configuration, over what was measured there: [n, k]."""
    rows = [[value(feature.amount, one.sizes) / one.value for feature in features] for one in measured]
    return np.asarray(rows, dtype=np.float64)


def held_out(features: Sequence[Feature], measured: Sequence[Measured]) -> tuple[float | None, ...]:
    """Measured over predicted of each configuration, by a fit to all of other sizes; `None` where it predicts nothing.

    A step with the optimiser's update and one without say nearly the same of a size: they are left out together.
    """
    ratios = []
    for one in measured:
        others = [other for other in measured if _without_updates(other) != _without_updates(one)]
        predicted = value(_sum(_terms(features, others)), one.sizes)
        ratios.append(one.value / predicted if predicted > 0 else None)
    return tuple(ratios)


def _without_updates(one: Measured) -> tuple[tuple[str, int], ...]:
    return tuple((name, size) for name, size in one.sizes.items() if name != "updates")


def bounds_of(ratios: Sequence[float | None], n_sizes: int) -> Bounds | None:
    """From held-out ratios; widened to the prediction itself where all of them lie on one side of it.

    Args:
        ratios: Of each configuration.
        n_sizes: Different sizes among them, a step with an update and one without counted once.
    """
    known = [one for one in ratios if one is not None]
    if len(known) < len(ratios):
        return None
    if n_sizes < LEAST_FOR_QUANTILES:
        low, high, kind = min(known), max(known), "whole range"
    else:
        # These quantiles hold 95 % of further values; numpy's usual ones, which lie further in, hold fewer.
        low, high = map(float, np.quantile(known, QUANTILES, method="weibull"))
        kind = " to ".join(f"{100 * one:g} %" for one in QUANTILES)
    words = f"{kind} of {n_sizes} held out, about {100 * expected_share(n_sizes):.0f} %"
    return Bounds(low=min(low, 1.0), high=max(high, 1.0), kind=words)


def expected_share(n_sizes: int) -> float:
    """Of further sizes like those held out, the share that an interval from so many holds.

    A further one is as likely as any of the others to be the smallest of all, or the largest.
    """
    return min((n_sizes - 1) / (n_sizes + 1), QUANTILES[1] - QUANTILES[0])


def _ranges(measured: Sequence[Measured]) -> dict[str, tuple[int, int]]:
    names = [name for name in LABELS if name in measured[0].sizes]
    return {name: (min(v := [one.sizes[name] for one in measured]), max(v)) for name in names}
