"""What the paper says of memory: its arithmetic, and its Tables 1 and 3."""

from collections.abc import Sequence

import numpy as np

from ablations.claims.chunks import chunk_of, regime
from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.claims.parts import Answer, Part, at_least, at_most, judged_by, true
from ablations.claims.readings import across, by_seed, peak, points, slope_share
from ablations.harness.ledger import Unpredicted, predicted
from ablations.harness.work import NUMBER_BYTES
from ablations.report.groups import Group
from ablations.report.lines import Fit, exponent, slope
from ablations.report.statistics import CannotTell, Estimate, scaled
from ablations.report.units import EXPONENT, PERCENT, RATIO, listed, three_digits

TRAINING = "forward_backward"
DENSE = ("dense", "reversible_only")
TOLERANCE = 0.1
"""Of a number of copies, from one triple of lengths to another."""


def _peaks(evidence: Evidence, experiment: str, **conditions: str | float) -> tuple[Group, ...]:
    return evidence.measured(experiment, kind="memory", scope="model", mode=TRAINING, **conditions)


def _weights(evidence: Evidence) -> Answer:
    """Bytes of parameters against four for every number that the config says there are."""
    groups = [group for variant in DENSE for group in _peaks(evidence, "depth", variant=variant)]
    shares = []
    for group in groups:
        # Neither the device nor the number type changes how many there are, and the account is of these.
        counted = predicted(group.cell.model_copy(update={"device": "cpu", "dtype": "float32"}))
        if isinstance(counted, Unpredicted):
            raise NoEvidenceError(counted.because)
        shares += [found.parameter_bytes / counted.parameters for found in group.peaks]
    return true(
        f"{three_digits(min(shares) * 4)} to {three_digits(max(shares) * 4)} bytes for each number",
        groups,
        holds=all(share == 1 for share in shares),
    )


def _streams(evidence: Evidence) -> Answer:
    """Bytes of the streams that a step keeps, in units of batch x length x width floats."""
    groups = [group for group in _peaks(evidence, "depth") if any(found.ledger for found in group.peaks)]
    if not groups:
        missing = dict.fromkeys(
            found.ledger_missing or "" for group in _peaks(evidence, "depth") for found in group.peaks
        )
        raise NoEvidenceError(f"depth has no ledger of the peak: {'; '.join(missing)}")
    counts = [
        found.ledger.streams / _floats(group, group.cell.config.d_model)
        for group in groups
        for found in group.peaks
        if found.ledger
    ]
    return true(
        f"{listed(sorted(set(counts)))} times batch x length x d_model floats",
        groups,
        holds=all(number >= 1 and number == round(number) for number in counts),
    )


def _floats(group: Group, width: int) -> int:
    """Bytes of a vector of this width for each token of a step."""
    cell = group.cell
    return NUMBER_BYTES[cell.dtype] * cell.batch * cell.length * width


C1 = Claim(
    id="C1",
    place="section 1",
    says="Memory is what arithmetic says: 4 bytes for each parameter, and for each token of a step 4 x d_model bytes.",
    paper="0.5 billion parameters are 2 GB; 64K tokens x 1,024 x batch 8 are 0.5 billion floats, 2 GB (seen in 2 "
    "places; the arithmetic holds: 1.86 and 2.00 GiB)",
    experiments=("depth",),
    predicate="measured parameter bytes are 4 x the count from the config, to the byte; residual streams that are kept "
    "are a whole number of batch x length x d_model floats",
    judge=judged_by(
        Part("bytes of a parameter", _weights, decisive=True),
        Part("kept streams", _streams),
    ),
)


def _copies(evidence: Evidence) -> Answer:
    """The part of the peak that grows with the square of the length, in units of b x h x l x l floats."""
    groups = sorted(_peaks(evidence, "sequence_length", variant="dense"), key=lambda group: group.cell.length)
    if len(groups) < 4:
        raise NoEvidenceError(f"the same quadratic part shows at four lengths or more, there are {len(groups)}")
    triples = [groups[at : at + 3] for at in range(len(groups) - 2)]
    counts = [count for triple in triples for count in _quadratic(triple)]
    last = counts[-1]
    return true(
        f"{listed([float(f'{one:.3g}') for one in counts])} copies, by divided differences of three lengths at a time",
        groups,
        holds=last >= 1 and all(abs(count / last - 1) <= TOLERANCE for count in counts),
    )


def _quadratic(triple: Sequence[Group]) -> list[float]:
    """Of each seed: the second divided difference leaves out what is constant and what is linear."""
    readings = [by_seed(group, peak) for group in triple]
    xs = [group.cell.length for group in triple]
    cell = triple[0].cell
    square = NUMBER_BYTES[cell.dtype] * cell.batch * cell.config.n_heads
    seeds = sorted(set.intersection(*map(set, readings)))
    return [float(np.polyfit(xs, [reading[seed] for reading in readings], 2)[0]) / square for seed in seeds]


C2 = Claim(
    id="C2",
    place="section 2",
    says="Attention weights of 64K x 64K take 16 GB in float32 even for one sequence: memory for every pair of "
    "positions.",
    paper="16 GB for one head and one sequence (one origin; the arithmetic holds: 16.0 GiB)",
    experiments=("sequence_length",),
    predicate="the part of the dense model's peak that is quadratic in length is copies x batch x heads x length^2 x 4 "
    f"bytes, one copy at least, and as many at all lengths within {100 * TOLERANCE:.0f} %",
    judge=judged_by(Part("copies of batch x heads x length^2 floats", _copies, decisive=True)),
)


