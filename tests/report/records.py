"""Results with known answers: real records whose numbers follow planted power laws, with seeded noise."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ablations.harness.cell import (
    Capacity,
    Ceiling,
    Cell,
    Exactness,
    Implementation,
    KernelTimes,
    PeakMemory,
    TimeStep,
    Workload,
)
from ablations.harness.measurement import (
    AttentionSeen,
    Ceilings,
    ConditionResult,
    Discrepancy,
    Evaluation,
    KernelSeconds,
    KernelTime,
    LearningCurve,
    MatrixProducts,
    Measurement,
    PeakBytes,
    StepTimes,
    Trained,
    TrainingPoint,
    Translations,
)
from ablations.harness.record import Environment, Record, Status
from ablations.harness.store import MachineResults, Plan, PlannedExperiment
from ablations.harness.training import Condition, Duplication, Images64, Learn, Multi30k, Recipe
from reformer.config import CONTROLS, VARIANTS, DenseAttention, LSHAttention, ReformerConfig

CORNERS = tuple(VARIANTS)
LINEUP = (*CORNERS, "dense_query_chunked", "dense_fused")

FORWARD, TRAINING = "forward", "forward_backward"
STEP_WORKLOADS: tuple[Workload, ...] = (
    TimeStep(mode="forward"),
    TimeStep(mode="forward_backward"),
    PeakMemory(mode="forward_backward"),
)
RECIPE = Recipe(steps=60, learning_rate=0.002, warmup_steps=7)
LEARN = Learn(recipe=RECIPE, evaluate_every=10, evaluation_windows=5)
ROUNDS = (8, 4, 2, 1)
DUPLICATE = Learn(
    task=Duplication(),
    recipe=RECIPE,
    evaluate_every=20,
    evaluation_windows=5,
    conditions=(
        Condition(name="dense", attention=DenseAttention()),
        *(Condition(name=f"lsh_{rounds}", attention=LSHAttention(n_hashes=rounds)) for rounds in ROUNDS),
    ),
)
"""The paper's Table 2: a model trained with some attention is evaluated with another."""
PAINT = Learn(task=Images64(), recipe=RECIPE, evaluate_every=20, evaluation_windows=5, observed_windows=2)
TRANSLATE = Learn(task=Multi30k(), recipe=RECIPE, evaluate_every=20, evaluation_windows=5)

TIME_EXPONENTS = {"dense": 2.0, "reformer": 1.1, "lsh_only": 1.1}
DENSE_FACTORS = {"query_chunked": 1.4, "sdpa_math": 1.2, "sdpa_flash": 0.3}
MEMORY_EXPONENTS = {"dense": 2.0, "reformer": 1.0, "lsh_only": 1.0}

Outcome = tuple[Status, str] | None
"""A status with its reason; `None` leaves the cell without a record."""

Fate = Callable[[Cell], Outcome]


def ok(_cell: Cell) -> Outcome:
    """Every cell is measured."""
    return ("ok", "")


def environment(machine: str = "testbench-cpu", **changes: object) -> Environment:
    """A machine without accelerator, changed as told."""
    fields = {
        "machine": machine,
        "processor": "Planted Processor 9000",
        "cores": 6,
        "memory_bytes": 17 * 2**30,
        "accelerator": None,
        "accelerator_memory_bytes": None,
        "driver": None,
        "system": "Linux 6.1",
        "python": "3.12.3",
        "packages": {"torch": "2.11.0", "numpy": "2.3.1"},
        "commit": "0123abcd4567",
        "dirty": False,
    }
    return Environment.model_validate(fields | changes)


def cell(
    experiment: str,
    variant: str,
    workload: Workload,
    *,
    length: int = 1024,
    n_layers: int = 3,
    n_hashes: int = 2,
    seed: int = 0,
    batch: int = 1,
    device: str = "cpu",
) -> Cell:
    """One cell of a small model."""
    known = {**VARIANTS, **CONTROLS}[variant]
    attention = known.attention
    if isinstance(attention, LSHAttention):
        attention = LSHAttention(n_hashes=n_hashes)
    config = ReformerConfig(
        vocab_size=256,
        d_model=96,
        n_heads=5,
        d_head=20,
        d_ff=112,
        n_layers=n_layers,
        max_len=length,
        attention=attention,
        residual=known.residual,
        cross_attention=isinstance(workload, Learn) and isinstance(workload.task, Multi30k),
    )
    return Cell.model_validate(
        {
            "experiment": experiment,
            "config": config,
            "workload": workload,
            "batch": batch,
            "length": length,
            "device": device,
            "seed": seed,
        }
    )


