"""Least squares with coefficients that are not negative: nothing that a step is made of takes time or memory away."""

import numpy as np

from ablations.report.statistics import Floats

ALIKE = 1e-10
"""How far from one the cosine of two columns may be for them to count as multiples of one another."""
LEAST_GAIN = 1e-12


def nonnegative(matrix: Floats, target: Floats) -> Floats:
    """The coefficients >= 0 that bring `matrix @ coefficients` closest to `target` (Lawson and Hanson, 1974).

    Args:
        matrix: [n, k], without columns of zeros. Of columns that are sums of others not all get a coefficient.
        target: [n].

    Returns:
        [k].
    """
    lengths = np.linalg.norm(matrix, axis=0)
    scaled = matrix / lengths
    found: Floats = np.zeros(matrix.shape[1])
    free = np.zeros(matrix.shape[1], dtype=bool)
    while not free.all():
        gain = np.where(free, -np.inf, scaled.T @ (target - scaled @ found))
        if gain.max() <= LEAST_GAIN * np.linalg.norm(target):
            break
        free[gain.argmax()] = True
        found = _feasible(scaled, target, found, free)
    unscaled: Floats = found / lengths
    return unscaled


def _feasible(matrix: Floats, target: Floats, found: Floats, free: np.typing.NDArray[np.bool_]) -> Floats:
    """The best with only the free coefficients; those that would become negative are taken out of `free`."""
    while True:
        wanted = np.zeros_like(found)
        wanted[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        below = free & (wanted <= 0)
        if not below.any():
            return wanted
        share = np.min(found[below] / (found[below] - wanted[below]))
        found = found + share * (wanted - found)
        free[free & (found <= LEAST_GAIN)] = False
        found[~free] = 0.0


def distinct(matrix: Floats) -> tuple[int, ...]:
    """The columns that are no multiple of one before them, and not zero: first come, first kept.

    Args:
        matrix: [n, k], nowhere negative.
    """
    kept: list[int] = []
    for column in range(matrix.shape[1]):
        if matrix[:, column].any() and not any(_alike(matrix[:, column], matrix[:, other]) for other in kept):
            kept.append(column)
    return tuple(kept)


def _alike(one: Floats, other: Floats) -> bool:
    return bool(one @ other >= (1 - ALIKE) * np.linalg.norm(one) * np.linalg.norm(other))
