"""How far readings of one quantity lie apart from process to process, over several points at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ablations.report.statistics import Estimate, is_exact
from ablations.report.student import t_quantile


@dataclass(frozen=True)
class Noise:
    """Spread of the logarithms of readings about the mean of their own point, which is the relative spread.

    Two or three processes at a point tell little of it, all points of a line together enough: the noise is taken to be
    the same fraction of each.

    Attributes:
        squares: Sum of squared deviations.
        degrees: Readings less points; 0 where no point has two readings, and the spread is unknown.
        exact: Whether all points are counts without error.
    """

    squares: float
    degrees: int
    exact: bool

    @classmethod
    def of(cls, readings: Sequence[Sequence[float]]) -> Self:
        """Pooled over points.

        Args:
            readings: Of each point, one positive number per process.
        """
        logs = [np.log(np.asarray(one, dtype=np.float64)) for one in readings]
        squares = sum(float(((one - one.mean()) ** 2).sum()) for one in logs)
        return cls(squares, sum(one.size - 1 for one in logs), exact=False)

    @classmethod
    def of_points(cls, estimates: Sequence[Estimate]) -> Self:
        """Pooled over estimates of single points; exact where every one of them is."""
        if all(map(is_exact, estimates)):
            return cls(0.0, 0, exact=True)
        return cls.of([estimate.readings for estimate in estimates])

    def and_of(self, other: Self) -> Self:
        """Of both together."""
        degrees = self.degrees + other.degrees
        return type(self)(self.squares + other.squares, degrees, exact=self.exact and other.exact)

    @property
    def is_known(self) -> bool:
        """Whether it can be told at all."""
        return self.exact or self.degrees > 0

    @property
    def reach(self) -> float:
        """95 % of errors of one reading, as a fraction, are within this: multiply by the root of a leverage."""
        return 0.0 if self.exact else t_quantile(self.degrees) * (self.squares / self.degrees) ** 0.5
