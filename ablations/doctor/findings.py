"""What a check found: a line for people, and what to do if it is no good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "FAIL", "null"]
"""`null`: it cannot be known on this machine, and the words say why; measurements then say so too."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: Its name.
        state: Whether what it is about can be trusted.
        words: What was found, with its numbers.
        remedy: What to do; present exactly where the check failed.
    """

    check: str
    state: State
    words: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        """Refuse a failure without a remedy, and a remedy without a failure."""
        if (self.state == "FAIL") != (self.remedy is not None):
            raise ValueError(f"{self.check}: a remedy goes with a failure and with nothing else")

    @property
    def line(self) -> str:
        """One line: `ok    known sleep: 50.1 ms, ...`."""
        return f"{self.state:<5} {self.check}: {self.words}"


def found(check: str, words: str, *, good: bool, remedy: str) -> Finding:
    """That it is good, or that it is not and what to do then."""
    return Finding(check, "ok", words) if good else Finding(check, "FAIL", words, remedy)


def summary(findings: Sequence[Finding]) -> str:
    """How many there are of each state, whether measurements can be trusted, and what to do if not."""
    states = Counter(finding.state for finding in findings)
    counts = ", ".join(f"{states[state]} {state}" for state in ("ok", "null", "FAIL"))
    failed = [finding for finding in findings if finding.state == "FAIL"]
    if not failed:
        return f"{counts}: measurements on this machine can be trusted."
    remedies = dict.fromkeys(finding.remedy or "" for finding in failed)
    names = ", ".join(finding.check for finding in failed)
    return "\n".join([f"{counts}: measurements on this machine cannot be trusted, see {names}.", *remedies])
