"""How well models learn: Figures 3 and 5 (left), and Table 4, at the sizes that we could train."""

from itertools import pairwise

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.learned import MARGIN_WORDS, SHORT_RUNS, alike, no_worse, trained
from ablations.claims.parts import Answer, Part, at_least, at_most, below, every, judged_by, true, within
from ablations.claims.readings import across, bits, bleu, by_seed, difference, mean_bits, trained_numbers
from ablations.report.groups import Group
from ablations.report.statistics import CannotTell, mean_of
from ablations.report.units import BITS_PER_BYTE, Unit

BLEU = Unit("BLEU", ((1.0, ""),), decimals=1)
FACTORS = ("enwik8_factors", "images64_factors")


def _faster(evidence: Evidence) -> Answer:
    pair = [trained(evidence, "enwik8_factors", variant) for variant in ("dense", "dense_separate_qk")]
    return at_most(difference(pair[0], pair[1], mean_bits), 0, BITS_PER_BYTE, pair)


C9 = Claim(
    id="C9",
    place="section 5, Figure 3 (left)",
    says="Shared queries and keys do not perform worse, and on enwik8 learn slightly faster.",
    paper='"does not perform worse than regular attention"; "appears to train slightly faster" (the text seen in 2 '
    "places; values of the curves could not be had)",
    experiments=FACTORS,
    predicate="final held-out bits with shared queries and keys less those with separate ones at most the margin, on "
    f"both data sets; on enwik8 the mean over all evaluations is no higher. {MARGIN_WORDS}",
    judge=judged_by(
        no_worse("enwik8_factors", "dense", "dense_separate_qk", decisive=True),
        no_worse("images64_factors", "dense", "dense_separate_qk"),
        Part("enwik8: mean bits over evaluations, shared less separate, at most 0", _faster),
        note=SHORT_RUNS,
    ),
)


def _same_count(evidence: Evidence) -> Answer:
    pair = [trained(evidence, "enwik8_factors", variant) for variant in ("reversible_separate_qk", "transformer")]
    found = across(pair, trained_numbers, lambda counts: counts[0] / counts[1])
    if isinstance(found, CannotTell):
        return Answer("cannot tell", found.reason, tuple(pair))
    return true(f"{found.value:.5f} times as many", pair, holds=all(abs(one - 1) <= 0.001 for one in found.readings))


C10 = Claim(
    id="C10",
    place="section 5, Figure 3 (right)",
    says="Reversible layers learn as the ordinary Transformer does, with as many parameters.",
    paper='curves "nearly the same" (the text seen in 2 places; values of the curves could not be had)',
    experiments=FACTORS,
    predicate="final held-out bits of reversible and ordinary Transformer, and of the two-stream model with and "
    f"without reversal, differ by at most the margin; parameters within 0.1 %. {MARGIN_WORDS}",
    judge=judged_by(
        alike("enwik8_factors", "reversible_separate_qk", "transformer", decisive=True),
        alike("images64_factors", "reversible_separate_qk", "transformer"),
        alike("enwik8_factors", "reversible_only", "dense"),
        Part("parameters of reversible and ordinary Transformer within 0.1 %", _same_count),
        note=SHORT_RUNS,
    ),
)


def _deeper(evidence: Evidence) -> Answer:
    groups = evidence.measured("enwik8_depth", kind="learn", variant="reformer")
    groups = tuple(sorted(groups, key=lambda group: group.cell.config.n_layers))
    if len(groups) < 2:
        raise NoEvidenceError("enwik8_depth has results at one depth only")
    return every([_better(shallow, deep) for shallow, deep in pairwise(groups)])


def _better(shallow: Group, deep: Group) -> Answer:
    names = f"{deep.cell.config.n_layers} less {shallow.cell.config.n_layers} layers"
    return below(difference(deep, shallow, bits), 0, BITS_PER_BYTE, (deep, shallow)).named(names)


C14B = Claim(
    id="C14b",
    place="section 5, Figure 5 (left)",
    says="On enwik8 Reformers clearly improve with the number of layers.",
    paper='"clear improvement with the number of layers" (the text seen in 2 places; values could not be had; depths '
    "of 3, 6, 12, 20 recalled, unverified)",
    experiments=("enwik8_depth",),
    predicate="final held-out bits after equal steps are lower at each further depth",
    judge=judged_by(
        Part("bits of each depth less those of the one before below 0", _deeper, decisive=True), note=SHORT_RUNS
    ),
)


def _translates(evidence: Evidence) -> Answer:
    """That there is something to compare: of two models that cannot translate nothing follows."""
    group = trained(evidence, "translation", "transformer")
    found = at_least(mean_of(list(by_seed(group, bleu).values())), 10, BLEU, [group])
    if found.state == "fails":
        raise NoEvidenceError(f"translation: the Transformer itself does not translate yet, BLEU {found.words}")
    return found


def _as_well(evidence: Evidence) -> Answer:
    pair = [trained(evidence, "translation", variant) for variant in ("reversible_separate_qk", "transformer")]
    return within(difference(pair[0], pair[1], bleu), 1, BLEU, pair)


C17 = Claim(
    id="C17",
    place="section 5, Table 4",
    says="A reversible encoder-decoder translates as well as the Transformer does.",
    paper="newstest2014 English to German, BLEU: Transformer base 27.3, big 28.4; reversible base 27.6, after 500K "
    "steps 28.0; big 29.1 (the whole table has one origin; 27.6 seen in 3 places, 29.1 in 2)",
    experiments=("translation",),
    predicate="by a proxy, Multi30k English to German: BLEU of reversible and ordinary model differ by at most 1, and "
    "the ordinary one reaches 10",
    judge=judged_by(
        Part("BLEU of the Transformer at least 10", _translates, decisive=True),
        Part("BLEU of reversible and ordinary model differ by at most 1", _as_well, decisive=True),
        note="A proxy: WMT14 cannot be had here, and sentences of Multi30k are short; LSH attention is in neither",
    ),
)
CLAIMS = (C9, C10, C17, C14B)
