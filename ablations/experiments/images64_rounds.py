"""How many hash rounds does it take to come near dense attention, and may they be added after training?

Run alone: `python run_all.py --profile paper-cpu --only images64_rounds`. Cost on two cores: about four minutes. The
paper's Figure 4, on photographs in raster order, and its remark in section 5 that rounds may be raised at evaluation
only. The paper says that 8 rounds almost match dense attention.
What was found stands in `reports/index.md`.
"""

from typing import Any

from ablations.experiments.images64_factors import LARGE_PICTURES, SMALL_PICTURES, TINY_PICTURES, learn_pictures
from ablations.experiments.learning import Values, in_rounds, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Learn

EVALUATED = (1, 2, 4, 8, 16)


def _learn(steps: int, learning_rate: float, windows: int, chunk_len: int, **changes: Any) -> Learn:  # noqa: ANN401
    return learn_pictures(
        steps, learning_rate, windows, conditions=in_rounds(EVALUATED, chunk_len), observed_windows=4, **changes
    )


def _scale(
    model: dict[str, Any],
    workload: Learn,
    *,
    batch: int,
    length: int,
    n_layers: int,
    chunk_len: int,
    seeds: Values,
    rounds: Values,
    dense: str,
    backend: str,
) -> Scale:
    fixed: dict[str, Any] = {"seeds": seeds, "batch": batch, "length": length, "n_layers": (n_layers,)}
    # Dense attention has no rounds to change.
    plain = workload.model_copy(update={"conditions": (), "observed_windows": 0})
    hashing = training_grid(
        ("lsh_only",), workload, **fixed, n_hashes=rounds, chunk_len=(chunk_len,), backend=(backend,)
    )
    return Scale(model=model, grids=(training_grid((dense,), plain, **fixed), hashing))


EXPERIMENT = Experiment(
    name="images64_rounds",
    title="Hash rounds on pictures",
    question="How many bits per dimension do few hash rounds cost in training, and what do more of them win later?",
    scales={
        "smoke": _scale(
            TINY_PICTURES,
            _learn(4, 1e-2, 4, 32),
            batch=2,
            length=192,
            n_layers=2,
            chunk_len=32,
            seeds=(0,),
            rounds=(1, 2),
            dense="dense",
            backend="blocked",
        ),
        "paper-cpu": _scale(
            SMALL_PICTURES,
            _learn(150, 3e-3, 32, 32),
            batch=2,
            length=768,
            n_layers=2,
            chunk_len=32,
            seeds=(0, 1, 2),
            rounds=(1, 2, 4, 8),
            dense="dense",
            backend="blocked",
        ),
        "paper": _scale(
            LARGE_PICTURES,
            _learn(1000, 3e-4, 32, 128, recipe={"autocast": "bfloat16"}),
            batch=1,
            length=12288,
            n_layers=3,
            chunk_len=128,
            seeds=(0, 1, 2),
            rounds=(1, 2, 4, 8, 16),
            # The scores of all pairs of 12,288 positions do not fit beside the activations of all layers.
            dense="dense_query_chunked",
            backend="triton",
        ),
    },
)
