"""What others say against the paper: that LSH attention is not needed, or learns less than dense attention."""

from collections.abc import Callable, Sequence

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.learned import SHORT_RUNS, compared, trained, trained_dense
from ablations.claims.parts import Answer, Part, at_least, at_most, judged_by, noted, said
from ablations.claims.readings import bits, bits_under, difference
from ablations.claims.rounds import ROUNDS_EXPERIMENT, by_rounds
from ablations.harness.training import Learn
from ablations.report.groups import Group
from ablations.report.statistics import mean_of
from ablations.report.units import BITS_PER_BYTE, PERCENT

CONTROLS = "enwik8_controls"
MIXED = "local_only+lsh_only"
DEPENDS = 0.05
"""Bits per byte that a model must lose for us to say that it depends on what was taken away."""


def _mixed(evidence: Evidence) -> Group:
    return trained(evidence, CONTROLS, MIXED)


def _silenced(evidence: Evidence) -> Answer:
    group = _mixed(evidence)
    lost = difference(group, group, [bits_under("without_lsh"), bits])
    return at_most(lost, DEPENDS, BITS_PER_BYTE, [group])


def _local_is_enough(evidence: Evidence) -> Answer:
    pair = (trained(evidence, CONTROLS, "local_only"), _mixed(evidence))
    words, bound = compared(*pair)
    found = at_most(difference(*pair, bits), bound, BITS_PER_BYTE, pair)
    return found.adding(f"; {words}")


def _layer_by_layer(evidence: Evidence) -> tuple[str, Sequence[Group]]:
    group = _mixed(evidence)
    workload = group.cell.workload
    names = [one.name for one in workload.conditions] if isinstance(workload, Learn) else []
    losses = {name: difference(group, group, [bits_under(name), bits]) for name in names}
    words = [f"{name} {BITS_PER_BYTE.text(found.value)}" for name, found in losses.items() if hasattr(found, "value")]
    return "; ".join(words) or "no conditions", [group]


def _recall(evidence: Evidence) -> tuple[str, Sequence[Group]]:
    group = _mixed(evidence)
    seen: dict[int, list[float]] = {}
    for one in (one for curve in group.curves for one in curve.attention):
        seen.setdefault(one.layer, []).append(one.recall[-1])
    if not seen:
        raise NoEvidenceError(f"{CONTROLS} did not look at attention")
    words = [f"layer {layer} {said(mean_of(recalls), PERCENT)}" for layer, recalls in sorted(seen.items())]
    return ", ".join(words), [group]


HF_KEY_FEATURE = Claim(
    id="HF-key-feature",
    place="huggingface/transformers, issue 16972",
    says="A trained Reformer does not depend on its key feature, LSH attention.",
    paper="a model of local and LSH layers in turns, its LSH layers zeroed, has 2.35 to 2.71 bits on short inputs (one "
    "origin, an excerpt; numbers without zeroing not seen)",
    experiments=(CONTROLS,),
    predicate=f"silencing all LSH layers of the mixed model costs at most {DEPENDS} held-out bits per byte; a model "
    "with local attention alone is no worse than the mixed one beyond the margin (0.02 bits, or twice the standard "
    "deviation of seeds)",
    judge=judged_by(
        Part(f"bits that silencing all LSH layers costs at most {DEPENDS}", _silenced, decisive=True),
        Part("bits of local attention alone less those of the mixed model at most the margin", _local_is_enough),
        noted("bits that each condition costs", _layer_by_layer),
        noted("share of dense attention's weight that LSH layers see", _recall),
        note=SHORT_RUNS,
    ),
)


def _behind(what: str, pair_of: Callable[[Evidence], tuple[Group, Group]], *, decisive: bool = False) -> Part:
    """Whether the one's held-out bits exceed the other's by the margin or more: it learns less well."""

    def ask(evidence: Evidence) -> Answer:
        pair = pair_of(evidence)
        words, bound = compared(*pair)
        found = at_least(difference(*pair, bits), bound, BITS_PER_BYTE, pair)
        return found.adding(f"; {words}")

    return Part(what, ask, decisive)


def _behind_too(what: str, pair_of: Callable[[Evidence], tuple[Group, Group]]) -> Part:
    """The same where there is such a pair, as in other profiles: reported, not asked for."""

    def words(evidence: Evidence) -> tuple[str, Sequence[Group]]:
        pair = pair_of(evidence)
        return f"{said(difference(*pair, bits), BITS_PER_BYTE)}; {compared(*pair)[0]}", pair

    return noted(what, words)


def _text(evidence: Evidence) -> tuple[Group, Group]:
    return trained(evidence, CONTROLS, "lsh_only"), trained_dense(evidence, CONTROLS)


def _images(evidence: Evidence) -> tuple[Group, Group]:
    rounds = by_rounds(evidence)
    return rounds[max(rounds)], trained_dense(evidence, ROUNDS_EXPERIMENT)


LUCIDRAINS_QUALITY = Claim(
    id="LUCIDRAINS-quality",
    place="lucidrains/reformer-pytorch, issues 69 and 75",
    says="A Reformer does not learn as well as full attention, even with many hash rounds.",
    paper='"I no longer believe Reformer is able to learn as well as full attention, even at high hash rates" (one '
    "origin; its scores are the root of the head's width smaller than the authors')",
    experiments=(CONTROLS, ROUNDS_EXPERIMENT),
    predicate="final held-out bits with LSH attention less those with dense attention at least the margin (0.02 bits, "
    "or twice the standard deviation of seeds), on enwik8, and on images with most rounds",
    judge=judged_by(
        _behind("enwik8: bits of LSH less those of dense at least the margin", _text),
        _behind("images: bits of most rounds less those of dense at least the margin", _images),
        note=SHORT_RUNS,
    ),
)


def _dense(evidence: Evidence) -> tuple[Group, Group]:
    return trained(evidence, "learn_enwik8", "reformer"), trained_dense(evidence, "learn_enwik8")


FASTAI_QUALITY = Claim(
    id="FASTAI-quality",
    place="fast.ai team, ML Reproducibility Challenge 2020",
    says="A Reformer could not match the performance of a traditional Transformer.",
    paper="enwik8, 3 layers, one epoch: 1.674 bits of the Transformer, 2.250 reversible, 2.351 with LSH (one origin "
    "each, at different lengths; its lines were shuffled)",
    experiments=(CONTROLS, "learn_enwik8"),
    predicate="final held-out bits with LSH attention less those of the dense twin after equal steps at equal length, "
    "or of the Reformer less those of dense, at least the margin (0.02 bits, or twice the standard deviation of seeds)",
    judge=judged_by(
        _behind("enwik8_controls: bits of LSH less those of dense at least the margin", _text, decisive=True),
        _behind_too("learn_enwik8: bits of the Reformer less those of dense", _dense),
        note=SHORT_RUNS,
    ),
)

CLAIMS = (HF_KEY_FEATURE, LUCIDRAINS_QUALITY, FASTAI_QUALITY)
