"""What all forms of a comparison show: the same texts on a terminal, on a page and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablations.compare.comparison import Comparison, Row, counts
from ablations.compare.judge import Limits
from ablations.report.student import t_quantile
from ablations.report.table import Column
from ablations.report.units import count
from ablations.report.verdict import clearly

COLUMNS = (
    Column("verdict", numeric=False),
    Column("B over A"),
    Column("interval"),
    Column("seeds"),
    Column("A"),
    Column("B"),
    Column("experiment", numeric=False),
    Column("what", numeric=False),
    Column("variant", numeric=False),
    Column("settings", numeric=False),
    Column("remarks", numeric=False),
)

DRIFT = (
    "A and B were measured at different times, so that their times differ by what the machine drifted in between too; "
    "python run_all.py gate measures two revisions in turns."
)


@dataclass(frozen=True)
class Report:
    """A comparison of A with B, of every machine that it is about.

    Attributes:
        a: As it was named.
        b: As it was named.
        limits: From where on a difference is a change.
        parts: One per machine.
        only_a: Machines that A alone holds records of.
        only_b: Machines that B alone holds records of.
    """

    a: str
    b: str
    limits: Limits
    parts: tuple[Comparison, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """How often each answer was given: `2 worse, 1 better, 140 same`."""
        found = counts(self.parts)
        if not found["without result in both"]:
            del found["without result in both"]
        return ", ".join(f"{number:,} {words}" for words, number in found.items())

    @property
    def regressed(self) -> bool:
        """Whether anything is worse."""
        return counts(self.parts)["worse"] > 0

    @property
    def lacks(self) -> bool:
        """Whether B lacks anything that A has tried: cells, or all of a machine."""
        return counts(self.parts)["missing"] > 0 or bool(self.only_a)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What must not be overlooked beside what is worse."""
        missing = counts(self.parts)["missing"]
        lacking = f"B lacks {count(missing, 'cell')} that A has tried, named under Missing: nothing is said of them."
        return (
            *([lacking] if missing else []),
            *([f"Only A has records of {', '.join(self.only_a)}: not compared."] if self.only_a else []),
            *([f"Only B has records of {', '.join(self.only_b)}: not compared."] if self.only_b else []),
        )

    @property
    def rules(self) -> tuple[str, ...]:
        """How answers come about."""
        limits, clear = self.limits, clearly(self.limits.time)
        return (
            DRIFT,
            f"Times: worse if the median over seeds of B's over A's is above {limits.time:g} and its whole 95 % "
            f"interval above {clear:g}; better likewise below the inverses; the same if the interval lies within "
            f"{clear:g} and its inverse. The interval reaches {t_quantile(1):.1f} standard errors to each side with "
            f"two seeds, {t_quantile(2):.1f} with three; with one there is none: cannot tell.",
            f"Peaks: worse beyond {limits.memory:g} times A's; on a CPU, where they are exact counts, at any seed, on "
            "a GPU at all seeds, of which there must be two.",
            f"Training is compared by held-out bits after the last step: worse if the whole interval of the difference "
            f"is above {limits.bits:+g}. Exactness: worse beyond {limits.discrepancy:g} times A's, or with more "
            "parameters.",
            "A seed with a result in A alone, although B tried, makes worse; one in B alone makes better. Only seeds "
            "that both have measured count in a number.",
        )


def cells_of(row: Row) -> tuple[str, ...]:
    """The texts of a row, one per column."""
    label, judged = row.label, row.judgement
    return (
        judged.answer,
        judged.change,
        judged.interval,
        f"{judged.n}" if judged.n else "",
        judged.before + row.marks_before,
        judged.after + row.marks_after,
        label.experiment,
        label.what,
        label.variant,
        label.settings,
        judged.reason,
    )


def heads(report: Report, part: Comparison) -> tuple[tuple[str, str], ...]:
    """What was compared: pairs of a label and a text."""
    return (
        ("A", f"{report.a}: {part.before}, commit {part.commits[0]}"),
        ("B", f"{report.b}: {part.after}, commit {part.commits[1]}"),
        *((("Unlike" if one.decisive else "Differs"), one.text) for one in part.differences),
    )


def lists(part: Comparison) -> tuple[tuple[str, Sequence[str]], ...]:
    """What could not be compared: a heading, which counts the lines, and a line for each label."""
    named = (
        ("New: only B has tried", part.new),
        ("Missing: only A has tried", part.missing),
        ("Without result in both", part.neither),
    )
    return tuple(
        (f"{heading} ({count(len(found), 'entry', 'entries')})", [one.text for one in found])
        for heading, found in named
        if found
    )
