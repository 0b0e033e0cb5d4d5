"""A cell: everything that defines one measurement, and the id that follows from it."""

import hashlib
import json
import re
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from ablations.harness.training import Learn, check_training
from reformer.config import Count, Frozen, ReformerConfig

Mode = Literal["forward", "forward_recorded", "backward", "forward_backward", "training_step", "decode"]
"""`forward` keeps nothing for a backward pass (inference), `forward_recorded` keeps what one needs; `backward` is that
pass alone; `forward_backward` computes loss and gradients, and `training_step` takes a step of Adam with them; `decode`
adds the last token to a text of the cell's length."""

Device = Literal["cpu", "cuda"]

Dtype = Literal["float32", "bfloat16", "float16"]
"""Of parameters and inputs."""

Scope = Literal["model", "attention", "machine"]
"""What takes the step: a whole model, the attention of one layer without its projections, or the bare machine."""

Implementation = Literal[
    "ours",
    "huggingface",
    "lucidrains",
    "query_chunked",
    "sdpa_math",
    "sdpa_flash",
    "sdpa_efficient",
    "sdpa_cudnn",
    "flex",
]
"""Whose code: this project's, a peer's, one backend of PyTorch's `scaled_dot_product_attention`, or FlexAttention.

`query_chunked` is this project's dense attention a chunk of queries at a time, the paper's baseline, where `ours`
is LSH attention."""

OUTSIDE = "outside:"
"""What the implementation of another package's contender begins with; its name follows."""
OUTSIDE_NAME = "[a-z][a-z0-9_]*"


def _known(implementation: str) -> str:
    known = get_args(Implementation)
    if implementation not in known and not re.fullmatch(OUTSIDE + OUTSIDE_NAME, implementation):
        raise ValueError(
            f"known are {', '.join(known)}, and {OUTSIDE}NAME of another package's, NAME as in my_attention"
        )
    return implementation


AnyImplementation = Annotated[str, AfterValidator(_known)]
"""An `Implementation`, or a contender of another package, which need not be installed where its records are read."""

LSH_PEERS: frozenset[Implementation] = frozenset({"huggingface", "lucidrains"})
DENSE_PEERS: frozenset[Implementation] = frozenset(
    {"query_chunked", "sdpa_math", "sdpa_flash", "sdpa_efficient", "sdpa_cudnn", "flex"}
)


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
    """The most bytes alive at once during one step.

    Attributes:
        kind: Tells workloads apart.
        mode: What a step is.
        resident: On a CPU, whether to take the system's view too: a further step, and every step many times as long
            where a computation takes and frees large blocks all the time.
    """

    kind: Literal["memory"] = "memory"
    mode: Mode
    resident: bool = True


class KernelTimes(Frozen):
    """What each kernel of a GPU adds to a step.

    Attributes:
        kind: Tells workloads apart.
        mode: What a step is.
        steps: Observed, after two to warm up.
    """

    kind: Literal["kernels"] = "kernels"
    mode: Mode
    steps: Count = 10


class Capacity(Frozen):
    """Whether training steps of this size fit into a memory budget: two of them are taken.

    Attributes:
        kind: Tells workloads apart.
        mode: What a step is.
        budget_bytes: What the process may allocate beyond what it holds at its start; `None` for what the machine has.
    """

    kind: Literal["capacity"] = "capacity"
    mode: Mode = "training_step"
    budget_bytes: Count | None = None


class Exactness(Frozen):
    """How far two ways to compute the same thing lie apart.

    Attributes:
        kind: Tells workloads apart.
        check: `inversion`: the layers' input, and what undoing the layers makes of their output. `chunking`: loss and
            gradients with the feed-forward half in chunks, and in one piece. `parameters`: nothing is computed, the
            parameters are counted.
    """

    kind: Literal["exactness"] = "exactness"
    check: Literal["inversion", "chunking", "parameters"]


