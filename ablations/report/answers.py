"""What an experiment's results answer, in sentences with numbers and their interval, or why not."""

from collections.abc import Callable, Iterator, Sequence

from ablations.harness.measurement import Discrepancy
from ablations.report import axes
from ablations.report.budget_answers import fit_answers, search_answers
from ablations.report.comparison_tables import ceilings_table
from ablations.report.groups import Attempt
from ablations.report.step_answers import step_answers
from ablations.report.style import rank
from ablations.report.training_answers import training_answers
from ablations.report.units import count, setting
from ablations.report.views import ExperimentResults


def answers(results: ExperimentResults) -> tuple[str, ...]:
    """The answer in a sentence, and in more what else there is to tell.

    Of training, of a step's time and memory, of lengths that fit, or of what was checked.
    """
    ways: tuple[Callable[[ExperimentResults], Iterator[str]], ...] = (
        training_answers,
        step_answers,
        search_answers,
        fit_answers,
        _checked,
        _ceilings,
    )
    found = [list(way(results)) for way in ways]
    told = [sentences for sentences in found if not all(_is_open(one) for one in sentences)]
    if told:
        return tuple(told[0])
    reasons = [sentence for sentences in found for sentence in sentences]
    if reasons and any(one.status == "ok" for one in results.attempts):
        return (reasons[0],)
    return (f"Cannot tell: {_why_nothing(results)}.",)


def _is_open(sentence: str) -> bool:
    return sentence.startswith("Cannot tell")


def _why_nothing(results: ExperimentResults) -> str:
    words = dict.fromkeys(one.words for one in results.attempts if one.status != "ok")
    if any(one.status == "ok" for one in results.attempts):
        return "what has a result is none of what a sentence is made of, see the tables"
    return f"no cell has a result ({', '.join(words)})" if words else "no cell is planned"


def _checked(results: ExperimentResults) -> Iterator[str]:
    """Of differences their range, apart for each setting beside the one that takes most values; or counts."""
    found = [(one, one.record.measurement) for one in results.attempts if one.record]
    checks = [(one, made) for one, made in found if isinstance(made, Discrepancy)]
    compared: dict[str, list[tuple[float, str]]] = {}
    for one, made in checks:
        if made.n_compared:
            compared.setdefault(_apart(one, results), []).append((made.relative_difference, one.cell.contender))
    if compared:
        ranges = "; ".join(_range(differences, words) for words, differences in compared.items())
        yield f"Relative difference: {ranges}."
    elif checks:
        numbers = {
            one.cell.contender: made for one, made in sorted(checks, key=lambda one: rank(one[0].cell.contender))
        }
        counts = "; ".join(f"{name} {one.n_parameters:,}" for name, one in numbers.items())
        yield f"Parameters, counted exactly: {counts} (n = {count(len(checks), 'run')})."


def _apart(attempt: Attempt, results: ExperimentResults) -> str:
    cells = [one.cell for one in results.attempts]
    own, most = axes.settings(attempt.cell), axes.horizontal(cells)
    names = [name for name in axes.independent(cells) if name != most and name in own]
    return ", ".join(f"{name}={setting(own[name])}" for name in names)


def _range(found: Sequence[tuple[float, str]], settings: str) -> str:
    """Differences with the variant of each: that of the largest is named."""
    (low, _), (high, variant) = min(found), max(found)
    runs = f"n = {count(len(found), 'run')}"
    span, over = f"{low:.2g} to {high:.2g}", f"range over {runs}, the largest of {variant}"
    if low == high:
        span, over = f"{low:.2g}", f"all equal, {runs}"
    return f"{span}{f' with {settings}' if settings else ''} ({over})"


def _ceilings(results: ExperimentResults) -> Iterator[str]:
    for table in ceilings_table(results.attempts):
        for row in table.rows:
            dtype, product, copy, n = row.cells
            runs = count(int(n), "process", "processes")
            yield f"In {dtype} this machine multiplies at up to {product} and copies at up to {copy}, n = {runs}."
