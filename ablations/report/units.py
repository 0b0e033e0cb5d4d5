"""Numbers for people: three significant digits, a unit of fitting size."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablations.report.statistics import Estimate, Interval, of_readings


@dataclass(frozen=True)
class Unit:
    """How one kind of quantity is written.

    Attributes:
        axis: What a figure's axis says of it, without the unit's name.
        scales: Size and name of each multiple, largest first.
        decimals: Fixed digits after the point; `None` for three significant digits.
    """

    axis: str
    scales: tuple[tuple[float, str], ...]
    decimals: int | None = None

    def scale(self, value: float) -> tuple[float, str]:
        """The largest multiple that leaves `value` at one or more, or the smallest; zero is written in ones."""
        size = abs(value) or 1.0
        return next((scale for scale in self.scales if size >= scale[0]), self.scales[-1])

    def text(self, value: float) -> str:
        """The value with its unit: `12.3 ms`."""
        size, name = self.scale(value)
        return f"{self._digits(value / size)} {name}".rstrip()

    def interval(self, interval: Interval, like: float) -> str:
        """Both bounds in the unit that `like` is written in: `12.1 to 12.6 ms`."""
        size, name = self.scale(like)
        return f"{self._digits(interval.low / size)} to {self._digits(interval.high / size)} {name}".rstrip()

    def _digits(self, value: float) -> str:
        if self.decimals is not None:
            return f"{value:z,.{self.decimals}f}"
        return three_digits(value)


def three_digits(value: float) -> str:
    """Three significant digits, thousands separated; what is below a thousandth is rounding error of a fit: `0`."""
    if abs(value) < 0.0005:
        return "0"
    if abs(value) < 1:
        return f"{value:#.3g}"
    rounded = float(f"{value:.3g}")
    decimals = 0 if abs(rounded) >= 100 else 1 if abs(rounded) >= 10 else 2
    return f"{rounded:,.{decimals}f}"


def of_any_processor(value: float) -> float:
    """Eight digits of a number that was summed up: what follows is the processor's, by the order in which it sums."""
    return float(f"{value:.8g}")


SECONDS = Unit("time per step", ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))
BYTES = Unit("peak memory", ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "bytes")))
TRAINING_SECONDS = Unit("seconds of training", ((1.0, "s"),))
TOKENS_PER_SECOND = Unit("tokens per second", ((1.0, "tokens/s"),))
BITS_PER_BYTE = Unit("held-out bits per byte", ((1.0, ""),), decimals=3)
BITS_PER_TOKEN = Unit("held-out bits per token", ((1.0, ""),), decimals=3)
BLEU = Unit("BLEU", ((1.0, ""),), decimals=1)
ACCURACY = Unit("accuracy", ((0.01, "%"),), decimals=1)
EXPONENT = Unit("exponent", ((1.0, ""),), decimals=2)
RATIO = Unit("ratio", ((1.0, "x"),))
FLOPS = Unit("rate", ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s")))
LENGTH = Unit("length", ((1.0, ""),), decimals=0)
BYTES_PER_SECOND = Unit("bandwidth", ((1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s")))
PERCENT = Unit("share", ((0.01, "%"),))


def interval_text(estimate: Estimate, unit: Unit) -> str:
    """The interval as a table shows it; without one, the reason."""
    interval = estimate.interval
    if interval is None:
        return estimate.no_interval or "none"
    if interval.kind == "exact":
        return "exact"
    if interval.kind == "range":
        equal = interval.low == interval.high
        return "all equal" if equal else f"range {unit.interval(interval, estimate.value)}"
    if interval.kind == "leave one out":
        return f"{unit.interval(interval, estimate.value)} leaving one out"
    return unit.interval(interval, estimate.value)


def with_range(values: Sequence[float], unit: Unit) -> str:
    """The median and, where readings differ in what is written, their range: `412 MiB (401 to 420 MiB)`."""
    estimate = of_readings(values, exact=False)
    interval = estimate.interval
    if interval is None or unit.text(interval.low) == unit.text(interval.high):
        return unit.text(estimate.value)
    return f"{unit.text(estimate.value)} ({unit.interval(interval, estimate.value)})"


def n_text(estimate: Estimate) -> str:
    """Samples and processes: `24 in 2 processes`; processes alone where each gave one reading."""
    processes = count(estimate.n_processes, "process", "processes")
    return processes if estimate.n_samples == estimate.n_processes else f"{estimate.n_samples:,} in {processes}"


def n_cell(estimate: Estimate) -> str:
    """The same as `n_text` in a narrow column: `24 (2)`."""
    return f"{estimate.n_samples:,} ({estimate.n_processes:,})"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def setting(value: float | str) -> str:
    """A value of an axis, digits ungrouped as on a command line."""
    return value if isinstance(value, str) else f"{value:.10g}"


def listed(values: Sequence[float | str]) -> str:
    """Values of an axis, one after the other."""
    return ", ".join(map(setting, values))