def grid(
    experiment: str,
    *,
    variants: Sequence[str] = LINEUP,
    workloads: Sequence[Workload] = STEP_WORKLOADS,
    seeds: Sequence[int] = (0, 1),
    device: str = "cpu",
    length: Sequence[int] = (1024,),
    n_layers: Sequence[int] = (3,),
    n_hashes: Sequence[int] = (2,),
) -> tuple[Cell, ...]:
    """Every combination once; axes that a variant does not have leave its cells as they are."""
    cells = (
        cell(experiment, v, w, seed=seed, device=device, length=one_length, n_layers=layers, n_hashes=hashes)
        for seed, one_length, layers, hashes in itertools.product(seeds, length, n_layers, n_hashes)
        for v in variants
        for w in workloads
    )
    return tuple(dict.fromkeys(cells))


def planted_seconds(one: Cell) -> float:
    """Seconds per step, without noise."""
    variant = one.config.variant
    rounds = max((a.n_hashes for a in one.config.attentions if isinstance(a, LSHAttention)), default=1)
    exponent = TIME_EXPONENTS.get(variant, 1.8)
    backward = 1.0 if isinstance(one.workload, TimeStep) and one.workload.mode == "forward" else 3.0
    reversible = 1.3 if one.config.residual == "reversible" else 1.0
    return (
        2e-3
        * one.batch
        * DENSE_FACTORS.get(one.implementation, 1.0)
        * math.pow(one.length / 512, exponent)
        * one.config.n_layers
        * math.pow(rounds, 0.8)
        * backward
        * reversible
    )


def planted_bytes(one: Cell) -> int:
    """Peak bytes of a step: a reversible layer adds two hundredths of what another adds."""
    exponent = MEMORY_EXPONENTS.get(one.config.variant, 1.5)
    layer = 5 * 2**20 * math.pow(one.length / 512, exponent)
    per_layer = 0.02 if one.config.residual == "reversible" else 1.0
    return round(layer * (2 + per_layer * one.config.n_layers))


def measurement(one: Cell, *, noise: float = 0.03) -> Measurement:
    """What measuring this cell would have given."""
    generator = np.random.default_rng(int(one.id, 16))
    match one.workload:
        case TimeStep():
            return _times(one, generator, noise)
        case PeakMemory():
            return _peak(one)
        case Learn():
            return _curve(one, one.workload, generator)
        case Ceiling():
            return ceilings()
        case KernelTimes():
            return KernelSeconds(kernels=(KernelTime(name="attend_kernel", calls=10, seconds=0.25),), steps=10)
        case Capacity(budget_bytes=budget):
            return Trained(budget_bytes=budget or 2**34, seconds=0.5)
        case Exactness():
            return Discrepancy(
                largest_difference=3e-6,
                largest_value=4.5,
                relative_difference=2e-7,
                n_compared=0 if one.workload.check == "parameters" else 789,
                n_parameters=123_456,
            )


def ceilings(*, flops: float = 2.5e12, bandwidth: float = 1.5e12) -> Ceilings:
    """Of a machine of these rates."""
    products = (MatrixProducts(width=10, seconds=(2000 / flops,)),)
    return Ceilings(products=products, copy_bytes=1000, copy_seconds=(2000 / bandwidth,), threads=4)


