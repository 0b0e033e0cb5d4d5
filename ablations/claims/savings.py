"""How much memory a whole Reformer saves: the abstract (C18), HuggingFace's blog, and the fast.ai team's report."""

from collections.abc import Sequence

from ablations.claims.chunks import regime
from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import Answer, Part, at_least, at_most, judged_by, noted, said
from ablations.claims.readings import Read, across, peak, ratio, seconds, slope_share, whole_peak
from ablations.report.groups import Group
from ablations.report.units import PERCENT, RATIO

TRAINING = "forward_backward"


def longest_of_both(
    evidence: Evidence, experiment: str, one: str, other: str, **conditions: str
) -> tuple[Group, Group]:
    """Groups of two variants at the longest length at which both have a result.

    Raises:
        NoEvidenceError: There is no such length.
    """
    sides = [
        {group.cell.length: group for group in evidence.measured(experiment, variant=variant, **conditions)}
        for variant in (one, other)
    ]
    common = sides[0].keys() & sides[1].keys()
    if not common:
        raise NoEvidenceError(f"{experiment} has no length at which both {one} and {other} have a result")
    return sides[0][max(common)], sides[1][max(common)]


def _longest(evidence: Evidence, other: str, kind: str) -> tuple[Group, Group]:
    return longest_of_both(evidence, "sequence_length", other, "reformer", kind=kind, mode=TRAINING)


def _memory(evidence: Evidence) -> Answer:
    pair = _longest(evidence, "dense", "memory")
    return at_least(ratio(*pair, peak), 10, RATIO, pair)


def _time(evidence: Evidence) -> Answer:
    pair = _longest(evidence, "dense", "time")
    return at_least(ratio(*pair, seconds), 1, RATIO, pair)


def _beside(variant: str, kind: str, read: Read) -> Part:
    """What the same ratio is against a stronger baseline."""

    def words(evidence: Evidence) -> tuple[str, Sequence[Group]]:
        pair = _longest(evidence, variant, kind)
        return f"{said(ratio(*pair, read), RATIO)} at length {pair[0].cell.length:,}", pair

    return noted(f"{kind} of {variant} over the Reformer's", words)


C18 = Claim(
    id="C18",
    place="abstract, sections 1 and 5",
    says="The Reformer is far more memory-efficient than the Transformer, and much faster on long sequences.",
    paper='"much more memory-efficient and much faster on long sequences", "orders of magnitude" (seen in 3 places; no '
    "length or ratio is named)",
    experiments=("sequence_length",),
    predicate="at the longest length that both run, a training step of the dense model (materialised) takes at least "
    "10 times the Reformer's peak memory, and at least its time; against fused and query-chunked attention it is "
    "reported",
    judge=judged_by(
        Part(
            "peak memory of dense over the Reformer's at the longest length of both at least 10", _memory, decisive=True
        ),
        Part("time of dense over the Reformer's at the longest length of both at least 1", _time),
        *(_beside(variant, "memory", peak) for variant in ("dense_query_chunked", "dense_fused")),
        *(_beside(variant, "time", seconds) for variant in ("dense_query_chunked", "dense_fused")),
    ),
)


def _blog_depth(evidence: Evidence) -> Answer:
    sides = [evidence.measured("blog_slopes", kind="memory", variant=name) for name in ("reformer", "transformer")]
    found = slope_share(sides[0], sides[1], "n_layers", whole_peak)
    return at_most(found, 0.3, PERCENT, [group for side in sides for group in side])


BLOG_DEPTH = Claim(
    id="BLOG-depth",
    place="HuggingFace's blog, 3 July 2020",
    says="With its parameters counted, a Reformer's training memory grows with depth far less than BERT's.",
    paper="4, 8, 12 layers: BERT 4,103, 5,759, 7,415 MB (414 a layer); Reformer 4,607, 4,987, 5,367 MB (95 a layer), a "
    "share of 0.23 (one origin)",
    experiments=("blog_slopes",),
    predicate="slope over layers of parameters, gradients and peak together: the Reformer's at most 30 % of the "
    "Transformer's",
    judge=judged_by(
        Part(
            "a layer of the Reformer adds, of what one of the Transformer adds, at most 30 %",
            _blog_depth,
            decisive=True,
        )
    ),
)


def _share_saved(evidence: Evidence, *, widest: bool) -> Answer:
    pair = regime(evidence, widest=widest)
    saved = across(pair, peak, lambda readings: 1 - readings[1] / readings[0])
    return at_least(saved, 0.2, PERCENT, pair) if widest else at_most(saved, 0.05, PERCENT, pair)


BLOG_CHUNKS = Claim(
    id="BLOG-chunks",
    place="HuggingFace's blog, 3 July 2020",
    says="Feed-forward chunks save memory where the feed-forward half dominates, and nothing elsewhere.",
    paper="usual widths 4,281 MB without chunks, 4,309 with; d_ff of 16,384 and 2 heads 3,743, 5,539, 9,087 MB "
    "without, 2,973, 3,999, 6,011 with (one origin)",
    experiments=("feed_forward_chunks",),
    predicate="the shortest chunks save at least 20 % of the peak where d_ff is widest, at most 5 % at usual widths",
    judge=judged_by(
        Part(
            "share of the peak that chunks save where d_ff is widest at least 20 %",
            lambda evidence: _share_saved(evidence, widest=True),
            decisive=True,
        ),
        Part(
            "share of the peak that chunks save at usual widths at most 5 %",
            lambda evidence: _share_saved(evidence, widest=False),
        ),
    ),
)


def _recomputation(evidence: Evidence) -> Answer:
    pair = longest_of_both(evidence, "sequence_length", "reversible_only", "dense", kind="time", mode=TRAINING)
    return at_least(ratio(*pair, seconds), 1, RATIO, pair)


def _not_twice(evidence: Evidence) -> Answer:
    pair = longest_of_both(evidence, "sequence_length", "reversible_only", "dense", kind="time", mode=TRAINING)
    return at_most(ratio(*pair, seconds), 1.7, RATIO, pair)


FASTAI_TIME = Claim(
    id="FASTAI-time",
    place="fast.ai team, ML Reproducibility Challenge 2020",
    says="Reversible layers cost about a third more time, for activations are computed again.",
    paper="616 s an epoch against 457 s, 1.35 times (one origin, read in its notebooks)",
    experiments=("sequence_length",),
    predicate="a training step with reversible layers takes 1 to 1.7 times as long as without, dense attention, "
    "longest length of both",
    judge=judged_by(
        Part("time of reversible over plain layers at least 1", _recomputation),
        Part("time of reversible over plain layers at most 1.7", _not_twice, decisive=True),
    ),
)

CLAIMS = (C18, BLOG_DEPTH, BLOG_CHUNKS, FASTAI_TIME)
