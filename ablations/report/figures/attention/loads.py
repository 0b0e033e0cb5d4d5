"""How many positions each bucket holds, round by round."""

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from ablations.harness.measurement import AttentionPattern
from ablations.report import attention_pattern
from ablations.report.figures.attention.planes import FEW_TICKS, SAME
from ablations.report.figures.canvas import NEUTRAL, gid_of
from ablations.report.units import RATIO, count, listed


def draw_loads(axes: Axes, pattern: AttentionPattern) -> None:
    """A line for each round, from its fullest bucket to its emptiest."""
    load_RN = -np.sort(-attention_pattern.loads(pattern), axis=1)
    # One path for all of them: a gap lies between two.
    place = np.tile([*range(1, load_RN.shape[1] + 1), np.nan], len(load_RN))
    load = np.concatenate([[*load_N, np.nan] for load_N in load_RN])
    axes.plot(place, load, color=SAME, linewidth=0.9, alpha=0.7, gid=gid_of("load", str(pattern.layer)))
    axes.axhline(pattern.length / pattern.n_buckets, color=NEUTRAL, linewidth=1, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.locator_params(nbins=FEW_TICKS)
    axes.set_title("how full buckets are")
    axes.set_xlabel("buckets of a round, fullest first")
    axes.set_ylabel("positions in the bucket")
    sns.despine(ax=axes)


def loads_in_words(pattern: AttentionPattern) -> str:
    """The fullest bucket of each round, and how many are empty."""
    load_RN = attention_pattern.loads(pattern)
    fullest = [RATIO.text(float(load_N.max() / load_N.mean())) for load_N in load_RN]
    empty = [f"{int((load_N == 0).sum())}" for load_N in load_RN]
    return (
        f"Layer {pattern.layer}, {count(pattern.n_buckets, 'bucket')}: the fullest over the mean in each round "
        f"{listed(fullest)}; empty buckets {listed(empty)}."
    )
