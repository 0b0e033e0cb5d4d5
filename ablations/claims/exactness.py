"""What should come out equal: chunks (C6), inverted layers and parameters (C7), and what a position may see (C20)."""

from collections.abc import Sequence

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import Answer, Part, judged_by, never_here, noted, true
from ablations.claims.readings import by_seed, counted_numbers
from ablations.harness.measurement import Discrepancy
from ablations.report.groups import Group

IDENTICAL = 1e-6
INVERTED = 1e-5
EQUAL_COUNT = 0.001
PAIRS = (("reversible_separate_qk", "transformer"), ("reversible_only", "dense"), ("reformer", "lsh_only"))


def _discrepancies(groups: Sequence[Group]) -> list[tuple[Group, Discrepancy]]:
    return [(group, one) for group in groups for one in group.measurements if isinstance(one, Discrepancy)]


def _chunked(evidence: Evidence) -> Answer:
    groups = evidence.measured("chunking", kind="exactness", check="chunking", dtype="float32")
    found = _discrepancies(groups)
    worst = max(one.largest_difference for _, one in found)
    fewest = min(one.n_compared for _, one in found)
    words = f"{worst:.2g} at most, of {fewest:,} numbers or more in each of {len(found)} comparisons"
    return true(words, groups, holds=worst <= IDENTICAL and fewest > 0)


C6 = Claim(
    id="C6",
    place="sections 1 and 3",
    says="Chunking the feed-forward half gives numerically identical results.",
    paper='"numerically identical" (seen in 2 places)',
    experiments=("chunking",),
    predicate="largest difference of loss and gradients in chunks from those in one piece, float32: at most 1e-6",
    judge=judged_by(Part("largest difference in float32 at most 1e-6", _chunked, decisive=True)),
)


def _inverted(evidence: Evidence) -> Answer:
    groups = evidence.measured("inversion", kind="exactness", check="inversion", dtype="float32", grid_bits=None)
    found = _discrepancies(groups)
    worst: dict[str, tuple[float, int]] = {}
    for group, one in found:
        here = (one.relative_difference, group.cell.config.n_layers)
        worst[group.variant] = max(worst.get(group.variant, here), here)
    words = "; ".join(f"{variant} {error:.2g} at most, at {depth} layers" for variant, (error, depth) in worst.items())
    holds = all(one.relative_difference <= INVERTED and one.n_compared > 0 for _, one in found)
    return true(words, groups, holds=holds)


def _elsewhere(evidence: Evidence) -> tuple[str, Sequence[Group]]:
    """Other types of numbers, and streams on a grid."""
    groups = [
        group
        for group in evidence.measured("inversion", kind="exactness", check="inversion")
        if group.cell.dtype != "float32" or group.cell.config.grid_bits is not None
    ]
    if not groups:
        raise NoEvidenceError("inversion has float32 without a grid only")
    worst: dict[str, float] = {}
    for group, one in _discrepancies(groups):
        bits = group.cell.config.grid_bits
        name = group.cell.dtype if bits is None else f"{group.cell.dtype} on a grid of {bits} bits"
        worst[name] = max(worst.get(name, 0.0), one.relative_difference)
    return "; ".join(f"{name} {value:.2g}" for name, value in worst.items()), groups


def _counts(reversible: str, other: str) -> Part:
    def ask(evidence: Evidence) -> Answer:
        pair = [
            evidence.one("parameters", kind="exactness", check="parameters", variant=variant)
            for variant in (reversible, other)
        ]
        one, two = (next(iter(by_seed(group, counted_numbers).values())) for group in pair)
        return true(f"{one:,.0f} against {two:,.0f}", pair, holds=abs(one / two - 1) <= EQUAL_COUNT)

    return Part(f"parameters of {reversible} within 0.1 % of those of {other}", ask)


C7 = Claim(
    id="C7",
    place="section 3, equation 8",
    says="Reversible layers give back their inputs, with as many parameters as the baseline.",
    paper="equal by construction of equation 8 (seen in 2 places); the fast.ai team's models had 40,035,075 and "
    "40,034,051 parameters",
    experiments=("inversion", "parameters"),
    predicate="relative error of rebuilt inputs in float32 at most 1e-5 at every depth; parameters within 0.1 % of the "
    "baseline's; other number types are reported",
    judge=judged_by(
        Part("relative error of rebuilt inputs in float32 at most 1e-5", _inverted, decisive=True),
        *(_counts(*pair) for pair in PAIRS),
        noted("relative error elsewhere", _elsewhere),
    ),
)

C20 = Claim(
    id="C20",
    place="section 2, equations 2 to 6",
    says="A position attends to itself only if it may attend to nothing else, never to what comes later, and to a key "
    "that it meets in several rounds once.",
    paper="scores less 1e5 for itself, infinity for other buckets and what is later, log N for duplicates (seen in 3 "
    "places; the released code has no mask for other buckets and does not count duplicates)",
    experiments=(),
    predicate="none over records: they hold what was measured, not what each position saw",
    judge=never_here(
        "No record tells what a position may see. Tests do, exactly: LSH attention against brute force over explicit "
        "masks, one chunk and round against dense attention, gradients of the past with respect to the future, and "
        "duplicates, all in tests/reformer/test_attention.py"
    ),
)

CLAIMS = (C6, C7, C20)
