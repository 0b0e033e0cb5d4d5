"""Trained models side by side: which are meant, what counts as equal, and whether they are."""

from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import Answer, Part, at_most, within
from ablations.claims.readings import bits, by_seed, difference, spread
from ablations.report.groups import Group
from ablations.report.statistics import mean_of
from ablations.report.units import BITS_PER_BYTE

MARGIN = 0.02
"""Bits per token that count as equal, unless seeds of one and the same model lie further apart."""
MARGIN_WORDS = f"margin: {MARGIN} bits, or twice the standard deviation of the baseline's seeds if that is more"
SHORT_RUNS = (
    "Short runs: where models have learned little more than which byte follows which, that two are alike says little "
    "of what long training would show"
)
"""Of every comparison of training runs that are far from the paper's in length."""
SHARED_DENSE = ("dense", "dense_query_chunked", "dense_fused")
"""Variants that compute the same."""


def trained(evidence: Evidence, experiment: str, variant: str, **conditions: float) -> Group:
    """The only group of that variant that was trained."""
    return evidence.one(experiment, kind="learn", variant=variant, **conditions)


def trained_dense(evidence: Evidence, experiment: str) -> Group:
    """The only group with dense attention and shared queries and keys, whichever way it is computed.

    Raises:
        NoEvidenceError: There is none with a result, or several.
    """
    found = [group for group in evidence.measured(experiment, kind="learn") if group.variant in SHARED_DENSE]
    if len(found) != 1:
        raise NoEvidenceError(f"{experiment} has {len(found)} results with dense attention where one is compared with")
    return found[0]


def margin(baseline: Group) -> float:
    """What counts as equal: `MARGIN`, or twice the standard deviation of the baseline's seeds if that is more."""
    return max(MARGIN, 2 * (spread(baseline, bits) or 0.0))


def compared(one: Group, baseline: Group) -> tuple[str, float]:
    """Both results in words, and the margin."""
    results = [
        f"{group.variant} {BITS_PER_BYTE.text(mean_of(list(by_seed(group, bits).values())).value)}"
        for group in (one, baseline)
    ]
    bound = margin(baseline)
    return f"{results[0]} against {results[1]} bits, margin {BITS_PER_BYTE.text(bound)}", bound


def no_worse(experiment: str, variant: str, baseline: str, *, decisive: bool = False) -> Part:
    """Whether the one's held-out bits exceed the other's by no more than the margin."""

    def ask(evidence: Evidence) -> Answer:
        pair = (trained(evidence, experiment, variant), trained(evidence, experiment, baseline))
        words, bound = compared(*pair)
        found = at_most(difference(*pair, bits), bound, BITS_PER_BYTE, pair)
        return found.adding(f"; {words}")

    return Part(f"{experiment}: bits of {variant} less those of {baseline} at most the margin", ask, decisive)


def alike(experiment: str, variant: str, baseline: str, *, decisive: bool = False) -> Part:
    """Whether held-out bits differ by no more than the margin, either way."""

    def ask(evidence: Evidence) -> Answer:
        pair = (trained(evidence, experiment, variant), trained(evidence, experiment, baseline))
        words, bound = compared(*pair)
        found = within(difference(*pair, bits), bound, BITS_PER_BYTE, pair)
        return found.adding(f"; {words}")

    return Part(f"{experiment}: bits of {variant} and {baseline} differ by at most the margin", ask, decisive)
