"""What no machine within reach can test: full training runs (C15, C16), and parameters that are swapped out (C19)."""

from collections.abc import Sequence

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError, label
from ablations.claims.parts import never_here, noted, said
from ablations.claims.readings import bits, by_seed
from ablations.harness.measurement import LearningCurve
from ablations.harness.work import ceiling_of
from ablations.report.groups import Group
from ablations.report.statistics import mean_of
from ablations.report.units import BITS_PER_BYTE, FLOPS, three_digits

LAYERS, WIDTH, FEED_FORWARD, TOKENS, SEQUENCES, STEPS = 12, 1024, 4096, 65536, 8, 20_000
"""The paper's run on enwik8."""
HOUR = 3600
TEXT = ("enwik8_depth", "enwik8_factors", "learn_enwik8")
"""Experiments that train a Reformer on enwik8."""


def training_flops() -> float:
    """Of that run, attention's scores not counted: six for each weight of a layer and token, forward and backward."""
    weights = LAYERS * (3 * WIDTH**2 + 2 * WIDTH * FEED_FORWARD)
    return 6.0 * weights * TOKENS * SEQUENCES * STEPS


def _arithmetic(evidence: Evidence) -> tuple[str, Sequence[Group]]:
    tokens = TOKENS * SEQUENCES * STEPS
    words = (
        f"{STEPS:,} steps x {SEQUENCES} x {TOKENS:,} are {tokens:.3g} tokens and at least {training_flops():.2g} FLOP"
    )
    ceiling = ceiling_of(evidence.results.records)
    rates = ceiling.flops_per_second if ceiling else {}
    if not rates:
        return f"{words}; how fast this machine multiplies was not measured", ()
    rate = max(rates.values())
    hours = three_digits(training_flops() / rate / HOUR)
    return f"{words}; {hours} hours at this machine's fastest matrix products, {FLOPS.text(rate)}", ()


def _short_run(evidence: Evidence) -> tuple[str, Sequence[Group]]:
    """The best that a Reformer reached here on the same text."""
    groups: list[Group] = []
    reasons = []
    for experiment in TEXT:
        try:
            groups += evidence.measured(experiment, kind="learn", variant="reformer")
        except NoEvidenceError as reason:
            reasons.append(str(reason))
    if not groups:
        raise NoEvidenceError("; ".join(reasons))
    results = [(mean_of(list(by_seed(group, bits).values())), group) for group in groups]
    best, group = min(results, key=lambda result: result[0].value)
    curves = [one for one in group.measurements if isinstance(one, LearningCurve)]
    tokens = max(one.tokens_per_step * one.evaluations[-1].step for one in curves if one.evaluations)
    return f"{said(best, BITS_PER_BYTE)} held-out bits per byte, {label(group)}, after {tokens:,} tokens", (group,)


NOTES = (noted("what it takes", _arithmetic), noted("our best short run of a Reformer on enwik8", _short_run))
OUT_OF_REACH = "The run is out of reach here; a short one says nothing of where a long one ends"


def _bits_claim(name: str, says: str, paper: str, because: str) -> Claim:
    return Claim(
        id=name,
        place="section 5",
        says=says,
        paper=paper,
        experiments=TEXT,
        predicate="none at this scale: held-out bits within 0.02 of the paper's after the paper's steps",
        judge=never_here(because, *NOTES),
    )


C15 = _bits_claim(
    "C15",
    "A 12-layer Reformer reaches 1.19 bits per byte on enwik8's test part after 20K steps.",
    "1.19 with dropout of 0.1 (seen in 2 places)",
    OUT_OF_REACH,
)
C16 = _bits_claim(
    "C16",
    "With longer training, tuning and improvements it reaches 1.05 bits per byte.",
    "1.05 (seen in 4 places)",
    f"{OUT_OF_REACH}; what the tuning and the improvements were is not told, and neither are the steps",
)

C19 = Claim(
    id="C19",
    place="section 3",
    says="Parameters of layers that do not compute can be kept in the host's memory, at a cost that large steps pay "
    "off.",
    paper="no number (seen in 2 places)",
    experiments=(),
    predicate="none: nothing here swaps parameters",
    judge=never_here("The suite has no layer that is swapped out, so there is no time to compare"),
)

CLAIMS = (C15, C16, C19)
