"""What steps answer: what a variant takes against another, and along an axis what it takes at both of its ends."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from ablations.harness.cell import LSH_PEERS
from ablations.harness.measurement import PeakBytes
from ablations.report.axes import axis_words
from ablations.report.charts.scaling import along_length
from ablations.report.comparison import paired
from ablations.report.sentences import OF_INTEREST, SET_AGAINST, Ends, are_alike, ends, first_and_last, sure, undecided
from ablations.report.statistics import CannotTell, Estimate, of_readings
from ablations.report.style import rank
from ablations.report.units import BYTES, RATIO, setting
from ablations.report.views import ExperimentResults, KindResults

ACROSS = ("length", "n_layers", None)
"""Axes along which variants are compared at the far end; along any other, the two ends of one variant are."""

MODES = ("training_step", "forward_backward", "forward")
"""Of a step: the first of these that was measured."""

STEPS = {
    "training_step": "a training step",
    "forward_backward": "a forward and backward pass",
    "forward": "a forward pass",
}


def step_answers(results: ExperimentResults) -> Iterator[str]:
    """Of time and memory, of attention alone and whole models, whichever were measured."""
    kinds = [along_length(kind) for kind in results.kinds if kind.kind in ("time", "memory")]
    # Reversible layers are about memory: over depth it comes first, elsewhere time does.
    for kind in sorted(kinds, key=lambda kind: (kind.horizontal == "n_layers") == (kind.kind == "time")):
        mode = next((mode for mode in MODES if mode in kind.modes), None)
        if mode:
            yield from _far_end(kind, mode) if kind.horizontal in ACROSS or kind.compares else _both_ends(kind, mode)


def _far_end(kind: KindResults, mode: str) -> Iterator[str]:
    """What is of interest against what it is set against, at the farthest place where both have a result."""
    found = ends(kind, mode)
    name = next((name for name in OF_INTEREST if any(name == series.variant for series, _ in found)), None)
    pairs = [(one, other) for one in found if one[0].variant == name for other in found if _is_beside(one, other)]
    if not pairs:
        what = f"no other variant has one beside {name}" if name else f"none of {', '.join(OF_INTEREST)} has one"
        yield f"Cannot tell how {_of(kind, mode)} compares: of those with a result, {what}."
        return
    mine, other = min(pairs, key=lambda pair: (_order(pair[1], kind), -_place(pair[0])))
    beside = [end for one, end in pairs if one is mine and _is_another(end)] if kind.compares else []
    yield _ratios(kind, mode, mine, {f"one of {end[0].label}": end for end in beside or [other]})
    starts = _starts(mine, other, found)
    if starts and other[1].cell.implementation not in LSH_PEERS:
        grown = _per_layer if (kind.kind, kind.horizontal) == ("memory", "n_layers") else _growth
        yield from grown((mine, other), starts, kind)


def _is_another(end: Ends) -> bool:
    return end[1].cell.implementation != "ours"


def _order(end: Ends, kind: KindResults) -> tuple[bool, int, tuple[int, str]]:
    """Of a comparison, another's code comes before our own."""
    variant = end[0].variant
    known = SET_AGAINST.index(variant) if variant in SET_AGAINST else len(SET_AGAINST)
    return kind.compares and not _is_another(end), known, rank(variant)


def _place(end: Ends) -> float:
    return end[0].place(end[1]) or 0.0


def _is_beside(mine: Ends, other: Ends) -> bool:
    """Whether they are of two variants, at one place, and alike in all settings that both vary."""
    same_place = mine[0].place(mine[1]) == other[0].place(other[1])
    return mine[0].variant != other[0].variant and same_place and are_alike(mine[0], other[0])


def _starts(mine: Ends, other: Ends, found: Sequence[Ends]) -> list[Ends]:
    """Both at the first place where both have a result; none if that is where they stand."""
    lines = [{_place(one): one for one in found if one[0].label == end[0].label} for end in (mine, other)]
    first = min(lines[0].keys() & lines[1].keys())
    return [line[first] for line in lines] if first < _place(mine) else []


def _growth(last: Sequence[Ends], first: Sequence[Ends], kind: KindResults) -> Iterator[str]:
    grown = [paired(end[1], start[1]) for end, start in zip(last, first, strict=True)]
    told = [
        f"{_times(ratio)} with {end[0].label} ({_sure(ratio)})"
        for ratio, end in zip(grown, last, strict=True)
        if isinstance(ratio, Estimate)
    ]
    if len(told) == len(grown):
        what = "time" if kind.kind == "time" else "peak"
        yield f"{_from(first[0], last[0], kind)}, the {what} changes by a factor of {' and '.join(told)}."


