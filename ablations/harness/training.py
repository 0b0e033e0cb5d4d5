"""What a training run is: its task, its recipe, and what the trained model is asked in the end. No torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reformer.config import Count, Frozen, Pattern, ReformerConfig


class Enwik8(Frozen):
    """Bytes of Wikipedia, the next from those before; see `ablations.data.enwik8`.

    Attributes:
        kind: Tells tasks apart.
    """

    kind: Literal["enwik8"] = "enwik8"


class Images64(Frozen):
    """Photographs of 64 x 64 pixels as bytes, red, green and blue of each pixel, row by row; `ablations.data.images64`.

    Attributes:
        kind: Tells tasks apart.
    """

    kind: Literal["images64"] = "images64"


class Duplication(Frozen):
    """A word of random symbols, written twice: 0w0w (paper, section 2.1, Table 2). The second writing counts.

    Attributes:
        kind: Tells tasks apart.
        n_symbols: From 1 to this many; 0 stands before each writing.
        shorter: Until which step sequences are of which lesser length, in order; none for the paper's task.
    """

    kind: Literal["duplication"] = "duplication"
    n_symbols: Count = 127
    shorter: tuple[tuple[Count, Count], ...] = ()


class Multi30k(Frozen):
    """Descriptions of pictures, from English to German; see `ablations.data.multi30k`.

    The cell's config is the decoder's; the encoder is like it but reads in both directions, `encoder_of`. Its
    `vocab_size` is that of one vocabulary of word pieces for both languages.

    Attributes:
        kind: Tells tasks apart.
        beam_size: Of the search for a translation in the end.
        translated: Sentences of the test part that are translated in the end.
    """

    kind: Literal["multi30k"] = "multi30k"
    beam_size: Count = 1
    translated: Count = 1000


Task = Annotated[Enwik8 | Images64 | Duplication | Multi30k, Field(discriminator="kind")]

Schedule = Literal["linear_decay", "constant", "inverse_root"]
"""After the warm-up: down to a tenth at the last step in a line; as it is; or as `warmup_steps / step` to the power of
one half, as in the authors' code."""

Optimiser = Literal["adam", "adafactor"]
"""Adam with betas 0.9 and 0.98 and an epsilon of 1e-9 (the authors' code), or Adafactor (paper, section 5)."""


class Recipe(Frozen):
    """How a model is trained.

    Attributes:
        steps: Of the optimiser.
        learning_rate: Reached after `warmup_steps`.
        warmup_steps: Steps of linear increase.
        schedule: What follows.
        optimiser: Which.
        clip_norm: Longest gradient, over all parameters together; `None` for any.
        autocast: What matrices are multiplied in; `None` for the type of the parameters.
        stop_at_accuracy: Share of right predictions at which an evaluation ends the run; `None` takes all steps.
    """

    steps: Count
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Count
    schedule: Schedule = "linear_decay"
    optimiser: Optimiser = "adam"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    autocast: Literal["bfloat16"] | None = None
    stop_at_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None


class Condition(Frozen):
    """Another way to evaluate a trained model, its weights as they are.

    Attributes:
        name: Unique in its workload.
        attention: In place of the one that it was trained with; `None` for that one.
        silenced: Layers, counted from 0, whose attention half adds nothing.
    """

    name: str
    attention: Pattern | None = None
    silenced: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = ()


class Learn(Frozen):
    """Training, evaluated along the way and, in the end, under further conditions.

    Attributes:
        kind: Tells workloads apart.
        task: What is learned.
        recipe: How.
        evaluate_every: Steps between two evaluations; the last step is always evaluated.
        evaluation_windows: Sequences held out, the same at every evaluation.
        conditions: Under which the trained model is evaluated too.
        observed_windows: Of these sequences, so many in which attention is looked at in the end; who meets whom in the
            first of them is noted, to be drawn.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or two conditions have one name.
    """

    kind: Literal["learn"] = "learn"
    task: Task = Enwik8()
    recipe: Recipe
    evaluate_every: Count
    evaluation_windows: Count
    conditions: tuple[Condition, ...] = ()
    observed_windows: Annotated[int, Field(ge=0, strict=True)] = 0

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Learn":
        names = [condition.name for condition in self.conditions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"conditions have the name {name!r} {names.count(name)} times; give each its own")
        return self


def encoder_of(decoder: ReformerConfig) -> ReformerConfig:
    """The encoder that stands before this decoder."""
    return ReformerConfig(**dict(decoder) | {"causal": False, "cross_attention": False})


BYTES = 256
IMAGE_LEN = 64 * 64 * 3


def check_training(workload: Learn, config: ReformerConfig, length: int) -> None:
    """A model of this config can be trained so on sequences of this length.

    Raises:
        ValueError: It cannot; names the field, its value and the remedy.
    """
    _check_task(workload.task, config, length)
    if isinstance(workload.task, Multi30k) and (workload.conditions or workload.observed_windows):
        raise ValueError("conditions and observed_windows are for language models; leave them out with task 'multi30k'")
    if workload.recipe.stop_at_accuracy is not None and not isinstance(workload.task, Duplication):
        raise ValueError(
            f"stop_at_accuracy={workload.recipe.stop_at_accuracy} needs a task that counts right predictions, "
            f"'duplication', and not {workload.task.kind!r}"
        )
    for condition in workload.conditions:
        _check_condition(condition, config)


def _check_task(task: Task, config: ReformerConfig, length: int) -> None:
    translates, needed = isinstance(task, Multi30k), BYTES
    if translates != config.cross_attention:
        raise ValueError(f"cross_attention={config.cross_attention} does not go with task {task.kind!r}")
    if isinstance(task, Duplication):
        needed = task.n_symbols + 1
        for one in (length, *(shorter for _, shorter in task.shorter)):
            if one % 2 or one < 4 or one > length:
                raise ValueError(f"length={one} of 0w0w must be even, 4 at least and no more than the cell's {length}")
    if isinstance(task, Images64) and length > IMAGE_LEN:
        raise ValueError(f"length={length} is more than the {IMAGE_LEN} bytes of a picture")
    if not translates and config.vocab_size < needed:
        raise ValueError(f"vocab_size={config.vocab_size} has no room for the {needed} symbols of task {task.kind!r}")


def _check_condition(condition: Condition, config: ReformerConfig) -> None:
    for layer in condition.silenced:
        if layer >= config.n_layers:
            raise ValueError(f"condition {condition.name!r} silences layer {layer} of {config.n_layers}, from 0 on")
    config_under(condition, config)


def config_under(condition: Condition, config: ReformerConfig) -> ReformerConfig:
    """The config with the condition's attention; a bucket count that it does not state follows from `max_len`.

    Raises:
        pydantic.ValidationError: There can be no such model.
    """
    if condition.attention is None:
        return config
    return ReformerConfig(**dict(config) | {"attention": condition.attention})
