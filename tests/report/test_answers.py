"""Answers: sentences with numbers that the records bear out, or why there are none. All numbers are planted."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from ablations.harness.cell import Capacity, Cell, Exactness, PeakMemory, TimeStep
from ablations.harness.measurement import ConditionResult, Discrepancy, LearningCurve, Measurement, PeakBytes
from ablations.harness.record import Record
from ablations.harness.search import Search
from ablations.harness.training import Learn
from ablations.report.answers import answers
from ablations.report.views import experiment_results

from . import contenders, records
from .test_capacity_tables import measured as probes
from .test_capacity_tables import planned, search, within

STEP = TimeStep(mode="forward_backward")
PEAK = PeakMemory(mode="training_step")
Found = Callable[[Cell], Measurement | tuple[str, str] | None]
"""What measuring a cell gives: `None` leaves it without a record."""


def said(cells: Sequence[Cell], found: Found) -> str:
    made = [record for one in cells for record in _records(one, found(one))]
    return " ".join(answers(experiment_results(records.planned("q", cells), made)))


def _records(one: Cell, found: Measurement | tuple[str, str] | None) -> tuple[Record, ...]:
    if found is None:
        return ()
    return contenders.measured([one], lambda _: found).records


def changed(cells: Sequence[Cell], **changes: int | None) -> list[Cell]:
    """The same with other fields of their configs."""
    return [
        Cell(**dict(one) | {"config": one.config.model_validate(one.config.model_dump() | changes)}) for one in cells
    ]


# Training


def learns(
    *variants: str,
    workload: Learn = records.LEARN,
    seeds: Sequence[int] = (0, 1, 2),
    n_layers: Sequence[int] = (3,),
    n_hashes: Sequence[int] = (2,),
) -> tuple[Cell, ...]:
    return records.grid(
        "q", variants=variants, workloads=(workload,), seeds=seeds, n_layers=n_layers, n_hashes=n_hashes
    )


def curve(
    one: Cell, bits: float, *, accuracy: float | None = None, asked: Mapping[str, float] | None = None
) -> LearningCurve:
    """Which ends there; under each condition `asked` has the share of right predictions, or else bits."""
    made = records.measurement(one)
    assert isinstance(made, LearningCurve)
    last = made.evaluations[-1].model_copy(update={"bits_per_token": bits, "accuracy": accuracy})
    conditions = tuple(
        ConditionResult(condition=name, bits_per_token=value, n_tokens=35, accuracy=None if accuracy is None else value)
        for name, value in (asked or {}).items()
    )
    return made.model_copy(update={"evaluations": (*made.evaluations[:-1], last), "conditions": conditions})


def rounds_of(one: Cell) -> int:
    return getattr(one.config.attentions[0], "n_hashes", 0)


BITS = {"dense": (2.0, 2.1, 2.5), "reformer": (2.4, 2.6, 3.1)}


def test_of_training_a_difference_is_taken_seed_by_seed_and_more_bits_are_plus() -> None:
    assert said(learns("dense", "reformer"), lambda one: curve(one, BITS[one.config.variant][one.seed])) == (
        "Held-out bits per byte after training, on average over the seeds that trained both: reformer at 2.700 against "
        "dense at 2.200, a difference of +0.500 (95 % interval 0.252 to 0.748, n = 3 seeds)."
    )


def test_fewer_bits_are_minus() -> None:
    turned = {"dense": BITS["reformer"], "reformer": BITS["dense"]}
    assert (
        "reformer at 2.200 against dense at 2.700, a difference of -0.500 (95 % interval -0.748 to -0.252, n = 3 seeds)"
    ) in said(learns("dense", "reformer"), lambda one: curve(one, turned[one.config.variant][one.seed]))


def test_levels_are_of_the_seeds_that_both_have() -> None:
    def found(one: Cell) -> Measurement | None:
        lost = one.config.variant == "reformer" and one.seed == 2
        return None if lost else curve(one, BITS[one.config.variant][one.seed])

    sentence = said(learns("dense", "reformer"), found)
    assert "reformer at 2.500 against dense at 2.050, a difference of +0.450" in sentence
    assert "n = 2 seeds" in sentence


def test_without_a_seed_that_both_have_nothing_is_said_of_a_difference() -> None:
    sentence = said(
        learns("dense", "reformer", seeds=(0, 1)),
        lambda one: curve(one, 2.5) if (one.config.variant == "dense") == (one.seed == 0) else None,
    )
    assert sentence == "Cannot tell how far reformer and dense differ after training: no seed has trained both."


def test_an_interval_that_holds_zero_decides_nothing() -> None:
    ends = {"dense": (2.0, 2.0, 2.0), "reformer": (1.75, 2.25, 2.0)}
    assert said(learns("dense", "reformer"), lambda one: curve(one, ends[one.config.variant][one.seed])).endswith(
        "a difference of 0.000 (95 % interval -0.621 to 0.621, n = 3 seeds; whether that is more or less cannot be "
        "told)."
    )


def test_hash_rounds_are_set_against_dense_attention_and_the_fewest_and_most_are_told() -> None:
    cells = learns("dense_query_chunked", "lsh_only", n_hashes=(1, 2, 16))
    # Rounds of a dense model: none.
    sentence = said(cells, lambda one: curve(one, {0: 5.0, 1: 5.5, 2: 5.25, 16: 5.125}[rounds_of(one)]))
    assert "lsh_only, n_hashes=1 at 5.500 against dense_query_chunked at 5.000, a difference of +0.500" in sentence
    assert "lsh_only, n_hashes=16 at 5.125 against dense_query_chunked at 5.000, a difference of +0.125" in sentence
    assert "5.250" not in sentence


def test_what_both_vary_in_is_the_same_on_both_sides() -> None:
    cells = learns("dense", "reformer", n_layers=(1, 3, 12))
    ends = {"dense": 3.0, "reformer": 3.25}
    sentence = said(cells, lambda one: curve(one, ends[one.config.variant] - one.config.n_layers / 16))
    assert "reformer, n_layers=1 at 3.188 against dense, n_layers=1 at 2.938, a difference of +0.250" in sentence
    assert "reformer, n_layers=12 at 2.500 against dense, n_layers=12 at 2.250, a difference of +0.250" in sentence


def test_each_switch_is_set_against_what_differs_from_it_in_nothing_else() -> None:
    ends = {"dense": 4.0, "dense_separate_qk": 3.5, "transformer": 3.0, "reversible_separate_qk": 3.25}
    sentence = said(learns(*ends), lambda one: curve(one, ends[one.config.variant]))
    assert "reversible_separate_qk at 3.250 against transformer at 3.000, a difference of +0.250" in sentence
    assert "dense at 4.000 against dense_separate_qk at 3.500, a difference of +0.500" in sentence
    assert sentence.count("against") == 2


def test_of_one_variant_its_last_setting_is_set_against_its_first() -> None:
    sentence = said(learns("reformer", n_layers=(1, 2, 12)), lambda one: curve(one, 4.0 - one.config.n_layers / 16))
    assert "reformer, n_layers=12 at 3.250 against reformer, n_layers=1 at 3.938, a difference of -0.688" in sentence


def test_a_variant_that_trains_alone_is_told_alone() -> None:
    sentence = said(learns("reformer"), lambda one: curve(one, 3.0 + one.seed))
    assert sentence == "Held-out bits per byte after training: reformer at 4.000 (range 3.000 to 5.000, n = 3 seeds)."


def test_where_right_predictions_are_counted_they_are_told_with_what_other_attention_makes_of_the_model() -> None:
    right = {"dense": 0.75, "lsh_only": 0.5}
    asked = {"dense": 0.875, "lsh_8": 0.625, "lsh_1": 0.25}
    sentence = said(
        learns("dense", "lsh_only", workload=records.DUPLICATE),
        lambda one: curve(one, 9.0, accuracy=right[one.config.variant], asked=asked),
    )
    assert sentence.startswith(
        "Accuracy after training, on average over the seeds that trained both: lsh_only at 50.0 % against dense at "
        "75.0 %, a difference of -25.0 percentage points (95 % interval -25.0 to -25.0 percentage points, n = 3 seeds)."
    )
    for trained in ("dense", "lsh_only"):
        assert (
            f"Trained as {trained} and evaluated otherwise, mean accuracy: dense 87.5 %, lsh_8 62.5 %, lsh_1 25.0 % "
            "(n = 3 seeds each)."
        ) in sentence
    assert "9.000" not in sentence


def test_conditions_of_a_task_without_right_predictions_are_told_in_bits() -> None:
    workload = records.LEARN.model_copy(update={"conditions": records.DUPLICATE.conditions[:2]})
    sentence = said(
        learns("reformer", workload=workload),
        lambda one: curve(one, 5.0, asked={"dense": 4.5 + one.seed, "lsh_8": 4.75}),
    )
    assert sentence.endswith("mean held-out bits per byte: dense 5.500, lsh_8 4.750 (n = 3 seeds each).")


def test_translations_are_told_in_bleu() -> None:
    def found(one: Cell) -> Measurement:
        made = records.measurement(one)
        assert isinstance(made, LearningCurve)
        assert made.translations
        bleu = {"transformer": 20.0, "reversible_separate_qk": 22.5}[one.config.variant]
        return made.model_copy(update={"translations": made.translations.model_copy(update={"bleu": bleu})})

    sentence = said(learns("transformer", "reversible_separate_qk", workload=records.TRANSLATE), found)
    assert sentence == (
        "BLEU after training, on average over the seeds that trained both: reversible_separate_qk at 22.5 against "
        "transformer at 20.0, a difference of +2.5 (95 % interval 2.5 to 2.5, n = 3 seeds)."
    )


def test_bits_of_a_picture_are_per_dimension() -> None:
    cells = learns("reformer", workload=records.PAINT)
    assert said(cells, lambda one: curve(one, 6.5)).startswith(
        "Held-out bits per dimension after training: reformer at 6.500"
    )


# Steps


def steps(
    *variants: str,
    seeds: Sequence[int] = (0, 1),
    length: Sequence[int] = (1024,),
    n_layers: Sequence[int] = (3,),
    n_hashes: Sequence[int] = (2,),
) -> tuple[Cell, ...]:
    return records.grid(
        "q", variants=variants, workloads=(STEP,), seeds=seeds, length=length, n_layers=n_layers, n_hashes=n_hashes
    )


def peaks(*variants: str, n_layers: Sequence[int] = (3,)) -> tuple[Cell, ...]:
    return records.grid("q", variants=variants, workloads=(PEAK,), seeds=(0,), n_layers=n_layers)


def peak(one: Cell, n_bytes: float) -> PeakBytes:
    """Of a model whose parameters take 3 MiB, and 1 MiB more with each layer."""
    made = records.measurement(one)
    assert isinstance(made, PeakBytes)
    held = (3 + one.config.n_layers) * 2**20
    return made.model_copy(
        update={"peak_bytes": round(n_bytes), "parameter_bytes": held, "gradient_bytes": held, "optimiser_bytes": 7}
    )


SECONDS = {("reformer", 512): 2.0, ("dense", 512): 1.0, ("reformer", 1024): 4.0, ("dense", 1024): 8.0}


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (
            None,
            "At sequence length 1024, a forward and backward pass of reformer takes 0.500 times as long as one of "
            "dense (95 % interval 0.500 to 0.500, n = 2 rounds). From sequence length 512 to 1024, the time changes by "
            "a factor of 2.00 with reformer (95 % interval 2.00 to 2.00, n = 2 rounds) and 8.00 with dense (95 % "
            "interval 8.00 to 8.00, n = 2 rounds).",
        ),
        (
            ("dense", 1024),
            "At sequence length 512, a forward and backward pass of reformer takes 2.00 times as long as one of dense "
            "(95 % interval 2.00 to 2.00, n = 2 rounds).",
        ),
    ],
)
def test_over_length_times_are_compared_at_the_longest_that_both_have(lost: object, told: str) -> None:
    def found(one: Cell) -> Measurement | tuple[str, str]:
        which = (one.config.variant, one.length)
        # A whole round may be slower: the ratio within it stays.
        return ("oom", "full") if which == lost else contenders.times([SECONDS[which] * (1 + one.seed)] * 3)

    assert said(steps("dense", "reformer", length=(512, 1024)), found) == told


def test_a_ratio_that_may_be_more_or_less_than_one_is_called_so() -> None:
    def found(one: Cell) -> Measurement:
        return contenders.times([1.0 if one.config.variant == "dense" else 2.0 ** (2 * one.seed - 1)] * 3)

    sentence = said(steps("dense", "reformer"), found)
    assert sentence.startswith("A forward and backward pass of reformer takes 1.25 times as long as one of dense (95 %")
    assert sentence.endswith("n = 2 rounds; whether that is more or less cannot be told).")


def test_one_round_has_no_interval() -> None:
    sentence = said(
        steps("dense", "reformer", seeds=(0,)),
        lambda one: contenders.times([3.0 if one.config.variant == "dense" else 6.0] * 3),
    )
    assert sentence.endswith("takes 2.00 times as long as one of dense (one round has no interval, n = 1 round).")


def test_over_depth_memory_comes_first_with_what_each_layer_adds() -> None:
    def found(one: Cell) -> Measurement:
        if isinstance(one.workload, TimeStep):
            return contenders.times([1.0] * 3)
        per_layer = {"transformer": 10, "reformer": 0.25}[one.config.variant]
        return peak(one, (4 + per_layer * one.config.n_layers) * 2**20)

    cells = (
        *peaks("transformer", "reformer", n_layers=(2, 4, 12)),
        *steps("transformer", "reformer", n_layers=(2, 4, 12)),
    )
    assert said(cells, found).startswith(
        # (4 + 3) / (4 + 120); parameters and gradients of a layer take 2 MiB.
        "At depth 12, a training step of reformer needs 0.0565 times the peak memory of one of transformer (exact, n = "
        "1 round). From depth 2 to 12 each layer adds on average 256 KiB to the peak of reformer (2.25 MiB with "
        "parameters and gradients; exact, n = 1 round) and 10.0 MiB to the peak of transformer (12.0 MiB with "
        "parameters and gradients; exact, n = 1 round). At depth 12, a forward and backward pass of reformer takes 1.00"
    )


def test_along_hash_rounds_the_most_are_set_against_the_fewest() -> None:
    cells = steps("dense", "lsh_only", n_hashes=(1, 2, 16))
    sentence = said(cells, lambda one: contenders.times([0.5 + rounds_of(one)] * 3))
    assert sentence == (
        "At hash rounds 16, a forward and backward pass of lsh_only takes 11.0 times as long as one at 1 (95 % "
        "interval 11.0 to 11.0, n = 2 rounds)."
    )


def test_what_lacks_the_setting_is_what_the_others_are_set_against() -> None:
    plain = peaks("reformer")
    cells = [
        one
        for width in (4096, 16384)
        for chunk in (None, 1024, 256, 128)
        for one in changed(plain, ff_chunk_len=chunk, d_ff=width)
    ]
    kept = {None: 1.0, 1024: 0.5, 256: 0.25, 128: 0.125}

    def found(one: Cell) -> Measurement:
        wide = one.config.d_ff == 16384
        return peak(one, 2**30 * (kept[one.config.ff_chunk_len] if wide else 1.0))

    assert said(cells, found) == (
        "At ff_chunk_len 1024, a training step of reformer, d_ff=4096 needs 1.00 times the peak memory of one without "
        "ff_chunk_len (exact, n = 1 round), and at 128, 1.00 times (exact, n = 1 round). "
        "At ff_chunk_len 1024, a training step of reformer, d_ff=16384 needs 0.500 times the peak memory of one "
        "without ff_chunk_len (exact, n = 1 round), and at 128, 0.125 times (exact, n = 1 round)."
    )


def test_ours_is_set_against_each_other_implementation() -> None:
    seconds = {"ours": 1.0, "huggingface": 4.0, "lucidrains": 2.0, "sdpa_flash": 0.25}
    cells = [contenders.contender(name, length=length) for name in seconds for length in (512, 1024)]
    sentence = said(cells, lambda one: contenders.times([seconds[one.implementation] * one.length] * 3))
    assert sentence.startswith("At sequence length 1024, a forward and backward pass of attention alone of ours takes")
    for ratio, name in (("0.250", "huggingface"), ("0.500", "lucidrains"), ("4.00", "sdpa_flash")):
        assert f"{ratio} times as long as one of {name} (one round has no interval, n = 1 round)" in sentence


def test_a_reason_names_what_is_lacking() -> None:
    def at(length: int) -> Found:
        return lambda one: contenders.times([1.0]) if one.length == length else ("oom", "full")

    cells = steps("dense", "dense_fused", length=(512, 1024))
    assert said(cells, at(512)) == (
        "Cannot tell how a forward and backward pass compares: of those with a result, none of reformer, ours, "
        "lsh_only, reversible_only, reversible_separate_qk has one."
    )
    cells = steps("dense", "reformer", length=(512, 1024))
    alone = said(cells, lambda one: contenders.times([1.0]) if one.config.variant == "reformer" else ("oom", "full"))
    assert alone == (
        "Cannot tell how a forward and backward pass compares: of those with a result, no other variant has one beside "
        "reformer."
    )
    cells = steps("lsh_only", n_hashes=(1, 2))
    one_place = said(cells, lambda one: contenders.times([1.0]) if rounds_of(one) == 1 else ("oom", "full"))
    assert one_place == (
        "Cannot tell how a forward and backward pass changes: no variant of interest has a result at two places."
    )


def test_without_a_result_the_statuses_are_the_reason() -> None:
    cells = steps("dense", "reformer")
    assert said(cells, lambda _: ("oom", "full")) == "Cannot tell: no cell has a result (out of memory)."
    assert said(cells, lambda _: None) == "Cannot tell: no cell has a result (missing)."
    assert said((), lambda _: None) == "Cannot tell: no cell is planned."


# Budgets


def searched(*made: tuple[Search, int]) -> str:
    found = [one for of, limit in made for one in probes(of, within(limit))]
    return " ".join(answers(experiment_results(planned(*(of for of, _ in made)), found)))


def test_the_longest_sequences_of_two_variants_are_told_for_each_budget() -> None:
    told = searched(
        (search("dense", budget_bytes=2**29), 1100),
        (search("reformer", budget_bytes=2**29), 3000),
        (search("dense", budget_bytes=None), 1500),
        (search("reformer", budget_bytes=None), 10**6),
    )
    assert told == (
        "Within 512 MiB, the longest sequence that trains: reformer 2,944 tokens (out of memory at 3,072); dense 1,024 "
        "tokens (out of memory at 1,152); n = 1 search each. "
        "Within what was free, 16.0 GiB, the longest sequence that trains: reformer at least 8,192 tokens (slow beyond "
        "8,192); dense 1,408 tokens (out of memory at 1,536); n = 1 search each."
    )


def test_a_search_in_which_nothing_fits_says_below_what() -> None:
    assert searched((search("dense"), 0)) == (
        "Within 768 MiB, the longest sequence that trains: dense below 128 tokens (out of memory at 128); n = 1 search "
        "each."
    )


def test_a_search_that_failed_at_once_cannot_tell() -> None:
    of = search("dense")
    (killed,) = answers(experiment_results(planned(of), probes(of, lambda _: "killed")))
    assert "dense cannot tell (killed at 512, which says nothing of memory)" in killed


def test_what_searches_of_one_variant_differ_in_is_named() -> None:
    told = searched((search("reformer", n_layers=2), 3000), (search("reformer", n_layers=5), 1100))
    assert "reformer, n_layers=2 2,944 tokens" in told
    assert "reformer, n_layers=5 1,024 tokens" in told


def test_of_single_sizes_only_what_found_no_memory_does_not_train() -> None:
    workload = Capacity(budget_bytes=3 * 2**29)
    variants = ("dense", "reversible_only", "lsh_only", "reformer", "dense_fused")
    cells = records.grid("q", variants=variants, workloads=(workload,), length=(640,), n_layers=(7,))
    fates: dict[str, tuple[str, str] | None] = {
        "dense": ("oom", "full"),
        "reversible_only": ("killed", "by the system"),
        "lsh_only": None,
    }

    def found(one: Cell) -> Measurement | tuple[str, str] | None:
        if one.config.variant == "dense_fused" and one.seed == 1:
            return ("oom", "full")
        return fates.get(one.config.variant, records.measurement(one))

    assert said(cells, found) == (
        "With 7 layers on 640 tokens within 1.50 GiB: "
        "dense does not train (out of memory, n = 2 runs); "
        "reversible_only cannot tell (killed, n = 2 runs); "
        "lsh_only cannot tell (missing, n = 2 runs); "
        "reformer trains (n = 2 runs); "
        "dense_fused does not train (out of memory, n = 2 runs)."
    )


def test_sizes_have_their_own_sentence_each_and_n_is_of_each() -> None:
    long, longer = (
        records.grid("q", variants=("reformer",), workloads=(Capacity(budget_bytes=budget),), length=(length,), seeds=s)
        for length, budget, s in ((1024, 2**30, (0,)), (4096, 2**31, (0, 1)))
    )
    assert said((*long, *longer), lambda one: records.measurement(one) if one.length == 1024 else ("oom", "")) == (
        "With 3 layers on 1,024 tokens within 1.00 GiB: reformer trains (n = 1 run). "
        "With 3 layers on 4,096 tokens within 2.00 GiB: reformer does not train (out of memory, n = 2 runs)."
    )


# Checks


def discrepancy(difference: float, *, n_compared: int = 789, n_parameters: int = 123) -> Discrepancy:
    return Discrepancy(
        largest_difference=difference,
        largest_value=1.0,
        relative_difference=difference,
        n_compared=n_compared,
        n_parameters=n_parameters,
    )


def test_differences_are_told_by_their_range_apart_for_what_changes_their_meaning() -> None:
    plain = records.grid(
        "q",
        variants=("reversible_only", "reformer"),
        workloads=(Exactness(check="inversion"),),
        n_layers=(3, 6, 12),
        seeds=(0,),
    )
    cells = [*plain, *changed(plain, grid_bits=12)]
    times = {"reversible_only": 2, "reformer": 1}

    def found(one: Cell) -> Measurement:
        difference = one.config.n_layers * times[one.config.variant] / 1000
        return discrepancy(0.0 if one.config.grid_bits else difference)

    told = said(cells, found)
    assert told == (
        "Relative difference: 0.003 to 0.024 (range over n = 6 runs, the largest of reversible_only); 0 with "
        "grid_bits=12 (all equal, n = 6 runs)."
    )


def test_parameters_are_told_variant_by_variant() -> None:
    cells = records.grid("q", variants=("transformer", "dense"), workloads=(Exactness(check="parameters"),), seeds=(0,))
    sizes = {"transformer": 4567, "dense": 1234}
    told = said(cells, lambda one: discrepancy(0.0, n_compared=0, n_parameters=sizes[one.config.variant]))
    assert told == "Parameters, counted exactly: dense 1,234; transformer 4,567 (n = 2 runs)."


def test_ceilings_are_told_for_each_type_of_number_and_one_process_is_one() -> None:
    cells = [contenders.ceiling_cell(dtype=dtype) for dtype in ("float32", "bfloat16")]
    told = said(cells, lambda one: records.ceilings(flops=3e12 if one.dtype == "float32" else 5e12, bandwidth=1.5e12))
    assert told == (
        "In float32 this machine multiplies at up to 3.00 TFLOP/s and copies at up to 1.50 TB/s, n = 1 process. "
        "In bfloat16 this machine multiplies at up to 5.00 TFLOP/s and copies at up to 1.50 TB/s, n = 1 process."
    )
