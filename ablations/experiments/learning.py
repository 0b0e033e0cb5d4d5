"""What the experiments on quality share: recipes, and grids of training runs."""

from collections.abc import Iterable
from typing import Any

from ablations.harness.experiment import Grid
from ablations.harness.training import Condition, Learn, Recipe
from reformer.config import LSHAttention

TINY: dict[str, Any] = {"vocab_size": 256, "d_model": 32, "n_heads": 2, "d_head": 16, "d_ff": 64}
"""Shows that everything runs, and learns next to nothing."""

SMALL: dict[str, Any] = {"vocab_size": 256, "d_model": 96, "n_heads": 3, "d_head": 32, "d_ff": 384}
"""What two cores train in minutes."""

LARGE: dict[str, Any] = {"vocab_size": 256, "d_model": 1024, "n_heads": 8, "d_head": 128, "d_ff": 4096}
"""The paper's width (section 5)."""

Values = tuple[int | str, ...]


def steady(steps: int, learning_rate: float, **changes: Any) -> Recipe:  # noqa: ANN401  (fields of a recipe)
    """A tenth of the steps to warm up, then down in a line."""
    return Recipe(steps=steps, learning_rate=learning_rate, warmup_steps=max(1, steps // 10), **changes)


def learn_text(steps: int, learning_rate: float, windows: int, **changes: Any) -> Learn:  # noqa: ANN401  (of a recipe)
    """Training on enwik8, evaluated five times on so many windows."""
    return Learn(
        recipe=steady(steps, learning_rate, **changes),
        evaluate_every=max(1, steps // 5),
        evaluation_windows=windows,
    )


def in_rounds(rounds: Iterable[int], chunk_len: int) -> tuple[Condition, ...]:
    """Evaluated with LSH attention of so many rounds each: `lsh_8` and so on."""
    return tuple(
        Condition(name=f"lsh_{n_hashes}", attention=LSHAttention(n_hashes=n_hashes, chunk_len=chunk_len))
        for n_hashes in rounds
    )


def training_grid(
    variants: Values,
    workload: Learn,
    *,
    seeds: Values,
    batch: int,
    length: int,
    n_layers: Values,
    model: dict[str, Any] | None = None,
    **attention: Values,
) -> Grid:
    """One training run of each variant at each point of the axes.

    Args:
        variants: Names.
        workload: What they are trained for.
        seeds: One run each.
        batch: Sequences in a step.
        length: Tokens in each.
        n_layers: Depths.
        model: Fields in which this grid differs from its scale's.
        attention: Further axes, as `n_hashes`.
    """
    axes: dict[str, Values] = {
        "seed": seeds,
        "batch": (batch,),
        "n_layers": n_layers,
        "length": (length,),
        "variant": variants,
    }
    return Grid(workloads=(workload,), axes=axes | attention, model=model or {})