def _hidden_per_layer(variant: str) -> Part:
    def ask(evidence: Evidence) -> Answer:
        groups = _peaks(evidence, "depth", variant=variant)
        found = slope(points(groups, "n_layers"))
        hidden = _floats(groups[0], groups[0].cell.config.d_ff)
        copies = found if isinstance(found, CannotTell) else scaled(found.slope, 1 / hidden)
        return at_least(copies, 1, RATIO, groups)

    return Part(f"a layer of {variant} adds, of batch x length x d_ff floats, at least 1", ask)


C3 = Claim(
    id="C3",
    place="section 3",
    says="Feed-forward activations of every layer are kept: with d_ff of 4K and 16 layers, 64K tokens take 16 GB.",
    paper="16 GB (seen in 2 places; the arithmetic holds: 16.0 GiB for one sequence in float32)",
    experiments=("depth",),
    predicate="each layer that is not reversible adds at least batch x length x d_ff x 4 bytes to the peak",
    judge=judged_by(*(_hidden_per_layer(variant) for variant in ("dense", "lsh_only"))),
)


def _length_exponent(evidence: Evidence, variant: str) -> tuple[Estimate | CannotTell, tuple[Group, ...]]:
    groups = _peaks(evidence, "sequence_length", variant=variant)
    found = exponent(points(groups, "length"))
    return (found.slope if isinstance(found, Fit) else found), groups


def _quadratic_dense(evidence: Evidence) -> Answer:
    found, groups = _length_exponent(evidence, "dense")
    return at_least(found, 1.8, EXPONENT, groups)


def _linear_lsh(evidence: Evidence) -> Answer:
    found, groups = _length_exponent(evidence, "lsh_only")
    return at_most(found, 1.15, EXPONENT, groups)


def _linear_in_rounds(evidence: Evidence) -> Answer:
    groups = sorted(_peaks(evidence, "hash_rounds", variant="lsh_only"), key=lambda group: _rounds(group))
    if len(groups) < 3:
        raise NoEvidenceError(f"a line shows at three counts of hash rounds, there are {len(groups)}")
    xs = [_rounds(group) for group in groups]

    def share_explained(ys: Sequence[float]) -> float:
        """Of a line that rises; what falls is none."""
        correlation = float(np.corrcoef(xs, ys)[0, 1]) if np.ptp(ys) else 0.0
        return correlation * abs(correlation)

    return at_least(across(groups, peak, share_explained), 0.98, EXPONENT, groups)


def _rounds(group: Group) -> float:
    return float(group.settings.get("n_hashes", 0))


C4 = Claim(
    id="C4",
    place="Table 1",
    says="Dense attention takes memory for the square of the length; LSH attention for the length, times hash rounds.",
    paper="max(b n_h l d_k, b n_h l^2) against max(b n_h l d_k, b n_h l n_r (4l/n_c)^2) (one origin, 2 copies; the "
    "last factor taken literally makes LSH lose up to a length of n_r x 16,384, so only the growth is tested)",
    experiments=("sequence_length", "hash_rounds"),
    predicate="exponent of peak memory over the top three octaves of length: dense at least 1.8, LSH at most 1.15; "
    "over hash rounds a rising line explains at least 98 % of the variance",
    judge=judged_by(
        Part("dense, exponent of peak memory over length at least 1.8", _quadratic_dense),
        Part("LSH, exponent of peak memory over length at most 1.15", _linear_lsh, decisive=True),
        Part(
            "LSH, share of the variance over hash rounds that a rising line explains at least 0.98", _linear_in_rounds
        ),
    ),
)


def _depth_share(reversible: str, other: str, bound: float = 0.05) -> Part:
    def ask(evidence: Evidence) -> Answer:
        one, two = (_peaks(evidence, "depth", variant=variant) for variant in (reversible, other))
        return at_most(slope_share(one, two, "n_layers", peak), bound, PERCENT, (*one, *two))

    return Part(f"a layer of {reversible} adds, of what one of {other} adds, at most {100 * bound:.0f} %", ask)


def _chunked(evidence: Evidence) -> Answer:
    """What chunks save of the peak, as a share of the hidden layer's bytes that no longer exist at once."""
    whole, chunked = regime(evidence, widest=True)
    gone = _floats(whole, whole.cell.config.d_ff) * (1 - chunk_of(chunked) / whole.cell.length)
    saved = across((whole, chunked), peak, lambda pair: (pair[0] - pair[1]) / gone)
    return at_least(saved, 0.5, RATIO, (whole, chunked))


C5 = Claim(
    id="C5",
    place="Table 3",
    says="Reversible layers take the number of layers out of activation memory; chunks take the feed-forward width "
    "out.",
    paper="max(b l d_ff, b n_h l^2) n_l; reversible without n_l; chunked and reversible max(b l d_model, b n_h l^2); "
    "Reformer max(b l d_model, b n_h l n_r c) (one origin, 2 copies)",
    experiments=("depth", "feed_forward_chunks"),
    predicate="slope of peak memory over layers, parameters and gradients left out: reversible at most 5 % of plain, "
    "with dense and with LSH attention; where d_ff is widest, chunks save at least half of the hidden layer's bytes",
    judge=judged_by(
        _depth_share("reversible_only", "dense"),
        _depth_share("reformer", "lsh_only"),
        Part("chunks save, of the hidden layer's bytes that they leave out, at least 0.5", _chunked),
    ),
)

CLAIMS = (C1, C2, C3, C4, C5)
