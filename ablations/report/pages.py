"""What the templates show of each machine, put together from records and plan."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablations.harness.measurement import StepTimes
from ablations.harness.record import Environment, Record
from ablations.harness.store import MachineResults, PlannedExperiment
from ablations.harness.work import Ceiling, ceiling_of
from ablations.report.answers import answers
from ablations.report.budget_table import budget_table
from ablations.report.capacity_tables import capacity_tables
from ablations.report.charts import Chart, capacity_chart, learning_chart, scaling_chart
from ablations.report.claims_table import ClaimRow, ClaimsPart, claims_part
from ablations.report.comparison_tables import ceilings_table, comparison_tables
from ablations.report.exactness_table import exactness_table
from ablations.report.figures import Figure, capacity_figures, figures
from ablations.report.floor import below_floor
from ablations.report.headlines import Headline, headlines
from ablations.report.kernel_tables import kernel_tables
from ablations.report.style import STATUS_WORDS
from ablations.report.svg import slug
from ablations.report.table import Table
from ablations.report.tables import gaps_table, result_tables
from ablations.report.units import BYTES, count
from ablations.report.views import SCOPES, ExperimentResults, KindResults, experiment_results


@dataclass(frozen=True)
class Drawing:
    """A chart, and the figures that stand in its place where no script runs; one of them may be lacking."""

    chart: Chart | None
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class ExperimentPart:
    """One experiment on one machine.

    Attributes:
        anchor: Of its section.
        title: A few words.
        question: As the plan asks it.
        answers: The answer in a sentence, and in more what else there is to tell.
        summary: What became of its cells.
        drawings: Of its results.
        tables: Of its results.
        gaps: The table of cells without one.
        has_results: Whether any cell has one.
        made: Pairs of a label and a text: the command that measures it, where and with which code it was measured.
    """

    anchor: str
    title: str
    question: str
    answers: tuple[str, ...]
    summary: str
    drawings: tuple[Drawing, ...]
    tables: tuple[Table, ...]
    gaps: Table
    has_results: bool
    made: tuple[tuple[str, str], ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Of all drawings."""
        return tuple(figure for drawing in self.drawings for figure in drawing.figures)


@dataclass(frozen=True)
class MachinePart:
    """One machine: `facts` are pairs of a label and a text, `remarks` what a reader must know before the numbers."""

    anchor: str
    name: str
    facts: tuple[tuple[str, str], ...]
    claims: ClaimsPart | None
    remarks: tuple[str, ...]
    headlines: tuple[Headline, ...]
    experiments: tuple[ExperimentPart, ...]


def machine_part(results: MachineResults, anchor: str, claims: Sequence[ClaimRow] = ()) -> MachinePart:
    """Everything about one machine.

    Args:
        results: Its plan and records.
        anchor: A slug that no other machine of the report has.
        claims: The paper's, as these records bear them out; without any there is no section of them.
    """
    ceiling = ceiling_of(results.records)
    experiments = [experiment_results(planned, results.records) for planned in results.plan.experiments]
    planned = {attempt.cell.id for one in experiments for attempt in one.attempts}
    for_claims, *anchors = unique(["claims", *(slug(one.planned.name) for one in experiments)])
    return MachinePart(
        anchor=anchor,
        name=results.environment.machine,
        facts=_facts(results, experiments),
        claims=claims_part(
            claims,
            {one.planned.name for one in experiments},
            anchor=f"{anchor}-{for_claims}",
            profile="paper" if results.environment.accelerator else "paper-cpu",
        ),
        remarks=(
            *_remarks(results.records, planned),
            *(remark for one in experiments for remark in below_floor(one.kinds, ceiling)),
        ),
        headlines=headlines(experiments),
        experiments=tuple(
            _experiment_part(one, f"{anchor}-{own}", ceiling, results)
            for one, own in zip(experiments, anchors, strict=True)
        ),
    )


def unique(slugs: Sequence[str]) -> list[str]:
    """The same slugs, repeated ones numbered."""
    taken: list[str] = []
    for wanted in slugs:
        candidates = (
            wanted if number == 1 else f"{wanted}-{number}" for number in range(1, len(slugs) + len(taken) + 2)
        )
        taken.append(next(candidate for candidate in candidates if candidate.lower() not in map(str.lower, taken)))
    return taken


def _experiment_part(
    results: ExperimentResults, anchor: str, ceiling: Ceiling | None, machine: MachineResults
) -> ExperimentPart:
    planned: PlannedExperiment = results.planned
    cells = frozenset(planned.cells)
    return ExperimentPart(
        anchor=anchor,
        title=planned.title,
        question=planned.question,
        answers=answers(results),
        summary=_counts(results),
        drawings=tuple(one for one in _drawings(results, anchor, ceiling) if one.chart or one.figures),
        tables=(
            *(table for kind in results.kinds for table in _tables(kind, ceiling)),
            *capacity_tables(results.searches),
            *budget_table([attempt for attempt in results.attempts if attempt.cell in cells]),
            *kernel_tables(results.attempts, ceiling),
            *ceilings_table(results.attempts),
            *exactness_table(results.attempts),
        ),
        gaps=gaps_table(results),
        has_results=any(attempt.status == "ok" for attempt in results.attempts),
        made=_made(results, machine),
    )