class Ceiling(Frozen):
    """What the machine can do at most: multiply large square matrices, and copy a large tensor.

    Attributes:
        kind: Tells workloads apart.
        widths: Of the matrices, each tried; which one is fastest differs from machine to machine.
        copy_bytes: Size of the tensor that is copied; far beyond any cache.
        repeats: Times that each is done, the first of them to warm up; fewer of what takes many seconds.
    """

    kind: Literal["ceiling"] = "ceiling"
    widths: Annotated[tuple[Count, ...], Field(min_length=1)]
    copy_bytes: Count
    repeats: Annotated[int, Field(ge=2, strict=True)] = 8


Workload = Annotated[
    TimeStep | PeakMemory | KernelTimes | Capacity | Learn | Exactness | Ceiling, Field(discriminator="kind")
]


class Cell(Frozen):
    """One measurement: whose code of which model, doing what, where, under which seed.

    A step takes `batch` sequences of `length` tokens each. Everything is built in `dtype` on the device named, from
    `seed`; so are the inputs. Whatever the code, `config` says what is computed. Of the machine's ceilings it says
    nothing: there it stands for the experiment's sizes only.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or the implementation does not compute what the config says.
    """

    experiment: str
    config: ReformerConfig
    workload: Workload
    batch: Count
    length: Count
    device: Device
    seed: Annotated[int, Field(ge=0, strict=True)]
    scope: Scope = "model"
    implementation: AnyImplementation = "ours"
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _implementation_computes_the_config(self) -> Self:
        kinds = {attention.kind for attention in self.config.attentions}
        hashes = self.implementation in LSH_PEERS or (self.scope, self.implementation) == ("attention", "ours")
        if hashes and kinds != {"lsh"}:
            raise ValueError(f"implementation={self.implementation!r} at scope={self.scope!r} is LSH attention only")
        if self.implementation in DENSE_PEERS and (self.scope, kinds) != ("attention", {"dense"}):
            raise ValueError(
                f"implementation={self.implementation!r} is dense attention alone, not scope={self.scope!r}"
            )
        if (self.scope == "machine") != isinstance(self.workload, Ceiling):
            raise ValueError(f"scope={self.scope!r} does not go with workload {self.workload.kind!r}")
        if self.is_outside and not isinstance(self.workload, TimeStep | PeakMemory | KernelTimes | Capacity):
            raise ValueError(f"implementation={self.implementation!r} does not go with workload {self.workload.kind!r}")
        return self

    @model_validator(mode="after")
    def _training_fits_the_config(self) -> Self:
        if isinstance(self.workload, Learn):
            check_training(self.workload, self.config, self.length)
        return self

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the canonical JSON: equal cells, equal ids."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def mode(self) -> str:
        """The mode of the workload's steps; the kind of a workload that has none."""
        workload = self.workload
        return workload.mode if isinstance(workload, TimeStep | PeakMemory | KernelTimes | Capacity) else workload.kind

    @property
    def is_outside(self) -> bool:
        """Whether another package's contender takes the step."""
        return self.implementation.startswith(OUTSIDE)

    @property
    def contender(self) -> str:
        """What a report calls it: the variant of a model of ours, else whose code it is."""
        if (self.scope, self.implementation) == ("model", "ours"):
            return self.config.variant
        return self.implementation.removeprefix(OUTSIDE)

    @property
    def description(self) -> str:
        """One line for people."""
        if isinstance(self.workload, Ceiling):
            return f"{self.experiment} ceiling {self.dtype} seed={self.seed}"
        rounds = {attention.n_hashes for attention in self.config.attentions if attention.kind == "lsh"}
        words = [
            self.experiment,
            *([self.workload.task.kind] if isinstance(self.workload, Learn) else []),
            *dict.fromkeys((self.workload.kind, self.mode)),
            *([] if self.scope == "model" else [self.scope]),
            self.contender,
            *([] if self.dtype == "float32" else [self.dtype]),
            f"length={self.length}",
            *([f"n_layers={self.config.n_layers}"] if self.scope == "model" else []),
            *([f"n_hashes={max(rounds)}"] if rounds else []),
            f"seed={self.seed}",
        ]
        return " ".join(words)
