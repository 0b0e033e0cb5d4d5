"""Two machines' records, or one machine's of two times, cell by cell: what is better, worse, the same, new, missing."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ablations.compare.environments import Difference, differences
from ablations.compare.judge import Answer, Judgement, Limits, judge
from ablations.compare.labels import Label, Labels
from ablations.compare.pairs import Fate, Pair, grouped, pairs_of
from ablations.compare.searches import SearchPair, judge_search, search_pairs, was_tried
from ablations.harness.record import Record
from ablations.harness.store import MachineResults
from ablations.harness.work import Ceiling, ceiling_of
from ablations.report.groups import Attempt, Group, groups_of
from ablations.report.table import CAUTIONS
from ablations.report.units import RATIO, count, listed

WORST_FIRST: tuple[Answer, ...] = ("worse", "cannot tell", "better", "same")
COUNTED: tuple[Answer, ...] = ("worse", "better", "same", "cannot tell")
"""As a summary names them."""

SEARCHED = "longest sequence"
LENGTH = frozenset({"length", "n_buckets"})
"""What a search finds, and what follows from it."""


@dataclass(frozen=True)
class Row:
    """What is compared, how it came out, and the marks of `table.CAUTIONS` that its groups bear in A and in B."""

    label: Label
    judgement: Judgement
    marks_before: str = ""
    marks_after: str = ""


@dataclass(frozen=True)
class Unmatched:
    """Cells of one label without a result to set against another: how many, and what there is to say of them."""

    label: Label
    n_cells: int
    words: str

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.label.text} ({self.words})"


@dataclass(frozen=True)
class Comparison:
    """One machine in A beside the same, or another, in B.

    Attributes:
        before: Of A: the machine's name.
        after: Of B.
        commits: The states of the code that the records come from, in A and in B.
        differences: In what the environments differ; nothing of the commit.
        remarks: What a reader must know before the numbers.
        rows: Worst first.
        new: What only B has tried.
        missing: What only A has tried.
        neither: What has a result in neither.
        n_matched: Cells, and searches, that both have tried.
    """

    before: str
    after: str
    commits: tuple[str, str]
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...]
    rows: tuple[Row, ...]
    new: tuple[Unmatched, ...]
    missing: tuple[Unmatched, ...]
    neither: tuple[Unmatched, ...]
    n_matched: int

    @property
    def unlike(self) -> tuple[Difference, ...]:
        """Differences for which the comparison is refused unless it is asked for."""
        return tuple(one for one in self.differences if one.decisive)

    @property
    def marks(self) -> tuple[str, ...]:
        """What the marks in the rows mean."""
        seen = {mark for row in self.rows for mark in (row.marks_before + row.marks_after).split()}
        return tuple(f"{mark} {words}" for mark, (_, words) in CAUTIONS.items() if mark in seen)


def compare_machines(before: MachineResults, after: MachineResults, limits: Limits) -> Comparison:
    """Everything that is planned or measured in A or in B.

    Args:
        before: A.
        after: B.
        limits: From where on a difference is a change.
    """
    searches = search_pairs(before, after)
    probes = {cell.id: cell for pair in searches for cell in pair.cells}
    pairs = pairs_of(before, after, without=probes.keys())
    labels = Labels([*(pair.cell for pair in pairs), *probes.values()])
    rows = [*_rows(pairs, labels, limits), *_search_rows(searches, labels)]
    matched = list(_matched(before.records, after.records))
    return Comparison(
        before.environment.machine,
        after.environment.machine,
        commits=(_commits(before.records), _commits(after.records)),
        differences=differences(matched),
        remarks=(*_remark_on_repeated(matched), *_remark_on_ceilings(before, after)),
        rows=tuple(sorted(rows, key=_place)),
        new=(*_unmatched(pairs, "new", labels), *_unmatched_searches(searches, labels, _is_new)),
        missing=(*_unmatched(pairs, "missing", labels), *_unmatched_searches(searches, labels, _is_missing)),
        neither=(*_unmatched(pairs, "neither", labels), *_unmatched_searches(searches, labels, _is_neither)),
        n_matched=len(matched),
    )


def counts(comparisons: Iterable[Comparison]) -> dict[str, int]:
    """How often each answer was given, and how many cells are new, missing or without result in both."""
    comparisons = tuple(comparisons)
    answers = Counter(row.judgement.answer for one in comparisons for row in one.rows)
    return {answer: answers[answer] for answer in COUNTED} | {
        "new": sum(found.n_cells for one in comparisons for found in one.new),
        "missing": sum(found.n_cells for one in comparisons for found in one.missing),
        "without result in both": sum(found.n_cells for one in comparisons for found in one.neither),
    }


def _place(row: Row) -> tuple[int, float, str]:
    return WORST_FIRST.index(row.judgement.answer), -row.judgement.size, row.label.text


def _rows(pairs: Sequence[Pair], labels: Labels, limits: Limits) -> Iterator[Row]:
    for group in grouped(pairs):
        by_fate = {fate: [pair for pair in group if pair.fate == fate] for fate in ("measured", "lost", "gained")}
        if group[0].cell.workload.kind == "ceiling":
            by_fate["measured"] = []
        if any(by_fate.values()):
            yield _row(labels.of(group[0].cell), by_fate["measured"], by_fate["lost"], by_fate["gained"], limits)


def _row(label: Label, measured: list[Pair], lost: list[Pair], gained: list[Pair], limits: Limits) -> Row:
    """Numbers come from the seeds that both have measured; what only one of them got a result of counts on top."""
    if not measured:
        return Row(label, _with_fates(Judgement("cannot tell"), lost, gained))
    before, after = _group(pair.before for pair in measured), _group(pair.after for pair in measured)
    judgement = _with_fates(judge(before, after, limits), lost, gained)
    return Row(label, judgement, _marks(before), _marks(after))


def _with_fates(judgement: Judgement, lost: Sequence[Pair], gained: Sequence[Pair]) -> Judgement:
    reasons = [judgement.reason, *(_told(pair, "lost", pair.after) for pair in lost)]
    reasons += [_told(pair, "gained: in A", pair.before) for pair in gained]
    told = replace(judgement, reason="; ".join(filter(None, reasons)))
    if lost:
        return replace(told, answer="worse", size=math.inf)
    return replace(told, answer="better") if gained and judgement.answer != "worse" else told


def _told(pair: Pair, word: str, attempt: Attempt | None) -> str:
    assert attempt is not None, "what is lost or gained was tried in both"
    return f"seed {pair.cell.seed} {word}: {attempt.words}, {attempt.reason}"


def _group(attempts: Iterable[Attempt | None]) -> Group:
    (group,) = groups_of([attempt for attempt in attempts if attempt])
    return group


def _marks(group: Group) -> str:
    return "".join(f" {mark}" for mark, (applies, _) in CAUTIONS.items() if applies(group))


def _search_rows(searches: Sequence[SearchPair], labels: Labels) -> Iterator[Row]:
    for pair in searches:
        if pair.before and pair.after and was_tried(pair.before) and was_tried(pair.after):
            yield Row(_search_label(pair, labels), judge_search(pair.before, pair.after))


def _search_label(pair: SearchPair, labels: Labels) -> Label:
    label = labels.of(pair.cell, without=LENGTH)
    return replace(label, what=SEARCHED, settings=label.settings or f"from length={pair.cell.length}")


def _unmatched(pairs: Sequence[Pair], fate: Fate, labels: Labels) -> Iterator[Unmatched]:
    for group in grouped([pair for pair in pairs if pair.fate == fate]):
        seeds = f"seed{'s' if len(group) > 1 else ''} {listed([pair.cell.seed for pair in group])}"
        words = dict.fromkeys(_words(pair) for pair in group)
        yield Unmatched(labels.of(group[0].cell), len(group), f"{seeds}: {'; '.join(words)}")


def _words(pair: Pair) -> str:
    sides = (("A", pair.before), ("B", pair.after))
    return ", ".join(f"{attempt.words if attempt else 'not planned'} in {side}" for side, attempt in sides)


def _unmatched_searches(
    searches: Sequence[SearchPair], labels: Labels, wanted: Callable[[SearchPair], bool]
) -> Iterator[Unmatched]:
    for pair in filter(wanted, searches):
        sides = (("A", pair.before), ("B", pair.after))
        words = ", ".join(f"{result.longest if result else 'not planned'} in {side}" for side, result in sides)
        yield Unmatched(_search_label(pair, labels), 1, words)


def _is_new(pair: SearchPair) -> bool:
    return was_tried(pair.after) and not was_tried(pair.before)


def _is_missing(pair: SearchPair) -> bool:
    return was_tried(pair.before) and not was_tried(pair.after)


def _is_neither(pair: SearchPair) -> bool:
    return not was_tried(pair.before) and not was_tried(pair.after)


def _matched(before: Sequence[Record], after: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Of each cell that both have a record of: the newest in A, and in B."""
    there = {record.cell.id: record for record in after}
    for record in {record.cell.id: record for record in before}.values():
        if other := there.get(record.cell.id):
            yield record, other


def _commits(records: Iterable[Record]) -> str:
    found = {
        f"{(one.commit or 'unknown')[:12]}{', modified' if one.dirty else ''}"
        for one in (r.environment for r in records)
    }
    return "; ".join(sorted(found)) or "no records"


def _remark_on_repeated(matched: Iterable[tuple[Record, Record]]) -> Iterator[str]:
    if repeated := sum(one == other for one, other in matched):
        yield f"{count(repeated, 'record')} of A and B are one and the same: nothing can differ there."


def _remark_on_ceilings(before: MachineResults, after: MachineResults) -> Iterator[str]:
    one, other = ceiling_of(before.records), ceiling_of(after.records)
    if one and other:
        yield (
            f"Ceilings of the machine, B over A: {', '.join(_rates(one, other))}. They say what changed beside the "
            "code, and are not judged."
        )


def _rates(before: Ceiling, after: Ceiling) -> Iterator[str]:
    for dtype, rate in sorted(before.flops_per_second.items()):
        if dtype in after.flops_per_second:
            yield f"matrix products in {dtype} at {RATIO.text(after.flops_per_second[dtype] / rate)} the rate"
    yield f"copies at {RATIO.text(after.bytes_per_second / before.bytes_per_second)} the rate"
