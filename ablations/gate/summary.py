"""A gate's outcome for people: a few lines of Markdown, which a terminal shows as well as a pull request."""

from ablations.gate.cells import name_of
from ablations.gate.judge import CellVerdict, Judgement
from ablations.gate.rounds import Gate, pairs_of
from ablations.report.statistics import Estimate
from ablations.report.templating import markdown
from ablations.report.verdict import CHANGED, CLEARLY

HEADINGS = {
    "regressed": "🔴 Slower, or broken",
    "passed": "🟢 No regression found",
    "inconclusive": "🟡 Inconclusive: this machine is too noisy to tell",
    "not comparable": "🟡 Not comparable: the base cannot be measured with this harness",
    "not measured": "⚫ Not measured: there are cells that neither side could run",
}
SIGNS = {"slower": "🔴", "fails": "🔴", "faster": "🟢", "same": "⚪", "cannot tell": "🟡", "new": "🔵"}


def summary(gate: Gate, judgement: Judgement) -> str:
    """Markdown: the outcome, a row for each cell, the control, and how it was measured."""
    lines = [
        f"## {HEADINGS[judgement.outcome]}",
        "",
        f"Head {markdown(gate.head.words)} against base {markdown(gate.base.words)}: processor time of a step.",
        "",
        "| | cell | head / base | 95 % interval | pairs | verdict |",
        "| --- | --- | ---: | --- | ---: | --- |",
        *map(_row, judgement.cells),
        "",
        f"Base against itself: {_in_words(judgement.control.ratio)}"
        f"{'' if judgement.control.quiet else '. That is too far from 1, or too unsure, for any verdict of times'}.",
        "",
        f"A cell is slower if the median ratio is above {CHANGED:.2f} and its whole interval above {CLEARLY:.2f}. Each "
        "round has fresh processes of both sides in turns; a ratio is of processor time relative to a fixed "
        f"computation beside it. {gate.seconds / 60:.1f} minutes on {markdown(gate.environment.processor)}.",
    ]
    return "\n".join(lines) + "\n"


def _row(found: CellVerdict) -> str:
    ratio, interval = ("", "") if found.ratio is None else (f"{found.ratio.value:.3f}", _interval(found.ratio))
    words = found.answer if found.reason is None else f"{found.answer}: {found.reason}"
    sign, pairs = SIGNS.get(found.answer, "⚫"), len(pairs_of(found.cell))
    return f"| {sign} | {markdown(name_of(found.cell.cell))} | {ratio} | {interval} | {pairs} | {markdown(words)} |"


def _in_words(ratio: Estimate | None) -> str:
    return "not measured" if ratio is None else f"{ratio.value:.3f} ({_interval(ratio)})"


def _interval(ratio: Estimate) -> str:
    return (
        ratio.no_interval or "" if ratio.interval is None else f"{ratio.interval.low:.3f} to {ratio.interval.high:.3f}"
    )