def _times(one: Cell, generator: np.random.Generator, noise: float) -> StepTimes:
    process = float(np.exp(generator.normal(0, noise)))
    seconds = tuple(float(s) for s in planted_seconds(one) * process * np.exp(generator.normal(0, noise, size=9)))
    on_gpu = one.device == "cuda"
    return StepTimes(
        # On a GPU the wall clock reads more than the device's own: a report that mixes them up shows it.
        wall_seconds=tuple(2 * second for second in seconds) if on_gpu else seconds,
        cpu_seconds=tuple(1.7 * second for second in seconds),
        device_seconds=seconds if on_gpu else None,
        warm_up_seconds=(0.5, 0.25),
        steady=True,
        tokens_per_step=one.batch * one.length,
        threads=4,
        cores=4,
        others_seconds=0.001,
        others_missing=None,
        host_seconds=tuple(1.01 * second for second in seconds) if on_gpu else None,
        energy=None,
        energy_missing="no counter of energy",
    )


def _peak(one: Cell) -> PeakBytes:
    on_gpu = one.device == "cuda"
    peak = planted_bytes(one)
    return PeakBytes(
        peak_bytes=peak,
        method="cuda_max_memory_allocated" if on_gpu else "profiler_allocation_events",
        parameter_bytes=3 * 2**20,
        gradient_bytes=3 * 2**20,
        optimiser_bytes=0,
        saved_bytes=peak // 2,
        saved_missing=None,
        ledger=None,
        ledger_missing="a planted record has none",
        os_peak_bytes=None if one.seed == 1 else peak + 7 * 2**20,
        os_peak_missing="the kernel keeps no peak of this process" if one.seed == 1 else None,
        reserved_bytes=peak + 11 * 2**20 if on_gpu else None,
        requested_bytes=peak if on_gpu else None,
        process_bytes=None,
        process_missing="the driver does not tell inside a container" if on_gpu else "no GPU",
    )


def _curve(one: Cell, learn: Learn, generator: np.random.Generator) -> LearningCurve:
    floor = {"dense": 2.1, "reversible_only": 2.12, "lsh_only": 2.3, "reformer": 2.33}.get(one.config.variant, 2.5)
    floor += float(generator.normal(0, 0.03))
    step_seconds, recipe = planted_seconds(one), learn.recipe
    points = [(step, step * step_seconds, floor + 5.5 * (1 + step / 4) ** -0.9) for step in range(1, recipe.steps + 1)]
    counted = isinstance(learn.task, Duplication)
    return LearningCurve(
        points=tuple(TrainingPoint(step=step, seconds=s, bits_per_token=b) for step, s, b in points),
        evaluations=tuple(
            Evaluation(
                step=step,
                seconds=s,
                bits_per_token=b,
                n_tokens=5 * one.length,
                accuracy=planted_accuracy(one, None) if counted else None,
            )
            for step, s, b in points
            if step % learn.evaluate_every == 0
        ),
        tokens_per_step=one.batch * one.length,
        split="first 90 MB trained on, next 5 MB held out",
        conditions=tuple(_condition(one, asked.name, counted=counted) for asked in learn.conditions),
        attention=_attention(one) if learn.observed_windows else (),
        translations=_translations(one) if isinstance(learn.task, Multi30k) else None,
        peak_bytes=planted_bytes(one) + one.seed,
        peak_missing=None,
        n_parameters=123_456,
    )


def planted_accuracy(one: Cell, condition: str | None) -> float:
    """Share of right predictions: each halving of the rounds below those of training costs a tenth."""
    rounds = max((a.n_hashes for a in one.config.attentions if isinstance(a, LSHAttention)), default=16)
    asked = rounds if condition is None else 16 if condition == "dense" else int(condition.removeprefix("lsh_"))
    lost = max(0.0, math.log2(rounds / asked))
    return max(0.0, 1 - 0.1 * lost - 0.01 * one.seed)


def _condition(one: Cell, name: str, *, counted: bool) -> ConditionResult:
    right = planted_accuracy(one, name) if counted else None
    return ConditionResult(condition=name, bits_per_token=3.5 + one.seed / 4, n_tokens=35, accuracy=right)


def _attention(one: Cell) -> tuple[AttentionSeen, ...]:
    """Every further round sees half of what is left."""
    return tuple(
        AttentionSeen(
            layer=layer,
            recall=tuple(1 - 0.5 ** (r + 1 + layer / 4 + one.seed / 16) for r in range(attention.n_hashes)),
            largest_bucket=1.5 + layer + one.seed / 2,
            empty_buckets=0.125 * layer,
            n_queries=77,
        )
        for layer, attention in enumerate(one.config.attentions)
        if isinstance(attention, LSHAttention)
    )


