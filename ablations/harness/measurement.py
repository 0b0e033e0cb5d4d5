"""What was measured: raw samples and counts, as the process of one cell took them. Statistics belong to the report."""

import itertools
import math
from statistics import fmean, median
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reformer.config import Frozen, LSHAttention

CONTENDED_SHARE = 0.05
"""Of all the processor time there was; a system at rest takes less than a hundredth."""
HOST_BOUND_FACTOR = 1.05


class Energy(Frozen):
    """What the device's own counter of energy rose by during so many steps, back to back."""

    joules: float
    steps: int
    seconds: float
    source: Literal["nvml_counter"] = "nvml_counter"


class Ledger(Frozen):
    """What a step's peak is made of. Bytes; the sum is everything that the step had alive at its peak.

    Attributes:
        parameters: Of the model.
        gradients: Of its parameters.
        optimiser: State of the optimiser.
        streams: Residual streams that are kept for the backward pass.
        activations: Everything else that is kept for it: floats, and masks.
        buckets: Integers kept for it: buckets, orders and positions.
        transient: How far the peak lies above what is kept at the end of the forward pass.
    """

    parameters: int
    gradients: int
    optimiser: int
    streams: int
    activations: int
    buckets: int
    transient: int

    @property
    def total(self) -> int:
        """All parts."""
        kept = self.streams + self.activations + self.buckets
        return self.parameters + self.gradients + self.optimiser + kept + self.transient


class StepTimes(Frozen):
    """Raw samples of one process: each entry one step. Seconds.

    Attributes:
        kind: Tells measurements apart.
        wall_seconds: By the wall clock, the device synchronised before each reading.
        cpu_seconds: Processor time of the process over the same steps, all threads added.
        device_seconds: Between CUDA events, on a GPU; `None` on CPU, where there are none.
        warm_up_seconds: Wall clock of the steps before, which are not part of the sample; the middle of a very long
            warm-up is left out.
        steady: Whether the warm-up had settled when sampling began.
        tokens_per_step: Batch times length; of decoding, batch.
        threads: Intra-op threads of PyTorch.
        cores: Logical processors that the process may use.
        others_seconds: Processor time that everything but this process took of these processors while the samples were
            taken, what the hypervisor gave to other machines included; `None` where that cannot be known.
        others_missing: Why `others_seconds` is `None`.
        host_seconds: On a GPU, wall clock per step of steps that ran without events around them; `None` on CPU.
        energy: Of a GPU, over steps of their own; `None` where no counter tells.
        energy_missing: Why `energy` is `None`.
    """

    kind: Literal["time"] = "time"
    wall_seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    device_seconds: tuple[float, ...] | None
    warm_up_seconds: tuple[float, ...]
    steady: bool
    tokens_per_step: int
    threads: int
    cores: int
    others_seconds: float | None
    others_missing: str | None
    host_seconds: tuple[float, ...] | None
    energy: Energy | None
    energy_missing: str | None

    @property
    def contended(self) -> bool:
        """Whether others took more than a twentieth of the machine while the samples were taken."""
        available = sum(self.wall_seconds) * self.cores
        return self.others_seconds is not None and self.others_seconds > CONTENDED_SHARE * available

    @property
    def host_bound(self) -> bool:
        """Whether the GPU waited for the host: a step takes longer by the clock than by the device's events."""
        if self.host_seconds is None or self.device_seconds is None:
            return False
        return median(self.host_seconds) > HOST_BOUND_FACTOR * median(self.device_seconds)


class PeakBytes(Frozen):
    """Memory of one step, above the parameters and their gradients, which exist before it starts. Bytes.

    Attributes:
        kind: Tells measurements apart.
        peak_bytes: Most bytes of tensors alive at once. On CPU exact, from the allocator's events; on GPU the caching
            allocator's peak of allocated bytes.
        method: How `peak_bytes` was taken.
        parameter_bytes: Of the model; of attention alone, of its inputs.
        gradient_bytes: Of their gradients; 0 for a forward step.
        optimiser_bytes: Of the optimiser's state; 0 where a step takes none.
        saved_bytes: Alive at the end of the forward pass beyond what was before it, the result included, whoever keeps
            it; 0 for a forward step.
        saved_missing: Why `saved_bytes` is `None`.
        ledger: The whole peak in parts; `None` where they cannot be told apart.
        ledger_missing: Why `ledger` is `None`.
        os_peak_bytes: Rise of the process's peak resident memory over the step, or `None`.
        os_peak_missing: Why `os_peak_bytes` is `None`.
        reserved_bytes: Peak that the GPU's caching allocator held; `None` on CPU.
        requested_bytes: Peak of what was asked of it, before it rounds; above what was held before, `None` on CPU.
        process_bytes: What the driver says the process holds (NVML); `None` where it cannot tell.
        process_missing: Why `process_bytes` is `None`.
    """

    kind: Literal["memory"] = "memory"
    peak_bytes: int
    method: Literal["profiler_allocation_events", "cuda_max_memory_allocated"]
    parameter_bytes: int
    gradient_bytes: int
    optimiser_bytes: int
    saved_bytes: int | None
    saved_missing: str | None
    ledger: Ledger | None
    ledger_missing: str | None
    os_peak_bytes: int | None
    os_peak_missing: str | None
    reserved_bytes: int | None
    requested_bytes: int | None
    process_bytes: int | None
    process_missing: str | None


