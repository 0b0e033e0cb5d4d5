"""95 % intervals contain a planted truth in 93 to 97 % of 2,000 trials. Each test prints what it found (`-s`)."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from ablations.report.crossover import crossover
from ablations.report.growth import Growth, growth
from ablations.report.lines import Fit, exponent, ratio, slope
from ablations.report.statistics import Estimate, Floats, median_of_medians, over_processes, paired_ratio

TRIALS = 2000
LENGTHS = (512, 1024, 2048, 4096, 8192)
OUTLIERS = 0.05
"""Share of samples that something else held up."""

OUTLIER_MEAN = 0.3
"""By how much of their logarithm at the mean, of an exponential distribution."""


@dataclass(frozen=True)
class Design:
    """How a quantity is sampled. Spreads are standard deviations of logarithms.

    Attributes:
        processes: Of each trial.
        samples: Of each process.
        between: Spread of the processes.
        within: Spread of the samples of a process.
        correlation: Of one sample's logarithm with the next one's.
        outliers: Whether some samples take longer.
    """

    processes: int
    samples: int
    between: float = 0.02
    within: float = 0.05
    correlation: float = 0.0
    outliers: bool = False

    def draw(self, generator: np.random.Generator) -> Floats:
        """Samples around 1, as (process, sample)."""
        size = (self.processes, self.samples)
        noise = generator.normal(size=size)
        for index in range(1, self.samples if self.correlation else 0):
            fresh = math.sqrt(1 - self.correlation**2) * noise[:, index]
            noise[:, index] = self.correlation * noise[:, index - 1] + fresh
        logs = self.within * noise + generator.normal(0, self.between, size=(self.processes, 1))
        late = generator.random(size) < OUTLIERS if self.outliers else np.zeros(size, dtype=bool)
        return np.exp(logs + late * generator.exponential(OUTLIER_MEAN, size=size))

    @property
    def truth(self) -> float:
        """What the medians of processes scatter about: 1, or with outliers the mean of logarithms of many of them."""
        if not self.outliers:
            return 1.0
        many = replace(self, processes=200_000 // self.samples * 3, between=0.0)
        medians = np.median(many.draw(np.random.default_rng(5)), axis=1)
        return float(np.exp(np.log(medians).mean()))


FEW = [Design(2, 3), Design(3, 5, between=0.01), Design(5, 9, correlation=0.8), Design(10, 20, outliers=True)]
"""What every run of the tests tries."""

ALL = [
    Design(processes, samples, between, within, correlation=correlation, outliers=outliers)
    for processes in (2, 3, 5, 10)
    for samples in (3, 20, 200)
    for between, within in ((0.01, 0.02), (0.03, 0.1), (0.0, 0.05))
    for correlation, outliers in ((0.0, False), (0.8, False), (0.0, True))
]


def covered(name: str, found: Iterable[bool]) -> None:
    """Assert the share that the project asks for, of all trials."""
    hits = list(found)
    assert len(hits) == TRIALS
    share = sum(hits) / TRIALS
    print(f"{name}: {100 * share:.2f} %")
    assert 0.93 <= share <= 0.97, name


def contains(estimate: object, truth: float) -> bool:
    assert isinstance(estimate, Estimate), estimate
    assert estimate.interval is not None
    assert estimate.interval.kind == "95 %"
    return estimate.interval.low <= truth <= estimate.interval.high


def check_times(design: Design) -> None:
    generator, truth = np.random.default_rng(11), design.truth
    covered(str(design), (contains(median_of_medians(design.draw(generator)), truth) for _ in range(TRIALS)))


@pytest.mark.parametrize("design", FEW, ids=str)
def test_times_lie_in_their_intervals(design: Design) -> None:
    check_times(design)


@pytest.mark.exhaustive
@pytest.mark.parametrize("design", ALL, ids=str)
def test_times_of_every_design_lie_in_their_intervals(design: Design) -> None:
    check_times(design)


def check_ratios(design: Design) -> None:
    """Rounds differ by a third from one another, both sides of each alike."""
    generator, truth = np.random.default_rng(13), 1.4

    def trial() -> Estimate:
        rounds = np.exp(generator.normal(0, 0.3, size=(design.processes, 1)))
        one, other = (rounds * design.draw(generator) for _ in range(2))
        return paired_ratio([(list(truth * a), list(b)) for a, b in zip(one, other, strict=True)])

    covered(f"ratio, {design}", (contains(trial(), truth) for _ in range(TRIALS)))


@pytest.mark.parametrize("design", [Design(3, 7)], ids=str)
def test_ratios_lie_in_their_intervals(design: Design) -> None:
    check_ratios(design)


@pytest.mark.exhaustive
@pytest.mark.parametrize("design", ALL[::3], ids=str)
def test_ratios_of_every_design_lie_in_their_intervals(design: Design) -> None:
    check_ratios(design)


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def points(
    curve: Curve,
    rounds: int,
    generator: np.random.Generator,
    spread: float | Floats = 0.02,
    xs: tuple[int, ...] = LENGTHS,
) -> list[tuple[float, Estimate]]:
    """What the medians of so many processes say of a curve; a medians' spread stands for samples too."""
    places = np.array(xs, dtype=np.float64)
    noise = generator.normal(size=(len(xs), rounds)) * np.broadcast_to(spread, len(xs))[:, None]
    readings = curve(places)[:, None] * np.exp(noise)
    return [(x, over_processes([float(one) for one in row])) for x, row in zip(xs, readings, strict=True)]


