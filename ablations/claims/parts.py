"""A predicate in parts, each of which records answer by itself, and the verdict that follows from the answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from ablations.claims.claim import Finding, Verdict
from ablations.claims.evidence import Evidence, NoEvidenceError, caveats, distinct, ids
from ablations.claims.scale import scale_of
from ablations.report.groups import Group
from ablations.report.statistics import CannotTell, Estimate, Interval, is_exact
from ablations.report.units import Unit, interval_text

State = Literal["holds", "fails", "cannot tell", "no evidence", "noted"]
"""`noted` answers nothing: a number that is reported beside those that decide."""

SURE = frozenset({"95 %", "exact", "leave one out"})
"""Kinds of intervals that decide. The range of a few readings is none: the next reading may lie outside."""


@dataclass(frozen=True)
class Answer:
    """What records say of one part.

    Attributes:
        state: In short.
        words: Our numbers; of `no evidence`, why there are none.
        groups: That it rests on.
    """

    state: State
    words: str
    groups: tuple[Group, ...] = ()

    def named(self, name: str) -> Self:
        """The same, told with the name of what it is about."""
        return replace(self, words=f"{name} {self.words}")

    def adding(self, words: str) -> Self:
        """The same, told with something more."""
        return replace(self, words=f"{self.words}{words}")


@dataclass(frozen=True)
class Part:
    """One thing that a predicate asks for.

    Attributes:
        what: In words, with the number asked for if it is a fixed one.
        ask: For the answer; may raise `NoEvidenceError`.
        decisive: Whether nothing is left of the claim without it.
        asked: Whether the verdict depends on it; else it is reported, if there are records.
    """

    what: str
    ask: Callable[[Evidence], Answer]
    decisive: bool = False
    asked: bool = True

    def answer(self, evidence: Evidence) -> Answer:
        """The answer, whatever there is."""
        try:
            return self.ask(evidence)
        except NoEvidenceError as reason:
            return Answer("no evidence", str(reason))


@dataclass(frozen=True)
class Predicate:
    """What must hold of records, in parts: calling it with evidence judges.

    `reproduced` if all parts hold. `not reproduced` if a decisive one fails, or some fail, none holds and no decisive
    one is open. `not testable here` if a decisive one, or every one, is without evidence. `partly` otherwise.

    Attributes:
        parts: What is asked for, and what is only noted.
        note: What a reader must know of the numbers, whatever they are.
        never: Why no record can decide; then the parts are noted only.
    """

    parts: tuple[Part, ...]
    note: str = ""
    never: str | None = None

    def __call__(self, evidence: Evidence) -> Finding:
        """What the records say."""
        answers = [(part, part.answer(evidence)) for part in self.parts]
        groups = distinct(group for _, answer in answers for group in answer.groups)
        told = [f"{part.what}: {answer.words}" for part, answer in answers if answer.state != "no evidence"]
        at = [f"at {scale_of(groups)}"] if groups else []
        reasons = [self.never or "", *_reasons(answers), *caveats(groups), self.note]
        return Finding(
            verdict="not testable here" if self.never else _verdict(answers),
            ours="; ".join([*told, *at]),
            reason=". ".join(filter(None, reasons)),
            evidence=ids(groups),
        )


def judged_by(*parts: Part, note: str = "") -> Predicate:
    """The predicate of these parts."""
    return Predicate(parts, note)


def never_here(because: str, *notes: Part) -> Predicate:
    """The predicate of what nothing that runs here can test; what our records say nearby is noted."""
    return Predicate(notes, never=because)


def _verdict(answers: Sequence[tuple[Part, Answer]]) -> Verdict:
    states = {answer.state for part, answer in answers if part.asked} - {"noted"}
    decisive = {answer.state for part, answer in answers if part.decisive}
    if not states - {"no evidence"} or "no evidence" in decisive:
        return "not testable here"
    if states == {"holds"}:
        return "reproduced"
    if "fails" in decisive or ("fails" in states and "holds" not in states and "cannot tell" not in decisive):
        return "not reproduced"
    return "partly"


def _reasons(answers: Sequence[tuple[Part, Answer]]) -> list[str]:
    """Why it is not simply reproduced: what does not hold, what cannot be told, and for want of what evidence."""
    words = {"fails": "does not hold", "cannot tell": "cannot tell"}
    told = [f"{words[answer.state]}: {part.what}" for part, answer in answers if answer.state in words]
    missing: dict[str, list[str]] = {}
    for part, answer in answers:
        if answer.state == "no evidence":
            missing.setdefault(answer.words, []).append(part.what)
    if sum(map(len, missing.values())) == len(answers):
        return list(missing)
    return [*told, *(f"no evidence ({reason}) of: {'; '.join(parts)}" for reason, parts in missing.items())]


def noted(what: str, words: Callable[[Evidence], tuple[str, Sequence[Group]]]) -> Part:
    """Something that is reported and asked for nothing."""

    def ask(evidence: Evidence) -> Answer:
        told, groups = words(evidence)
        return Answer("noted", told, tuple(groups))

    return Part(what, ask, asked=False)


def at_most(found: Estimate | CannotTell, bound: float, unit: Unit, groups: Sequence[Group]) -> Answer:
    """Holds if the whole interval is at or below the bound, fails if all of it is above."""
    return _within(found, float("-inf"), bound, unit, groups)


def at_least(found: Estimate | CannotTell, bound: float, unit: Unit, groups: Sequence[Group]) -> Answer:
    """Holds if the whole interval is at or above the bound, fails if all of it is below."""
    return _within(found, bound, float("inf"), unit, groups)


def within(found: Estimate | CannotTell, bound: float, unit: Unit, groups: Sequence[Group]) -> Answer:
    """Holds if the whole interval is no further from zero than the bound, fails if all of it is."""
    return _within(found, -bound, bound, unit, groups)


def below(found: Estimate | CannotTell, bound: float, unit: Unit, groups: Sequence[Group]) -> Answer:
    """Holds if the whole interval is below the bound and not at it, fails if all of it is at or above."""
    if isinstance(found, Estimate) and found.interval and found.interval.high == bound:
        return Answer("fails" if found.interval.low == bound else "cannot tell", said(found, unit), tuple(groups))
    return at_most(found, bound, unit, groups)


def true(words: str, groups: Sequence[Group], *, holds: bool) -> Answer:
    """What needs no interval."""
    return Answer("holds" if holds else "fails", words, tuple(groups))


def every(answers: Sequence[Answer]) -> Answer:
    """Holds if every one does, fails if one does."""
    states = {answer.state for answer in answers}
    state: State = "fails" if "fails" in states else "holds" if states == {"holds"} else "cannot tell"
    groups = distinct(group for answer in answers for group in answer.groups)
    return Answer(state, "; ".join(answer.words for answer in answers), groups)


def _within(found: Estimate | CannotTell, low: float, high: float, unit: Unit, groups: Sequence[Group]) -> Answer:
    if isinstance(found, CannotTell):
        return Answer("cannot tell", found.reason, tuple(groups))
    return Answer(_state(found.interval, low, high), said(found, unit), tuple(groups))


def _state(interval: Interval | None, low: float, high: float) -> State:
    if interval is None or interval.kind not in SURE:
        return "cannot tell"
    if low <= interval.low and interval.high <= high:
        return "holds"
    return "fails" if interval.high < low or high < interval.low else "cannot tell"


def said(found: Estimate | CannotTell, unit: Unit) -> str:
    """A number with its interval and what is behind it."""
    if isinstance(found, CannotTell):
        return f"cannot tell, {found.reason}"
    if is_exact(found):
        return f"{unit.text(found.value)} (exact)"
    if found.interval is None:
        return f"{unit.text(found.value)} (no interval: {found.no_interval})"
    kind = "95 % interval " if found.interval.kind == "95 %" else ""
    return f"{unit.text(found.value)} ({kind}{interval_text(found, unit)}, n = {found.n_processes})"