def _translations(one: Cell) -> Translations:
    return Translations(bleu=27.3 + one.seed, n_sentences=11, signature="nrefs:1|case:mixed")


def constant_tokens(
    *, lengths: Sequence[int] = (256, 512, 1024, 2048), tokens: int = 2048, seeds: Sequence[int] = (0, 1)
) -> tuple[Cell, ...]:
    """Attention alone, ours in several rounds beside three dense baselines, at as many tokens in each step."""
    dense: tuple[tuple[Implementation, str, int], ...] = (
        ("query_chunked", "dense", 2),
        ("sdpa_math", "dense", 2),
        ("sdpa_flash", "dense", 2),
    )
    contenders: tuple[tuple[Implementation, str, int], ...] = (
        *(("ours", "lsh_only", rounds) for rounds in ROUNDS),
        *dense,
    )
    return tuple(
        Cell.model_validate(
            dict(cell("constant_tokens", variant, workload, length=length, n_hashes=rounds, seed=seed))
            | {"batch": tokens // length, "scope": "attention", "implementation": implementation}
        )
        for seed in seeds
        for length in lengths
        for implementation, variant, rounds in contenders
        for workload in STEP_WORKLOADS[:2]
    )


def record(one: Cell, outcome: tuple[Status, str] = ("ok", ""), *, where: Environment | None = None) -> Record:
    """The record of one attempt."""
    status, reason = outcome
    return Record(
        cell_id=one.id,
        cell=one,
        status=status,
        reason=None if status == "ok" else reason,
        measurement=measurement(one) if status == "ok" else None,
        environment=where or environment(),
        device_state=None,
        device_state_missing="no GPU in use",
        started="2001-02-03T04:05:06Z",
        seconds=1.5,
        worker_seconds=1.25,
    )


def records(cells: Iterable[Cell], fate: Fate = ok, *, where: Environment | None = None) -> tuple[Record, ...]:
    """A record for each cell that its fate gives one."""
    return tuple(record(one, outcome, where=where) for one in cells if (outcome := fate(one)))


def planned(name: str, cells: Sequence[Cell], *, title: str = "", question: str = "") -> PlannedExperiment:
    """An experiment of these cells."""
    return PlannedExperiment(
        profile="cpu",
        name=name,
        title=title or f"Title of {name}",
        question=question or f"What does {name} ask?",
        cells=tuple(cells),
    )


def machine(
    experiments: Mapping[str, Sequence[Cell]], fate: Fate = ok, *, where: Environment | None = None
) -> MachineResults:
    """A machine's results: these experiments planned, and their cells measured as `fate` says."""
    here = where or environment()
    return MachineResults(
        environment=here,
        plan=Plan(experiments=tuple(planned(name, cells) for name, cells in experiments.items())),
        records=tuple(one for cells in experiments.values() for one in records(cells, fate, where=here)),
    )


def demo(machine_name: str = "testbench-cpu") -> MachineResults:
    """All four questions, small, with an out-of-memory, a missing and a not-run cell among them."""
    experiments = {
        "sequence_length": grid("sequence_length", length=(512, 1024, 2048, 4096)),
        "hash_rounds": grid("hash_rounds", variants=("dense", "lsh_only", "reformer"), n_hashes=(1, 2, 4, 8)),
        "depth": grid("depth", variants=CORNERS, n_layers=(1, 2, 4, 8)),
        "learn_enwik8": grid("learn_enwik8", variants=CORNERS, workloads=(LEARN,)),
    }
    return machine(experiments, demo_fate, where=environment(machine_name))


def demo_fate(one: Cell) -> Outcome:
    """Dense runs out of memory at the longest length; one cell is missing, one not run."""
    if one.experiment == "sequence_length" and one.length == 4096:
        if one.config.variant == "dense" and one.workload.kind == "time":
            return ("oom", "the process reached its limit of 4.00 GiB")
        if one.config.variant == "dense_fused" and one.seed == 1:
            return None
    if one.experiment == "learn_enwik8" and one.config.variant == "reformer" and one.seed == 1:
        return ("not_run", "the data set enwik8 is not here")
    return ("ok", "")