def check_exponents(rounds: int, spread: float | Floats = 0.02) -> None:
    generator, truth = np.random.default_rng(17), 1.3

    def trial() -> object:
        fit = exponent(points(lambda x: 1e-4 * x**truth, rounds, generator, spread))
        assert isinstance(fit, Fit)
        return fit.slope

    covered(f"exponent, {rounds} rounds, {spread}", (contains(trial(), truth) for _ in range(TRIALS)))


def check_growth(rounds: int, truth: float, share: float) -> None:
    """`share`: the constant over the power at the shortest length."""
    generator = np.random.default_rng(19)

    def trial() -> object:
        found = growth(points(lambda x: (x / LENGTHS[0]) ** truth + share, rounds, generator))
        assert isinstance(found, Growth)
        return found.power

    name = f"power {truth}, constant {share}, {rounds} rounds"
    covered(name, (contains(trial(), truth) for _ in range(TRIALS)))


def check_crossovers(rounds: int) -> None:
    generator, truth = np.random.default_rng(23), 1700.0

    def trial() -> object:
        return crossover(points(lambda x: (x / truth) ** -0.4, rounds, generator, spread=0.03))

    covered(f"crossover, {rounds} rounds", (contains(trial(), truth) for _ in range(TRIALS)))


def line(per_layer: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 11 + per_layer * x


def check_shares(rounds: int) -> None:
    """A slope of 2 over a base of 11 beside one of 7 over the same base, in a depth of 1 to 8 layers."""
    generator, depths = np.random.default_rng(29), (1, 2, 5, 8)

    def trial() -> object:
        small, large = (
            slope(points(partial(line, per_layer), rounds, generator, xs=depths)) for per_layer in (2.0, 7.0)
        )
        assert isinstance(small, Fit)
        assert isinstance(large, Fit)
        return ratio(small, large)

    covered(f"share of a slope, {rounds} rounds", (contains(trial(), 2 / 7) for _ in range(TRIALS)))


def test_exponents_lie_in_their_intervals() -> None:
    check_exponents(rounds=2)


def test_powers_beside_a_constant_lie_in_their_intervals() -> None:
    check_growth(rounds=2, truth=1.1, share=0.5)


def test_crossovers_lie_in_their_intervals() -> None:
    check_crossovers(rounds=3)


def test_shares_of_slopes_lie_in_their_intervals() -> None:
    check_shares(rounds=3)


@pytest.mark.exhaustive
@pytest.mark.parametrize("rounds", [2, 3, 5, 10])
def test_what_is_fitted_over_many_rounds_lies_in_its_intervals(rounds: int) -> None:
    check_exponents(rounds)
    check_crossovers(rounds)
    check_shares(rounds)
    for truth in (1.0, 2.0):
        for share in (0.0, 0.3, 2.0):
            check_growth(rounds, truth, share)


@pytest.mark.exhaustive
@pytest.mark.parametrize("rounds", [3, 5, 10])
def test_an_exponent_bears_noise_that_differs_from_length_to_length(rounds: int) -> None:
    check_exponents(rounds, spread=np.array([0.01, 0.03, 0.015, 0.025, 0.02]))


def covered_by_bootstrap(design: Design, trials: int = 500, draws: int = 300) -> float:
    """Of 2.5 to 97.5 percentiles of the median of medians, processes drawn first and samples within each one drawn."""
    generator, hits = np.random.default_rng(31), 0
    for _ in range(trials):
        chosen = generator.integers(design.processes, size=(draws, design.processes, 1))
        within = generator.integers(design.samples, size=(draws, design.processes, design.samples))
        medians = np.median(design.draw(generator)[chosen, within], axis=2)
        low, high = np.percentile(np.median(medians, axis=1), [2.5, 97.5])
        hits += bool(low <= 1.0 <= high)
    return hits / trials


def test_resampling_processes_and_samples_covers_too_little() -> None:
    """Why no interval is a percentile of a hierarchical bootstrap: few processes hardly show their own spread."""
    shares = {n: covered_by_bootstrap(Design(n, samples=40, between=0.03)) for n in (1, 2, 3, 5)}
    print("percentiles of a hierarchical bootstrap, by processes:", shares)
    assert shares[1] < shares[2] < shares[3] < 0.85
    assert shares[5] < 0.93
