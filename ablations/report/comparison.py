"""Several implementations of one thing side by side: blocks of rows, each set against one of ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablations.harness.cell import LSH_PEERS
from ablations.report.groups import Group, samples
from ablations.report.statistics import CannotTell, Estimate, of_readings, paired_ratio
from ablations.report.style import rank
from ablations.report.views import KindResults
from reformer.config import LSHAttention, default_bucket_count

NOT_COMPARED = frozenset({"backend", "min_samples", "seconds"})
"""Settings that may differ between what is compared: of the code, and how long it is sampled."""


@dataclass(frozen=True)
class Block:
    """Everything that does what one of ours does, under the same conditions.

    Attributes:
        base: The one of ours; `None` where none is planned.
        groups: All of the block, `base` first. What lacks a setting of it, as dense attention lacks hash rounds, stands
            in the block of each of its values.
        asides: Ours again, with bucket counts that are no peer's and are not the default ones.
    """

    base: Group | None
    groups: tuple[Group, ...]
    asides: tuple[Group, ...] = ()


def blocks(kind: KindResults, mode: str) -> tuple[Block, ...]:
    """The comparisons in one mode, in order of the columns of a table."""
    groups = kind.ordered(mode)
    asides = [group for group in groups if _is_aside(group, groups)]
    bases = [group for group in groups if is_base(group) and not any(group is aside for aside in asides)]
    found = [
        Block(base, (base, *_beside(base, groups)), tuple(one for one in asides if _same_but_buckets(base, one)))
        for base in bases
    ]
    placed = {id(group) for block in found for group in (*block.groups, *block.asides)}
    alone = tuple(group for group in groups if id(group) not in placed)
    return (*found, *([Block(None, alone)] if alone else []))


def is_base(group: Group) -> bool:
    """Ours, and of whole models the Reformer."""
    cell = group.cell
    return cell.implementation == "ours" and (cell.scope == "attention" or cell.config.residual == "reversible")


def _beside(base: Group, groups: Iterable[Group]) -> list[Group]:
    others = [group for group in groups if not is_base(group) and _same_conditions(base, group)]
    return sorted(others, key=lambda group: rank(group.variant))


def _is_aside(group: Group, groups: Iterable[Group]) -> bool:
    """Whether its bucket counts are not the default ones, while another of ours has those, and no peer shares them."""
    if not is_base(group) or _has_default_buckets(group):
        return False
    usual = [one for one in groups if is_base(one) and _has_default_buckets(one) and _same_but_buckets(one, group)]
    peers = [one for one in groups if one.cell.implementation in LSH_PEERS and _same_conditions(group, one)]
    return bool(usual) and not peers


def _has_default_buckets(group: Group) -> bool:
    config = group.cell.config
    hashing = [one for one in config.attentions if isinstance(one, LSHAttention)]
    return all(one.n_buckets == default_bucket_count(config.max_len, one.chunk_len) for one in hashing)


def _same_but_buckets(base: Group, group: Group) -> bool:
    return _same_conditions(base, group, besides=NOT_COMPARED | {"n_buckets"})


def _same_conditions(base: Group, group: Group, *, besides: frozenset[str] = NOT_COMPARED) -> bool:
    common = base.settings.keys() & group.settings.keys() - besides
    return all(base.settings[name] == group.settings[name] for name in common)


def ratio_to(base: Group | None, group: Group) -> Estimate | CannotTell | None:
    """Time or bytes of the one over the other's, from rounds that measured both; `None` of the base itself."""
    if group is base:
        return None
    if base is None:
        return CannotTell("ours is not planned")
    return paired(group, base)


def paired(group: Group, base: Group) -> Estimate | CannotTell:
    """The ratio of the one to the other, from rounds that measured both."""
    pairs = _pairs(group, base)
    if not pairs:
        return CannotTell("no round measured both")
    if group.kind == "memory":
        exact = all(peak.method == "profiler_allocation_events" for peak in (*group.peaks, *base.peaks))
        return of_readings([one[0] / other[0] for one, other in pairs], exact=exact)
    return paired_ratio(pairs)


def _pairs(group: Group, base: Group) -> list[tuple[Sequence[float], Sequence[float]]]:
    one, other = _by_seed(group), _by_seed(base)
    return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def _by_seed(group: Group) -> dict[int, Sequence[float]]:
    if group.kind == "memory":
        return {seed: (float(peak.peak_bytes),) for seed, peak in group.peaks_by_seed.items()}
    return {seed: samples(times) for seed, times in group.times_by_seed.items()}
