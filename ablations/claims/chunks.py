"""The cells of `feed_forward_chunks`: the feed-forward half whole and in its shortest chunks, in two regimes."""

from ablations.claims.evidence import Evidence, NoEvidenceError
from ablations.report.groups import Group

EXPERIMENT = "feed_forward_chunks"


def regime(evidence: Evidence, *, widest: bool) -> tuple[Group, Group]:
    """The group that takes the sequence at once, and the one of the shortest chunks, at the longest length.

    Args:
        evidence: Of one machine.
        widest: Whether d_ff is as many times d_model as it gets, or as few times.

    Raises:
        NoEvidenceError: One of the two has no result.
    """
    groups = evidence.measured(EXPERIMENT, kind="memory", variant="reformer")
    width = (max if widest else min)(_width(group) for group in groups)
    own = [group for group in groups if _width(group) == width]
    longest = max(group.cell.length for group in own)
    own = [group for group in own if group.cell.length == longest]
    whole = [group for group in own if chunk_of(group) >= longest]
    chunked = [group for group in own if chunk_of(group) < longest]
    if not whole or not chunked:
        raise NoEvidenceError(f"{EXPERIMENT} has no pair of whole and chunked results at length={longest}")
    return whole[0], min(chunked, key=chunk_of)


def _width(group: Group) -> float:
    return group.cell.config.d_ff / group.cell.config.d_model


def chunk_of(group: Group) -> int:
    """Positions that go through the feed-forward half at a time."""
    return group.cell.config.ff_chunk_len or group.cell.length
