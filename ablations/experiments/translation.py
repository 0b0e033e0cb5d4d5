"""Does a reversible encoder-decoder translate as well as an ordinary one?

Run alone: `python run_all.py --profile paper-cpu --only translation`. Cost on two cores: about six minutes. A proxy
for the paper's Table 4, whose WMT 2014 is far beyond a small machine: English to German on Multi30k, BLEU by
sacrebleu. Attention is dense, as in the paper: its sentences are shorter than a chunk. What was found stands in
`reports/index.md`.
"""

from typing import Any

from ablations.experiments.learning import Values, steady, training_grid
from ablations.harness.experiment import Experiment, Scale
from ablations.harness.training import Learn, Multi30k

TINY = {"vocab_size": 500, "d_model": 32, "n_heads": 2, "d_head": 16, "d_ff": 64, "cross_attention": True}
SMALL = {"vocab_size": 2000, "d_model": 128, "n_heads": 4, "d_head": 32, "d_ff": 512, "cross_attention": True}
BASE = {"vocab_size": 8000, "d_model": 512, "n_heads": 8, "d_head": 64, "d_ff": 2048, "cross_attention": True}
"""Width, heads and hidden width of the Transformer's base model."""

PAIR: Values = ("transformer", "reversible_separate_qk")


def _learn(steps: int, learning_rate: float, *, evaluations: int, windows: int, translated: int) -> Learn:
    return Learn(
        task=Multi30k(translated=translated),
        recipe=steady(steps, learning_rate),
        evaluate_every=max(1, steps // evaluations),
        evaluation_windows=windows,
    )


def _scale(
    model: dict[str, Any], workload: Learn, *, batch: int, length: int, n_layers: int, seeds: Values, dropout: float
) -> Scale:
    common = {**model, "tie_embeddings": True, "dropout": dropout}
    grid = training_grid(PAIR, workload, seeds=seeds, batch=batch, length=length, n_layers=(n_layers,))
    return Scale(model=common, grids=(grid,))


EXPERIMENT = Experiment(
    name="translation",
    title="Translation with reversible layers",
    question="After the same steps on the same pairs of sentences, how do a reversible and an ordinary encoder-decoder "
    "translate?",
    scales={
        "smoke": _scale(
            TINY,
            _learn(4, 1e-2, evaluations=2, windows=8, translated=8),
            batch=8,
            length=48,
            n_layers=1,
            seeds=(0,),
            dropout=0.0,
        ),
        "paper-cpu": _scale(
            SMALL,
            _learn(600, 3e-3, evaluations=4, windows=256, translated=1000),
            batch=32,
            length=48,
            n_layers=2,
            seeds=(0, 1, 2),
            dropout=0.1,
        ),
        "paper": _scale(
            BASE,
            _learn(5000, 7e-4, evaluations=10, windows=1014, translated=1000),
            batch=128,
            length=64,
            n_layers=6,
            seeds=(0, 1, 2),
            dropout=0.1,
        ),
    },
)
