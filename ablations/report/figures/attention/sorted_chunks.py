"""One round as the paper's Figure 2 draws it: sorted by bucket and cut into chunks; beside it how full buckets are."""

import numpy as np
from matplotlib.axes import Axes

from ablations.harness.measurement import AttentionPattern
from ablations.report import attention_pattern
from ablations.report.figures import canvas
from ablations.report.figures.attention.drawn import Drawn
from ablations.report.figures.attention.loads import draw_loads, loads_in_words
from ablations.report.figures.attention.planes import HIDDEN, MISSED, OTHER, SAME, UNSEEN, Plane, label, show, squares
from ablations.report.figures.canvas import NEUTRAL, Figure, gid_of
from ablations.report.units import count

TITLE = "Attention in sorted chunks"

HIDDEN_PAIR, UNRELATED, OUT_OF_REACH, MET_OTHER, MET_SAME = range(5)
"""What holds of a pair: it may not be seen; neither of the others; one bucket, not met; met, of two; met, of one."""


def sorted_figure(drawn: Drawn, name: str) -> Figure:
    """The first round as the paper's Figure 2 draws it, and the buckets of all rounds."""
    pattern = drawn.last
    order, plane = attention_pattern.sorted_positions(pattern)[0], _relations(pattern)
    with canvas.styled(name):
        drawing, (in_order, loads) = canvas.side_by_side(2, shared=False, inches=4.4)
        colours = [HIDDEN, UNSEEN, MISSED, OTHER, SAME]
        show(in_order, plane[np.ix_(order, order)], colours, gid_of("plane", "sorted"))
        _outline_windows(in_order, pattern)
        label(in_order, "sorted by bucket", "place in the first round's order")
        draw_loads(loads, pattern)
        words = ("met, same bucket", "met, other bucket", "same bucket, not met", "neither", "may not be seen")
        canvas.legend(drawing, squares(zip(words, reversed(colours), strict=True)))
        caption = (
            f"{TITLE}, first of {count(len(pattern.buckets), 'round')} ({drawn.where}). Left: rows are queries and "
            f"columns keys, in the order of buckets, cut into chunks of {attention_pattern.chunk_len(pattern)}; lines "
            f"outline what each chunk of queries looks at. {_ends_in_words(pattern)}Right: positions in each bucket, a "
            "line for each round; the dashed line is the mean, where all would lie if they were equally full."
        )
        values = " ".join([_relations_in_words(plane), *map(loads_in_words, drawn.patterns)])
        return canvas.finished(drawing, name, title=TITLE, caption=caption, values=values)


def _relations(pattern: AttentionPattern) -> Plane:
    """What holds of each pair in the first round, relation_LL."""
    met_LL, alike_LL = attention_pattern.meetings(pattern)[0], attention_pattern.same_bucket(pattern)[0]
    relation_LL = np.where(alike_LL, np.where(met_LL, MET_SAME, OUT_OF_REACH), np.where(met_LL, MET_OTHER, UNRELATED))
    return np.where(attention_pattern.allowed(pattern), relation_LL, HIDDEN_PAIR)


def _relations_in_words(plane: Plane) -> str:
    n_allowed = int((plane != HIDDEN_PAIR).sum())
    met, same = int((plane >= MET_OTHER).sum()), int((plane == MET_SAME).sum())
    lost = int((plane == OUT_OF_REACH).sum())
    return (
        f"Of {count(n_allowed, 'pair')} that may be seen {met:,} meet in this round, {same:,} of them of one bucket; "
        f"{count(lost, 'pair')} of one bucket do not meet."
    )


def _ends_in_words(pattern: AttentionPattern) -> str:
    """What lies outside the outlines: the first chunks look back, and the last ones ahead, at the other end."""
    lsh, n_chunks = pattern.attention, attention_pattern.chunks_per_round(pattern)
    is_ring = lsh.wrap == "across_rounds" and len(pattern.buckets) > 1
    # In another round no bucket is the same.
    if lsh.wrap == "none" or (is_ring and lsh.same_bucket_only) or (not is_ring and n_chunks == 1):
        return ""
    last, following = (f" of the {one} round, whose order is another" if is_ring else "" for one in ("last", "second"))
    back, ahead = min(lsh.n_chunks_before, n_chunks), min(lsh.n_chunks_after, n_chunks)
    looking_back = f"The first {_looking(back)} back at the last {_chunks(back)}{last}. " if back else ""
    return looking_back + (
        f"The last {_looking(ahead)} ahead at the first {_chunks(ahead)}{following}. " if ahead else ""
    )


def _chunks(n_chunks: int) -> str:
    return "chunk" if n_chunks == 1 else f"{n_chunks} chunks"


def _looking(n_chunks: int) -> str:
    return f"{_chunks(n_chunks)} {'looks' if n_chunks == 1 else 'look'}"


def _outline_windows(axes: Axes, pattern: AttentionPattern) -> None:
    """One line around what each chunk looks at within its round."""
    width, lsh = attention_pattern.chunk_len(pattern), pattern.attention
    xs: list[float] = []
    ys: list[float] = []
    for number in range(attention_pattern.chunks_per_round(pattern)):
        top, bottom = number * width, min((number + 1) * width, pattern.length)
        left = max(0, number - lsh.n_chunks_before) * width
        right = min((number + 1 + lsh.n_chunks_after) * width, pattern.length)
        xs += [left, right, right, left, left, np.nan]
        ys += [top, top, bottom, bottom, top, np.nan]
    axes.plot(np.array(xs) - 0.5, np.array(ys) - 0.5, color=NEUTRAL, linewidth=0.5, gid=gid_of("windows", "sorted"))