def _drawings(results: ExperimentResults, anchor: str, ceiling: Ceiling | None) -> Iterable[Drawing]:
    """Time and memory of one scope share a chart; each kind of training, and all searches, have one of their own."""
    for scope in SCOPES:
        steps = [kind for kind in results.kinds if kind.scope == scope and kind.kind != "learn"]
        static = [figure for kind in steps for figure in figures(kind, anchor, ceiling)]
        yield Drawing(scaling_chart(steps, f"{anchor}-{scope}-chart"), tuple(static))
        for kind in results.kinds:
            if (kind.scope, kind.kind) == (scope, "learn"):
                static = list(figures(kind, anchor, ceiling))
                yield Drawing(learning_chart(kind, f"{anchor}-{scope}-learning-chart"), tuple(static[:1]))
                yield Drawing(None, tuple(static[1:]))
    searched = capacity_figures(results.searches, anchor)
    yield Drawing(capacity_chart(results.searches, f"{anchor}-capacity-chart"), searched)


def _made(results: ExperimentResults, machine: MachineResults) -> tuple[tuple[str, str], ...]:
    planned, here = results.planned, machine.environment
    records = [one.record for one in results.attempts if one.record]
    device = here.accelerator or f"{here.processor}, {count(here.cores, 'logical core')}"
    return (("Command", _command(planned)), ("Machine", f"{here.machine}: {device}"), ("Commit", _commits(records)))


def _command(planned: PlannedExperiment) -> str:
    """What measures it. The machine's ceilings are no experiment of their own: every run takes them."""
    words = ["python", "run_all.py", "--profile", planned.profile]
    if not any(cell.scope == "machine" for cell in planned.cells):
        words += ["--only", planned.name]
        words += [word for axis in planned.axes for word in ("--axis", axis)]
        words += ["--memory-budget", planned.memory_budget] if planned.memory_budget else []
    return shlex.join(words)


def _tables(kind: KindResults, ceiling: Ceiling | None) -> tuple[Table, ...]:
    return comparison_tables(kind, ceiling) if kind.compares else result_tables(kind, ceiling)


def _counts(*results: ExperimentResults) -> str:
    statuses = Counter(attempt.status for one in results for attempt in one.attempts)
    return ", ".join(f"{statuses[status]:,} {words}" for status, words in STATUS_WORDS.items() if statuses[status])


def _facts(results: MachineResults, experiments: Sequence[ExperimentResults]) -> tuple[tuple[str, str], ...]:
    here = results.environment
    return (
        ("Processor", f"{here.processor}, {count(here.cores, 'logical core')}{_threads(results.records)}"),
        ("Memory", BYTES.text(here.memory_bytes)),
        ("Accelerator", _accelerator(here)),
        ("System", here.system),
        ("Python", here.python),
        (
            "Packages",
            ", ".join(f"{name} {version}" for name, version in sorted(here.packages.items())) or "not recorded",
        ),
        ("Commit", _commits(results.records)),
        ("Profile", ", ".join(dict.fromkeys(experiment.profile for experiment in results.plan.experiments))),
        ("Cells", f"{sum(len(one.attempts) for one in experiments):,} planned: {_counts(*experiments) or 'none'}"),
    )


def _threads(records: Iterable[Record]) -> str:
    threads = {r.measurement.threads for r in records if isinstance(r.measurement, StepTimes)}
    return f"; steps timed with {' or '.join(map(str, sorted(threads)))} PyTorch threads" if threads else ""


def _accelerator(here: Environment) -> str:
    if here.accelerator is None:
        return "none"
    memory = f", {BYTES.text(here.accelerator_memory_bytes)}" if here.accelerator_memory_bytes else ""
    return f"{here.accelerator}{memory}" + (f", driver {here.driver}" if here.driver else "")


def _commits(records: Iterable[Record]) -> str:
    found = Counter(_commit(record.environment) for record in records)
    if len(found) < 2:
        return next(iter(found), "no records")
    return "; ".join(f"{name} ({count(number, 'record')})" for name, number in sorted(found.items()))


def _commit(where: Environment) -> str:
    if where.commit is None:
        return "unknown (outside a checkout)"
    return where.commit + (", modified" if where.dirty else "")


def _remarks(records: Sequence[Record], planned: set[str]) -> tuple[str, ...]:
    remarks = []
    if len({_commit(record.environment) for record in records}) > 1:
        remarks.append("The records come from several states of the code (see Commit): compare across them with care.")
    if any(record.environment.dirty for record in records):
        remarks.append("Some records were made with modified files: their commit does not fully say what ran.")
    remarks += [f"Records differ in {name}: {values}." for name, values in _differences(records)]
    if outside := sum(record.cell.id not in planned for record in records):
        remarks.append(
            f"{count(outside, 'further record')} of cells outside this plan stay in the folder, not shown here."
        )
    return tuple(remarks)


def _differences(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Facts of the environment, the commit aside, on which records disagree, with how many hold each value."""
    values: dict[str, Counter[str]] = {}
    for record in records:
        flat = record.environment.model_dump(exclude={"commit", "dirty", "packages"}) | record.environment.packages
        for name, value in flat.items():
            values.setdefault(name, Counter())[str(value)] += 1
    return [
        (name, "; ".join(f"{value} ({count(number, 'record')})" for value, number in sorted(found.items())))
        for name, found in sorted(values.items())
        if len(found) > 1
    ]