class TrainingPoint(Frozen):
    """One optimiser step: loss on its batch in bits per token, and seconds of training since the first step began."""

    step: int
    seconds: float
    bits_per_token: float


class Evaluation(Frozen):
    """Held-out bits per token after `step` steps; `seconds` of training so far, evaluation time not counted.

    Attributes:
        step: See above.
        seconds: See above.
        bits_per_token: Of tokens that are bytes, bits per byte.
        n_tokens: That count.
        accuracy: Share of them whose most likely prediction is right; `None` of tasks that do not ask for it.
    """

    step: int
    seconds: float
    bits_per_token: float
    n_tokens: int
    accuracy: float | None = None


class ConditionResult(Frozen):
    """The trained model under one condition of its workload; the rest as in `Evaluation`."""

    condition: str
    bits_per_token: float
    n_tokens: int
    accuracy: float | None = None


class AttentionSeen(Frozen):
    """What one LSH layer of the trained model sees of what dense attention with its queries and keys would attend to.

    Attributes:
        layer: Counted from 0.
        recall: For the first round, the first two and so on: the share of dense attention's weight that lies on keys
            which a query meets in these rounds, mean over queries. The first position, which sees itself only, is one.
        largest_bucket: Positions in the fullest bucket over the mean of all buckets, mean over rounds and heads.
        empty_buckets: Share of buckets that hold nothing.
        n_queries: Over which the mean was taken, heads counted.
    """

    layer: int
    recall: tuple[float, ...]
    largest_bucket: float
    empty_buckets: float
    n_queries: int


Position = Annotated[int, Field(ge=0)]
"""Of a token, counted from 0; of buckets, their number."""


class HeaviestKeys(Frozen):
    """Where dense attention puts the weight of one query: the heaviest keys, heaviest first, rounded to four digits."""

    query: Position
    keys: Annotated[tuple[Position, ...], Field(min_length=1)]
    weights: tuple[Annotated[float, Field(gt=0, le=1)], ...]

    @model_validator(mode="after")
    def _every_key_has_its_weight(self) -> Self:
        if len(self.keys) != len(self.weights) or len(set(self.keys)) != len(self.keys):
            raise ValueError("keys and weights go in pairs, each key once")
        return self


class AttentionPattern(Frozen):
    """How one head of an LSH layer of the trained model sorted one held-out sequence, enough to draw who meets whom.

    Attributes:
        layer: Counted from 0.
        head: That whose dense attention is sharpest of the layer: the mean over queries of the largest weight.
        attention: The layer's, with the bucket count as numbers.
        causal: Whether a position sees only the past.
        buckets: Of each round, the bucket of each position.
        dense: Of some queries at even distances.
    """

    layer: Position
    head: Position
    attention: LSHAttention
    causal: bool
    buckets: Annotated[tuple[tuple[Position, ...], ...], Field(min_length=1)]
    dense: tuple[HeaviestKeys, ...]

    @property
    def length(self) -> int:
        """Positions in the sequence."""
        return len(self.buckets[0])

    @property
    def n_buckets(self) -> int:
        """In each round."""
        assert self.attention.n_buckets is not None, "checked below"
        return math.prod(self.attention.n_buckets)

    @model_validator(mode="after")
    def _numbers_agree(self) -> Self:
        if self.attention.n_buckets is None:
            raise ValueError("attention.n_buckets must be numbers")
        if not self.length or any(len(round_) != self.length for round_ in self.buckets):
            raise ValueError("each round names a bucket for each position")
        if max(map(max, self.buckets)) >= self.n_buckets:
            raise ValueError(f"a bucket is beyond the {self.n_buckets} there are")
        if any(position >= self.length for row in self.dense for position in (row.query, *row.keys)):
            raise ValueError(f"a position is beyond the {self.length} there are")
        return self


class Translations(Frozen):
    """BLEU of the test part, by sacrebleu: `signature` says how it was counted."""

    bleu: float
    n_sentences: int
    signature: str


