"""Is it LSH attention that learns, or the local attention beside it?

Run alone: `python run_all.py --profile paper-cpu --only enwik8_controls`. Cost on two cores: about three minutes. The
controls that the paper lacks. Its released model for text is three quarters local attention, and a released checkpoint
was found to predict nearly as well without its LSH layers. So: local attention only, local and LSH layers in turn, LSH
only and dense, trained alike; the mixed model evaluated with each LSH layer silenced, with all of them, and with dense
attention in their place; and how much of dense attention's weight LSH layers see, round by round.
What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.experiments.learning import LARGE, SMALL, TINY, Values, learn_text, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Condition, Learn
from reformer.config import DenseAttention, LocalAttention

MIXED = "local_only+lsh_only"
"""Local layers and LSH layers in turn."""


def _silenced(n_layers: int, chunk_len: int) -> tuple[Condition, ...]:
    hashing = range(1, n_layers, 2)
    dense = (LocalAttention(chunk_len=chunk_len), DenseAttention())
    return (
        *(Condition(name=f"without_lsh_{layer}", silenced=(layer,)) for layer in hashing),
        Condition(name="without_lsh", silenced=tuple(hashing)),
        Condition(name="without_local", silenced=tuple(range(0, n_layers, 2))),
        Condition(name="dense", attention=dense),
    )


def _scale(
    model: dict[str, Any],
    plain: Learn,
    *,
    batch: int,
    length: int,
    n_layers: int,
    chunk_len: int,
    seeds: Values,
    backend: str,
    dense: str = "dense",
) -> Scale:
    hashing = plain.model_copy(update={"observed_windows": 4})
    mixed = hashing.model_copy(update={"conditions": _silenced(n_layers, chunk_len)})
    fixed: dict[str, Any] = {"seeds": seeds, "batch": batch, "length": length, "n_layers": (n_layers,)}
    chunks: dict[str, Any] = {"chunk_len": (chunk_len,)}
    rounds: dict[str, Any] = {"n_hashes": (2,), "backend": (backend,)}
    return Scale(
        model=model,
        grids=(
            training_grid((dense,), plain, **fixed),
            training_grid(("local_only",), plain, **fixed, **chunks),
            training_grid((MIXED,), mixed, **fixed, **chunks, **rounds),
            training_grid(("lsh_only",), hashing, **fixed, **chunks, **rounds),
        ),
    )


EXPERIMENT = Experiment(
    name="enwik8_controls",
    title="Local attention as a control",
    question="How many bits per byte do LSH layers save that local attention does not, and what becomes of a mixed "
    "model without them?",
    scales={
        "smoke": _scale(
            TINY, learn_text(4, 1e-2, 4), batch=2, length=64, n_layers=2, chunk_len=8, seeds=(0,), backend="blocked"
        ),
        "paper-cpu": _scale(
            SMALL,
            learn_text(250, 3e-3, 64),
            batch=4,
            length=256,
            n_layers=4,
            chunk_len=16,
            seeds=(0, 1, 2),
            backend="blocked",
        ),
        "paper": _scale(
            {**LARGE, "positions": {"kind": "axial", "shape": (64, 128), "dims": (256, 768)}},
            learn_text(1000, 3e-4, 64, autocast="bfloat16"),
            batch=1,
            length=8192,
            n_layers=6,
            chunk_len=128,
            seeds=(0, 1, 2),
            backend="triton",
            dense="dense_query_chunked",
        ),
    },
)
