"""Table 2: trained on 0w0w with one attention, evaluated with another (C8), and what became of it elsewhere."""

from collections.abc import Sequence
from itertools import pairwise

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import Answer, Part, at_least, at_most, below, every, judged_by, noted
from ablations.claims.readings import accuracy_under, across, by_seed, difference
from ablations.harness.training import Learn
from ablations.report.groups import Group
from ablations.report.statistics import CannotTell, Estimate, mean_of
from ablations.report.units import PERCENT, Unit, count

EVALUATED = ("dense", "lsh_8", "lsh_4", "lsh_2", "lsh_1")
"""Conditions of the workload, in the table's order of columns."""
ROUNDS = EVALUATED[1:]

PAPER = {
    "dense": (1.0, 0.948, 0.925, 0.769, 0.525),
    "lsh_4": (0.008, 1.0, 0.999, 0.994, 0.919),
    "lsh_2": (0.008, 1.0, 0.999, 0.981, 0.868),
    "lsh_1": (0.008, 0.999, 0.996, 0.948, 0.779),
}
"""The paper's accuracies: a row for each attention trained with, columns as in `EVALUATED`."""

CLOSE, ELSEWHERE = 0.02, 0.06
"""How near ours are to count as equal, where the paper has at least 0.9 and where it has less."""
SLACK = 0.005
LEARNED = 0.5
"""Accuracy that nobody has by chance; below it dense attention itself has learned nothing yet."""
POINTS = Unit("points", ((0.01, "points"),))


def _trained(evidence: Evidence, name: str) -> Group:
    """The model trained with this attention, named as conditions are.

    Raises:
        NoEvidenceError: There is none, or training was so short that not even dense attention has learned the task.
    """
    dense = evidence.one("duplication", kind="learn", variant="dense")
    if name == "dense":
        return dense
    best = max(by_seed(dense, accuracy_under("dense")).values())
    if best < LEARNED:
        raise NoEvidenceError(f"duplication: dense attention itself has not learned the task in {_steps_of(dense)}")
    return evidence.one("duplication", kind="learn", variant="lsh_only", n_hashes=int(name.removeprefix("lsh_")))


def _steps_of(group: Group) -> str:
    workload = group.cell.workload
    return count(workload.recipe.steps, "step") if isinstance(workload, Learn) else "no training"


def _accuracy(gate: str, trained: str, evaluated: str, bound: float, *, decisive: bool = False) -> Part:
    def ask(evidence: Evidence) -> Answer:
        group = _trained(evidence, trained)
        return at_least(mean_of(list(by_seed(group, accuracy_under(evaluated)).values())), bound, PERCENT, [group])

    return Part(f"{gate} trained {trained}, evaluated {evaluated}: accuracy at least {100 * bound:g} %", ask, decisive)


def _gains(group: Group) -> dict[str, Estimate | CannotTell]:
    """Of accuracy where evaluation takes half as many rounds, from 8 down, by the condition that it ends at."""
    return {
        fewer: difference(group, group, [accuracy_under(fewer), accuracy_under(more)])
        for more, fewer in pairwise(ROUNDS)
    }


def _steps(evidence: Evidence, trained: str) -> Answer:
    group = _trained(evidence, trained)
    return every([at_most(gain, SLACK, POINTS, [group]).named(f"to {name}") for name, gain in _gains(group).items()])


def _falls(trained: str) -> Part:
    return Part(
        f"(c) trained {trained}: what halving the rounds of evaluation gains, from 8 to 1, at most {100 * SLACK:g} "
        "points",
        lambda evidence: _steps(evidence, trained),
    )


def _strictly(evidence: Evidence) -> Answer:
    group = _trained(evidence, "dense")
    falls = [below(gain, 0, POINTS, [group]).named(f"to {name}") for name, gain in _gains(group).items()]
    few = mean_of(list(by_seed(group, accuracy_under("lsh_1")).values()))
    return every([*falls, at_most(few, 0.7, PERCENT, [group])])


def _ordered(evidence: Evidence) -> Answer:
    """Evaluated with one round, what was trained with more rounds is better."""
    rows = [_trained(evidence, name) for name in ("lsh_4", "lsh_2", "lsh_1")]
    read = accuracy_under("lsh_1")
    return every([below(difference(fewer, more, read), 0, POINTS, (fewer, more)) for more, fewer in pairwise(rows)])


