"""A constant and a power, y = a + b * x**p: what grows with x told apart from what does not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ablations.report.lines import Point, counts_of, too_few, values_of
from ablations.report.noise import Noise
from ablations.report.statistics import CannotTell, Estimate, Floats, Interval

LEAST_POINTS = 4
"""Three numbers are fitted: through three points any such curve goes."""

POWERS = np.linspace(0.1, 4.0, 391)
"""Between which p is looked for, on a first grid."""

WIDEST = 1.0
"""An interval wider than the way from linear to quadratic says nothing."""

REFINEMENTS = 4
"""Of the grid about the best power, each fifty times as fine: to about a thousand-millionth."""

BISECTIONS = 40


@dataclass(frozen=True)
class Growth:
    """The curve: p with its interval, a (0 where the best would be negative) in the unit of y, and what it is through.

    Of noisy points the interval holds every p whose best curve fits no worse than the best of all by more than the
    noise between processes explains, at 95 %. Exact counts have no noise, and what is unsure of them is whether the
    curve has the right shape: their interval is what p becomes with each point left out.
    """

    power: Estimate
    constant: float
    xs: tuple[float, ...]


def growth(points: Sequence[Point]) -> Growth | CannotTell:
    """The curve of least squares of relative errors through all points, with a and b at least 0."""
    if few := too_few(points, LEAST_POINTS):
        return few
    if any(min(y.readings) <= 0 for _, y in points):
        return CannotTell("a value of zero has no relative error")
    xs, ys = values_of(points)
    curves = _Curves(xs, ys, counts_of(points))
    power, noise = curves.power(), Noise.of_points([y for _, y in points])
    interval = curves.left_out(power) if noise.exact else curves.within(power, noise) if noise.is_known else None
    if interval and (
        interval.high - interval.low > WIDEST or not POWERS[0] < interval.low <= interval.high < POWERS[-1]
    ):
        return CannotTell(f"the constant and the power cannot be told apart, {interval.low:.2f} to {interval.high:.2f}")
    n_samples, n_processes = sum(y.n_samples for _, y in points), sum(y.n_processes for _, y in points)
    reason = None if interval else "one process at each point"
    found = Estimate(power, interval, reason, n_samples, n_processes)
    return Growth(found, float(curves.best(np.array([power]))[1][0]), tuple(x for x, _ in points))


@dataclass(frozen=True)
class _Curves:
    """The best curve of each power through points; `counts` are the readings behind each y."""

    xs: Floats
    ys: Floats
    counts: Floats

    def best(self, powers: Floats) -> tuple[Floats, Floats]:
        """Of each power the least sum of squared relative errors, and a; neither a nor b is negative.

        Times are uncertain by a fraction of themselves, so both columns and the target are divided by y.
        """
        target = np.sqrt(self.counts)
        constant = target / self.ys
        power = constant * (self.xs / self.xs.max()) ** powers[:, None]
        aa, at = constant @ constant, constant @ target
        pp, pa, pt = (power**2).sum(axis=1), power @ constant, power @ target
        a = np.clip((pp * at - pa * pt) / (aa * pp - pa**2), 0.0, at / aa)
        b = np.maximum((pt - a * pa) / pp, 0.0)
        errors = a[:, None] * constant + b[:, None] * power - target
        return (errors**2).sum(axis=1), a

    def squares(self, power: float) -> float:
        """Of one power."""
        return float(self.best(np.array([power]))[0][0])

    def power(self) -> float:
        """The one of least squares, within `POWERS`."""
        powers = POWERS
        for _ in range(REFINEMENTS):
            found = int(np.argmin(self.best(powers)[0]))
            powers = np.linspace(powers[max(found - 1, 0)], powers[min(found + 1, powers.size - 1)], 101)
        return float(powers[np.argmin(self.best(powers)[0])])

    def within(self, power: float, noise: Noise) -> Interval:
        """All powers about the best one that the noise does not exclude; out to the ends of `POWERS`, if need be."""
        limit = self.squares(power) + noise.reach**2
        excluded = POWERS[self.best(POWERS)[0] > limit]
        low, high = excluded[excluded < power], excluded[excluded > power]
        return Interval(
            self._bound(power, float(low[-1]), limit) if low.size else float(POWERS[0]),
            self._bound(power, float(high[0]), limit) if high.size else float(POWERS[-1]),
            "95 %",
        )

    def _bound(self, inside: float, outside: float, limit: float) -> float:
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if self.squares(middle) <= limit else (inside, middle)
        return inside

    def left_out(self, power: float) -> Interval:
        """From the smallest to the largest power with one point left out, the one of all points among them."""
        kept = [np.arange(self.xs.size) != index for index in range(self.xs.size)]
        found = [_Curves(self.xs[keep], self.ys[keep], self.counts[keep]).power() for keep in kept]
        return Interval(min(*found, power), max(*found, power), "leave one out")
