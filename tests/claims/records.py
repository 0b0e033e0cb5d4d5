"""A machine on which the paper's claims hold: small plans of the experiments, and records with planted numbers."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ablations.harness.cell import Capacity, Cell, Exactness, Mode, PeakMemory, TimeStep, Workload
from ablations.harness.experiment import named_variant
from ablations.harness.measurement import Measurement
from ablations.harness.record import Record, Status
from ablations.harness.store import MachineResults, Plan, PlannedExperiment
from ablations.harness.training import Condition, Duplication, Enwik8, Images64, Learn, Multi30k, Recipe, Task
from reformer.config import LSHAttention, Pattern, ReformerConfig
from tests.report.records import environment

from .laws import planted

Outcome = Measurement | tuple[Status, str] | None
"""What became of a cell: a measurement, or a status with its reason, or nothing yet."""

Change = Callable[[Cell, Measurement], Outcome]
"""What is different from the machine on which all claims hold."""

SEEDS = (0, 1)
ROUNDS = (1, 2, 4, 8)
GIB = 2**30


def cell(
    experiment: str,
    variant: str,
    workload: Workload,
    *,
    length: int = 1024,
    batch: int = 1,
    n_layers: int = 3,
    n_hashes: int = 2,
    seed: int = 0,
    model: Mapping[str, Any] | None = None,
    **others: str,
) -> Cell:
    """One cell of a small model; `model` are further fields of its config, `others` of the cell."""
    switches = named_variant(variant)
    sizes = {"vocab_size": 256, "d_model": 64, "n_heads": 2, "d_head": 32, "d_ff": 192, "max_len": length}
    config = ReformerConfig(
        **sizes | {"n_layers": n_layers} | dict(model or {}),
        attention=_with_rounds(switches.attention, n_hashes),
        residual=switches.residual,
    )
    return Cell.model_validate(
        {
            "experiment": experiment,
            "config": config,
            "workload": workload,
            "batch": batch,
            "length": length,
            "device": "cpu",
            "seed": seed,
        }
        | others
    )


def _with_rounds(pattern: Pattern, n_hashes: int) -> Pattern:
    if isinstance(pattern, tuple):
        return tuple(LSHAttention(n_hashes=n_hashes) if one.kind == "lsh" else one for one in pattern)
    return LSHAttention(n_hashes=n_hashes) if pattern.kind == "lsh" else pattern


def learn(task: Task, conditions: Iterable[str] = (), *, observed: int = 0) -> Learn:
    """A short training run, evaluated twice, and under these conditions in the end."""
    return Learn(
        task=task,
        recipe=Recipe(steps=40, learning_rate=0.01, warmup_steps=4),
        evaluate_every=20,
        evaluation_windows=3,
        conditions=tuple(Condition(name=name) for name in conditions),
        observed_windows=observed,
    )


def _trained(name: str, workload: Learn, variants: Sequence[str], **others: Any) -> list[Cell]:  # noqa: ANN401  (of a cell)
    return [cell(name, variant, workload, seed=seed, **others) for variant in variants for seed in SEEDS]


def _sequence_length() -> list[Cell]:
    variants = ("dense", "reversible_only", "dense_query_chunked", "dense_fused", "lsh_only", "reformer")
    work: tuple[Workload, ...] = (TimeStep(mode="forward_backward"), PeakMemory(mode="forward_backward"))
    return [
        cell("sequence_length", variant, one, length=length, n_hashes=4, seed=seed)
        for variant, length, one in itertools.product(variants, (512, 1024, 2048, 4096, 8192), work)
        for seed in (SEEDS if one.kind == "time" else (0,))
    ]


def _constant_tokens() -> list[Cell]:
    work, tokens = TimeStep(mode="forward"), 32768
    sizes = [(tokens // batch, batch) for batch in (32, 16, 4, 1)]
    alone: dict[str, Any] = {"scope": "attention"}
    ours = [
        cell("constant_tokens", "lsh_only", work, length=length, batch=batch, n_hashes=rounds, seed=seed, **alone)
        for (length, batch), rounds, seed in itertools.product(sizes, ROUNDS, SEEDS)
    ]
    dense = ("sdpa_math", "query_chunked", "sdpa_flash")
    return ours + [
        cell("constant_tokens", "dense", work, length=length, batch=batch, seed=seed, implementation=name, **alone)
        for (length, batch), name, seed in itertools.product(sizes, dense, SEEDS)
    ]


def _feed_forward_chunks() -> list[Cell]:
    work = PeakMemory(mode="training_step", resident=False)
    return [
        cell("feed_forward_chunks", "reformer", work, length=2048, model={"d_ff": d_ff, "ff_chunk_len": chunk})
        for d_ff in (256, 4096)
        for chunk in (None, 1024, 128)
    ]


def _long_range_arena() -> list[Cell]:
    mode: Mode = "training_step"
    variants = ("transformer", "dense_fused", "local_only", "lsh_only", "reformer")
    return [
        cell("long_range_arena", variant, work, length=length, seed=seed)
        for variant, length in itertools.product(variants, (1024, 2048, 4096))
        for work, seeds in ((TimeStep(mode=mode), SEEDS), (PeakMemory(mode=mode), (0,)))
        for seed in seeds
    ]


def _capacity(name: str, variant: str, length: int, budget: float, **others: Any) -> Cell:  # noqa: ANN401  (of a cell)
    return cell(name, variant, Capacity(budget_bytes=round(budget)), length=length, **others)


def _exactness(name: str, check: Any, variants: Sequence[str], models: Sequence[Mapping[str, Any]]) -> list[Cell]:  # noqa: ANN401
    work = Exactness(check=check)
    return [cell(name, variant, work, model=model, n_layers=12) for variant in variants for model in models]


def plans() -> dict[str, list[Cell]]:
    """The cells of each experiment."""
    peak, whole = PeakMemory(mode="forward_backward"), PeakMemory(mode="training_step")
    corners = ("dense", "reversible_only", "lsh_only", "reformer")
    pairs = ("dense", "dense_separate_qk", "reversible_only", "transformer", "reversible_separate_qk")
    lsh = [f"lsh_{rounds}" for rounds in (1, 2, 4, 8, 16)]
    table = learn(Duplication(), ["dense", *lsh[:4]])
    pictures, text = learn(Images64(), lsh), learn(Enwik8())
    silenced = ["without_lsh_1", "without_lsh_3", "without_lsh", "dense"]
    bfloat16 = cell("inversion", "reformer", Exactness(check="inversion"), n_layers=12, dtype="bfloat16")
    return {
        "sequence_length": _sequence_length(),
        "depth": [cell("depth", variant, peak, n_layers=n) for variant in corners for n in (1, 2, 4, 8)],
        "hash_rounds": [cell("hash_rounds", "lsh_only", peak, n_hashes=rounds) for rounds in ROUNDS],
        "max_length": [
            _capacity("max_length", variant, length, 0.25 * GIB)
            for variant in ("dense", "reformer")
            for length in (1024, 2048, 16384, 32768)
        ],
        "constant_tokens": _constant_tokens(),
        "feed_forward_chunks": _feed_forward_chunks(),
        "blog_slopes": [
            cell("blog_slopes", variant, whole, length=512, batch=8, n_layers=n)
            for variant in ("transformer", "reformer")
            for n in (4, 8, 12)
        ],
        "long_range_arena": _long_range_arena(),
        "deep_and_long": [
            _capacity("deep_and_long", variant, 65536, GIB, n_layers=20)
            for variant in ("dense", "lsh_only", "reformer")
        ],
        "one_million": [
            _capacity("one_million", "local_reversible+reformer", length, budget, n_layers=6)
            for length, budget in ((2**19, 2 * GIB), (2**20, 4 * GIB))
        ],
        "inversion": [
            *_exactness("inversion", "inversion", ("reversible_only", "reformer"), [{}, {"grid_bits": 12}]),
            bfloat16,
        ],
        "chunking": _exactness("chunking", "chunking", ("dense", "reformer"), [{"ff_chunk_len": 64}]),
        "parameters": _exactness("parameters", "parameters", ("transformer", "reversible_separate_qk", *corners), [{}]),
        "duplication": [
            *_trained("duplication", table, ("dense",)),
            *(one for rounds in ROUNDS[:3] for one in _trained("duplication", table, ("lsh_only",), n_hashes=rounds)),
        ],
        "enwik8_factors": _trained("enwik8_factors", text, pairs),
        "images64_factors": _trained("images64_factors", learn(Images64()), pairs),
        "images64_rounds": [
            *_trained("images64_rounds", learn(Images64()), ("dense",)),
            *(
                one
                for rounds in ROUNDS
                for one in _trained("images64_rounds", pictures, ("lsh_only",), n_hashes=rounds)
            ),
        ],
        "enwik8_depth": [one for n in (1, 2, 4) for one in _trained("enwik8_depth", text, ("reformer",), n_layers=n)],
        "enwik8_controls": [
            *_trained("enwik8_controls", text, ("local_only", "lsh_only", "dense"), n_layers=4),
            *_trained("enwik8_controls", learn(Enwik8(), silenced, observed=2), ("local_only+lsh_only",), n_layers=4),
        ],
        "learn_enwik8": _trained("learn_enwik8", text, ("dense", "reformer")),
        "translation": _trained(
            "translation",
            learn(Multi30k()),
            ("transformer", "reversible_separate_qk"),
            model={"cross_attention": True},
        ),
    }


PLANS: Mapping[str, Sequence[Cell]] = plans()


def unchanged(_cell: Cell, measurement: Measurement) -> Outcome:
    """As on the machine on which all claims hold."""
    return measurement


def record(one: Cell, outcome: Measurement | tuple[Status, str]) -> Record:
    """Of an attempt that ended so."""
    status, reason = outcome if isinstance(outcome, tuple) else ("ok", None)
    return Record(
        cell_id=one.id,
        cell=one,
        status=status,
        reason=reason,
        measurement=None if isinstance(outcome, tuple) else outcome,
        environment=environment(),
        device_state=None,
        device_state_missing="no GPU in use",
        started="2001-02-03T04:05:06Z",
        seconds=1.5,
        worker_seconds=1.25,
    )


def machine(
    names: Iterable[str], change: Change = unchanged, *, plan: Mapping[str, Sequence[Cell]] = PLANS
) -> MachineResults:
    """A machine that was asked for these experiments, with every cell measured and then changed as told."""
    experiments = {name: plan[name] for name in names}
    outcomes = [(one, change(one, planted(one))) for cells in experiments.values() for one in cells]
    return MachineResults(
        environment=environment(),
        plan=Plan(
            experiments=tuple(
                PlannedExperiment(
                    profile="smoke", name=name, title=name, question=f"What of {name}?", cells=tuple(cells)
                )
                for name, cells in experiments.items()
            )
        ),
        records=tuple(record(one, outcome) for one, outcome in outcomes if outcome is not None),
    )