class LearningCurve(Frozen):
    """A training run.

    Attributes:
        kind: Tells measurements apart.
        points: Every step.
        evaluations: Along the way.
        tokens_per_step: That the model reads in the last step; batches of sentences differ in it.
        split: Which data was trained on and which held out, in words.
        conditions: The trained model under each condition of the workload.
        attention: Of each LSH layer of the trained model, if the workload asks for it.
        patterns: One of each of these layers; none in records from before they were noted.
        translations: Of a translation task.
        peak_bytes: Most bytes of tensors alive at once in one more step after the last, parameters, gradients and the
            optimiser's state among them; on a GPU the allocator's. `None` of records older than schema 5.
        peak_missing: Why `peak_bytes` is `None`.
        n_parameters: Numbers that are trained; `None` with the same reason.
        resumed_after: Steps after which the run was interrupted and taken up again from its checkpoint.
        stopped: The rule that ended the run early, or `None`.
    """

    kind: Literal["learn"] = "learn"
    points: tuple[TrainingPoint, ...]
    evaluations: tuple[Evaluation, ...]
    tokens_per_step: int
    split: str
    conditions: tuple[ConditionResult, ...] = ()
    attention: tuple[AttentionSeen, ...] = ()
    patterns: tuple[AttentionPattern, ...] = ()
    translations: Translations | None = None
    peak_bytes: int | None
    peak_missing: str | None
    n_parameters: int | None
    resumed_after: tuple[int, ...] = ()
    stopped: str | None = None


class Discrepancy(Frozen):
    """How far two ways to compute the same thing lie apart.

    Attributes:
        kind: Tells measurements apart.
        largest_difference: Of all numbers compared, in absolute value; 0 where nothing was.
        largest_value: Of the numbers compared with, in absolute value.
        relative_difference: Root of the mean square of the differences over that of the numbers compared with.
        n_compared: How many numbers.
        n_parameters: Of the model.
    """

    kind: Literal["exactness"] = "exactness"
    largest_difference: float
    largest_value: float
    relative_difference: float
    n_compared: int
    n_parameters: int


class KernelTime(Frozen):
    """One kernel of a GPU, whatever its arguments: how often it ran in all steps, and how long it took together."""

    name: str
    calls: int
    seconds: float


class KernelSeconds(Frozen):
    """Every kernel that ran during so many steps, as the profiler saw them."""

    kind: Literal["kernels"] = "kernels"
    kernels: tuple[KernelTime, ...]
    steps: int


class MatrixProducts(Frozen):
    """Seconds that each product of two square matrices of one width took."""

    width: int
    seconds: tuple[float, ...]


class Ceilings(Frozen):
    """What the machine did at most: raw samples, warm-up left out.

    Attributes:
        kind: Tells measurements apart.
        products: Of each width that was tried.
        copy_bytes: Size of the tensor that was copied; a copy reads and writes as much.
        copy_seconds: Of each copy.
        threads: Intra-op threads of PyTorch.
    """

    kind: Literal["ceiling"] = "ceiling"
    products: tuple[MatrixProducts, ...]
    copy_bytes: int
    copy_seconds: tuple[float, ...]
    threads: int


class Trained(Frozen):
    """A training step went through within the budget.

    Attributes:
        kind: Tells measurements apart.
        budget_bytes: What the process was allowed for tensors: as asked for, or what was free.
        seconds: Of the second step, by the wall clock.
    """

    kind: Literal["capacity"] = "capacity"
    budget_bytes: int
    seconds: float


class PacedTimes(Frozen):
    """Processor time of steps, each between two stretches of a fixed computation that no change of the code touches.

    Attributes:
        kind: Tells measurements apart.
        step_seconds: Of each step, all threads added.
        reference_seconds: Of the fixed computation, once: before the first step and after each.
    """

    kind: Literal["paced"] = "paced"
    step_seconds: Annotated[tuple[float, ...], Field(min_length=1)]
    reference_seconds: tuple[float, ...]

    @model_validator(mode="after")
    def _each_step_lies_between_two_references(self) -> Self:
        if len(self.reference_seconds) != len(self.step_seconds) + 1:
            raise ValueError("there is one reference more than there are steps")
        return self

    @property
    def pace(self) -> float:
        """How many times as long as the fixed computation a step takes, mean over steps.

        What slows the machine for a while, as another program on the same core does, slows a step and what lies right
        before and after it alike.
        """
        beside = [(before + after) / 2 for before, after in itertools.pairwise(self.reference_seconds)]
        return fmean(step / reference for step, reference in zip(self.step_seconds, beside, strict=True))


Measurement = Annotated[
    StepTimes | PeakBytes | KernelSeconds | LearningCurve | Discrepancy | Ceilings | Trained | PacedTimes,
    Field(discriminator="kind"),
]