def _table(evidence: Evidence) -> tuple[str, Sequence[Group]]:
    """Our whole table, and how much of it lies where the paper's does."""
    rows = {name: _trained(evidence, name) for name in PAPER}
    ours = {
        name: [across([group], accuracy_under(evaluated), lambda ys: ys[0]) for evaluated in EVALUATED]
        for name, group in rows.items()
    }
    means = {name: [getattr(found, "value", float("nan")) for found in row] for name, row in ours.items()}
    pairs = [(one, paper) for name, row in PAPER.items() for one, paper in zip(means[name], row, strict=True)]
    near = sum(abs(one - paper) <= (CLOSE if paper >= 0.9 else ELSEWHERE) for one, paper in pairs)
    words = "; ".join(f"{name}: {', '.join(f'{100 * one:.1f}' for one in row)}" for name, row in means.items())
    return f"{words}; {near} of {len(pairs)} within 2 points (6 below 90 %) of the paper's", list(rows.values())


C8 = Claim(
    id="C8",
    place="section 2.1, Table 2",
    says="LSH attention of four rounds solves the duplication task as dense attention does; rounds can be added at "
    "evaluation, and more rounds are better.",
    paper="accuracy evaluated full, 8, 4, 2, 1: full 100, 94.8, 92.5, 76.9, 52.5; LSH-4 0.8, 100, 99.9, 99.4, 91.9; "
    "LSH-2 0.8, 100, 99.9, 98.1, 86.8; LSH-1 0.8, 99.9, 99.6, 94.8, 77.9 (seen in 2 places)",
    experiments=("duplication",),
    predicate="(a) full, evaluated full at least 99.9 %; (b) LSH-4 evaluated with 8 rounds at least 99.5 % and with 4 "
    "at least 99 %; (c) no LSH row rises from 8 rounds to 1 (slack 0.5 points); (d) evaluated with 1 round, trained 4 "
    "beats 2 beats 1; (e) LSH-1 evaluated with 8 at least 99 %; (f) full falls strictly from 8 rounds to 1, there to "
    "70 % at most. Absolute numbers and the column of LSH evaluated full are reported",
    judge=judged_by(
        _accuracy("(a)", "dense", "dense", 0.999),
        _accuracy("(b)", "lsh_4", "lsh_8", 0.995, decisive=True),
        _accuracy("(b)", "lsh_4", "lsh_4", 0.99, decisive=True),
        *(_falls(name) for name in ("lsh_4", "lsh_2", "lsh_1")),
        Part("(d) evaluated with 1 round, what a step from 4 to 2 to 1 in training gains below 0", _ordered),
        _accuracy("(e)", "lsh_1", "lsh_8", 0.99),
        Part("(f) trained dense: what halving the rounds gains below 0, and with 1 round at most 70 %", _strictly),
        noted("accuracy in %, rows trained, columns evaluated dense, 8, 4, 2, 1", _table),
        note="The task is learned at one stroke, and later with LSH attention than with dense: of a run far shorter "
        "than the paper's 150,000 steps a failure says little",
    ),
)


def _not_solved(evidence: Evidence) -> Answer:
    group = _trained(evidence, "lsh_1")
    if max(by_seed(group, accuracy_under("lsh_1")).values()) < LEARNED:
        raise NoEvidenceError(f"duplication: with one round nothing is learned yet in {_steps_of(group)}")
    found = mean_of(list(by_seed(group, accuracy_under("lsh_8")).values()))
    return at_most(found, 0.99, PERCENT, [group])


FASTAI_DUPLICATION = Claim(
    id="FASTAI-duplication",
    place="fast.ai team, ML Reproducibility Challenge 2020",
    says="A model trained with one hash round does not solve the duplication task, however many rounds evaluate it.",
    paper="LSH-1 evaluated full, 8, 4, 2, 1: 70.65, 76.61, 79.68, 79.34, 56.09 %; full attention failed with one seed "
    "of two (one origin; its scores are the root of the head's width smaller than the authors')",
    experiments=("duplication",),
    predicate="trained with one round, evaluated with eight: accuracy at most 99 %",
    judge=judged_by(Part("trained lsh_1, evaluated lsh_8: accuracy at most 99 %", _not_solved, decisive=True)),
)

CLAIMS = (C8, FASTAI_DUPLICATION)