def _per_layer(last: Sequence[Ends], first: Sequence[Ends], kind: KindResults) -> Iterator[str]:
    told = []
    for end, start in zip(last, first, strict=True):
        peak, whole = (_added_by_layer(end, start, held=held) for held in (False, True))
        if peak and whole:
            held = f"{BYTES.text(whole.value)} with parameters and gradients"
            told.append(
                f"{BYTES.text(peak.value)} to the peak of {end[0].label} ({held}; {sure(whole, BYTES, 'round')})"
            )
    if len(told) == len(last):
        yield f"{_from(first[0], last[0], kind)} each layer adds on average {' and '.join(told)}."


def _added_by_layer(last: Ends, first: Ends, *, held: bool) -> Estimate | None:
    """Bytes of the peak, from rounds that measured both ends; what the parameters hold is beside it."""
    layers = _place(last) - _place(first)
    most, least = last[1].peaks_by_seed, first[1].peaks_by_seed
    both = [(most[seed], least[seed]) for seed in sorted(most.keys() & least.keys())]
    exact = all(peak.method == "profiler_allocation_events" for pair in both for peak in pair)
    added = [(_bytes(one, held=held) - _bytes(other, held=held)) / layers for one, other in both]
    return of_readings(added, exact=exact) if added else None


def _bytes(peak: PeakBytes, *, held: bool) -> int:
    return peak.peak_bytes + (peak.parameter_bytes + peak.gradient_bytes if held else 0)


def _both_ends(kind: KindResults, mode: str) -> Iterator[str]:
    """What a variant takes along the axis against what it takes without that setting, else at its other end."""
    lines = [list(found) for _, found in groupby(ends(kind, mode), key=lambda one: one[0].label)]
    name = next((name for name in OF_INTEREST if any(_is_line(one, name) for one in lines)), None)
    own = [line for line in lines if _is_line(line, name)]
    if not own:
        yield f"Cannot tell how {_of(kind, mode)} changes: no variant of interest has a result at two places."
    for line in first_and_last(own):
        yield _along(line, kind, mode)


def _is_line(line: Sequence[Ends], name: str | None) -> bool:
    return line[0][0].variant == name and len(line) > 1


def _along(line: Sequence[Ends], kind: KindResults, mode: str) -> str:
    without = [one for one in line if one[0].place(one[1]) is None]
    placed = [one for one in line if one[0].place(one[1]) is not None]
    base = f"one without {_axis(kind)}" if without else f"one at {setting(_place(placed[0]))}"
    said = _ratios(kind, mode, placed[-1], {base: (without or placed)[0]})
    ratio = paired(placed[0][1], without[0][1]) if without and len(placed) > 1 else None
    if not isinstance(ratio, Estimate):
        return said
    return f"{said.removesuffix('.')}, and at {setting(_place(placed[0]))}, {_times(ratio)} times ({_sure(ratio)})."


def _of(kind: KindResults, mode: str) -> str:
    return STEPS[mode] if kind.scope == "model" else f"{STEPS[mode]} of attention alone"


def _axis(kind: KindResults) -> str:
    return axis_words(kind.horizontal).plain if kind.horizontal else ""


def _from(first: Ends, last: Ends, kind: KindResults) -> str:
    return f"From {_axis(kind)} {setting(_place(first))} to {setting(_place(last))}"


def _ratios(kind: KindResults, mode: str, mine: Ends, others: Mapping[str, Ends]) -> str:
    """The ratio of the one to each of the others, by what that is called."""
    of, what = _of(kind, mode), "as long as" if kind.kind == "time" else "the peak memory of"
    ratios = {name: paired(mine[1], other[1]) for name, other in others.items()}
    told = [
        f"{_times(one)} times {what} {name} ({_sure(one)})" for name, one in ratios.items() if isinstance(one, Estimate)
    ]
    if not told:
        reasons = "; ".join(f"with {name}: {one.reason}" for name, one in ratios.items() if isinstance(one, CannotTell))
        return f"Cannot tell how {of} of {mine[0].label} compares {reasons}."
    opening = f"At {_axis(kind)} {setting(_place(mine))}, {of}" if kind.horizontal else of.capitalize()
    return f"{opening} of {mine[0].label} {'takes' if kind.kind == 'time' else 'needs'} {', '.join(told)}."


def _times(ratio: Estimate) -> str:
    return RATIO.text(ratio.value).removesuffix(" x")


def _sure(ratio: Estimate) -> str:
    return sure(ratio, RATIO, "round").replace(" x,", ",") + undecided(ratio, 1.0)
