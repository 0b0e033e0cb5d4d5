"""Long-Range Arena's Table 2, and when lucidrains' users found LSH attention to pay."""

from collections.abc import Sequence

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import Answer, Part, at_least, at_most, judged_by, never_here, noted, said
from ablations.claims.readings import peak, ratio, seconds
from ablations.report.groups import Group
from ablations.report.units import RATIO

FOOTNOTE = (
    "Arena's Reformer is quadratic: n_hashes=1 and always 10 chunks, so that its windows are a fifth of any length; "
    "its hash is the same at every step, its scores are multiplied by the root of the width, and it has neither a mask "
    "for itself nor an output projection. What it shows is no evidence against the paper"
)
ARENA = "long_range_arena"


def _pairs(evidence: Evidence, kind: str, one: str, other: str) -> list[tuple[Group, Group]]:
    sides = [
        {group.cell.length: group for group in evidence.measured(ARENA, kind=kind, variant=variant)}
        for variant in (one, other)
    ]
    common = sorted(sides[0].keys() & sides[1].keys())
    if not common:
        raise NoEvidenceError(f"{ARENA} has no length at which both {one} and {other} have a result")
    return [(sides[0][length], sides[1][length]) for length in common]


def _slower(*, longest: bool) -> Part:
    def ask(evidence: Evidence) -> Answer:
        pair = _pairs(evidence, "time", "transformer", "reformer")[-1 if longest else 0]
        return at_most(ratio(*pair, seconds), 1, RATIO, pair).adding(f" at length {pair[0].cell.length:,}")

    where = "longest" if longest else "shortest"
    return Part(f"speed of the Reformer over the Transformer's at the {where} length at most 1", ask, decisive=longest)


def _beside(variant: str) -> Part:
    def words(evidence: Evidence) -> tuple[str, Sequence[Group]]:
        pair = _pairs(evidence, "time", variant, "reformer")[-1]
        return f"{said(ratio(*pair, seconds), RATIO)} at length {pair[0].cell.length:,}", pair

    return noted(f"speed of the Reformer over that of {variant}", words)


LRA_SPEED = Claim(
    id="LRA-speed",
    place="Long-Range Arena, Table 2",
    says="On texts of bytes the Reformer is slower than the Transformer: half its speed at 1K, four fifths at 4K.",
    paper="steps a second at 1K, 2K, 3K, 4K: Transformer 8.1, 4.9, 2.3, 1.4; Reformer 4.4, 2.2, 1.5, 1.1; local 9.2, "
    "8.4, 7.4, 7.4 (seen in 2 places)",
    experiments=(ARENA,),
    predicate="a training step of our Reformer takes at least the Transformer's time at the shortest and at the "
    "longest length",
    judge=judged_by(
        _slower(longest=False),
        _slower(longest=True),
        *map(_beside, ("dense_fused", "local_only")),
        note=FOOTNOTE,
    ),
)


def _smaller(evidence: Evidence) -> Answer:
    pair = _pairs(evidence, "memory", "transformer", "reformer")[-1]
    return at_least(ratio(*pair, peak), 2, RATIO, pair).adding(f" at length {pair[0].cell.length:,}")


LRA_MEMORY = Claim(
    id="LRA-memory",
    place="Long-Range Arena, Table 2",
    says="At 4K tokens the Reformer takes a fraction of the Transformer's memory.",
    paper="peak GB at 1K, 2K, 3K, 4K: Transformer 0.85, 2.65, 5.51, 9.48; Reformer 0.48, 0.99, 1.53, 2.28, at 4K 4.2 "
    "times less (seen in 2 places)",
    experiments=(ARENA,),
    predicate="peak memory of a training step at the longest length of both: the Transformer's at least twice our "
    "Reformer's",
    judge=judged_by(
        Part(
            "peak memory of the Transformer over the Reformer's at the longest length at least 2",
            _smaller,
            decisive=True,
        ),
        note=FOOTNOTE,
    ),
)

LRA_QUALITY = Claim(
    id="LRA-quality",
    place="Long-Range Arena, Table 1",
    says="Over six tasks the Reformer falls behind the Transformer.",
    paper="average accuracy 50.67 against 54.39; ListOps 37.27, 36.37; text 56.10, 64.27; retrieval 53.40, 57.46; "
    "image 38.07, 42.44; Pathfinder 68.50, 71.40 (seen in 3 places; a second implementation has ListOps 19.05, average "
    "55.04)",
    experiments=(),
    predicate="none: its tasks are not among our experiments",
    judge=never_here(
        "No experiment here trains on Arena's tasks, and one of its data sets, AAN, cannot be had. Ranks flip between "
        f"the two published implementations. {FOOTNOTE}"
    ),
)

SHORT, PAYS = 512, 2048
"""Lengths that issue 43 names."""


def _slower_when_short(evidence: Evidence) -> Answer:
    pairs = _training(evidence)
    short = [pair for pair in pairs if pair[0].cell.length <= SHORT]
    if not short:
        raise NoEvidenceError(f"sequence_length has no times of both at a length of {SHORT} or less")
    return at_most(ratio(*short[-1], seconds), 1, RATIO, short[-1])


def _faster_when_long(evidence: Evidence) -> Answer:
    long = [pair for pair in _training(evidence) if pair[0].cell.length > PAYS]
    if not long:
        raise NoEvidenceError(f"sequence_length has no times of both beyond a length of {PAYS:,}")
    return at_least(ratio(*long[-1], seconds), 1, RATIO, long[-1])


def _training(evidence: Evidence) -> list[tuple[Group, Group]]:
    sides = [
        {
            group.cell.length: group
            for group in evidence.measured("sequence_length", kind="time", mode="forward_backward", variant=variant)
        }
        for variant in ("dense", "lsh_only")
    ]
    common = sorted(sides[0].keys() & sides[1].keys())
    return [(sides[0][length], sides[1][length]) for length in common]


LUCIDRAINS_SPEED = Claim(
    id="LUCIDRAINS-speed",
    place="lucidrains/reformer-pytorch, issue 43",
    says="LSH attention is slower than dense on short sequences and pays off from about 2,048 tokens on.",
    paper="about 8 times slower below 512 tokens, payoffs only at about 2,048 or above (one origin)",
    experiments=("sequence_length",),
    predicate="a training step with LSH attention takes at least the dense model's time at up to 512 tokens, and at "
    "most its time at the longest length of both, which is beyond 2,048",
    judge=judged_by(
        Part("time of dense over LSH at up to 512 tokens at most 1", _slower_when_short),
        Part("time of dense over LSH beyond 2,048 tokens at least 1", _faster_when_long),
    ),
)

CLAIMS = (LRA_SPEED, LRA_MEMORY, LRA_QUALITY, LUCIDRAINS_SPEED)
