"""A cell: everything that defines one measurement, and the id that follows from it."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from reformer.config import Count, Frozen, ReformerConfig

Mode = Literal["forward", "forward_backward"]
"""`forward` keeps nothing for a backward pass (inference); `forward_backward` computes loss and gradients."""


Device = Literal["cpu", "cuda"]


class TimeStep(Frozen):
    """How long one step takes, once steps have settled.

    Attributes:
        kind: Tells workloads apart.
        mode: What a step is.
        min_samples: Steps timed at least.
        seconds: Wall clock to spend on timed steps if `min_samples` take less.
    """

    kind: Literal["time"] = "time"
    mode: Mode
    min_samples: Count = 3
    seconds: Annotated[float, Field(gt=0)] = 1.5


class PeakMemory(Frozen):
    """The most bytes alive at once during one step."""

    kind: Literal["memory"] = "memory"
    mode: Mode


class Learn(Frozen):
    """Training on real text for a fixed number of steps, then bits per byte on text held out.

    Attributes:
        kind: Tells workloads apart.
        dataset: The text; see `ablations.data`.
        steps: Optimiser steps, all of them taken.
        learning_rate: Reached after `warmup_steps` linear steps, then falling linearly to a tenth at the last one.
        warmup_steps: Steps of linear increase.
        evaluate_every: Steps between two evaluations; the last step is always evaluated.
        evaluation_windows: Held-out windows, evenly spread over the validation part, the same at every evaluation.
    """

    kind: Literal["learn"] = "learn"
    dataset: Literal["enwik8"] = "enwik8"
    steps: Count
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Count
    evaluate_every: Count
    evaluation_windows: Count


Workload = Annotated[TimeStep | PeakMemory | Learn, Field(discriminator="kind")]


class Cell(Frozen):
    """One measurement: which model, doing what, where, under which seed.

    A step takes `batch` sequences of `length` tokens each. The model is built in float32 on the device named, from
    `seed`; so are its inputs.
    """

    experiment: str
    config: ReformerConfig
    workload: Workload
    batch: Count
    length: Count
    device: Device
    seed: Annotated[int, Field(ge=0, strict=True)]

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the canonical JSON: equal cells, equal ids."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def description(self) -> str:
        """One line for people."""
        mode = "" if isinstance(self.workload, Learn) else f" {self.workload.mode}"
        rounds = {attention.n_hashes for attention in self.config.attentions if attention.kind == "lsh"}
        hashes = f" n_hashes={max(rounds)}" if rounds else ""
        return (
            f"{self.experiment} {self.workload.kind}{mode} {self.config.variant} length={self.length}"
            f" n_layers={self.config.n_layers}{hashes} seed={self.seed}"
        )
