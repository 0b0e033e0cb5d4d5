"""The page that computes: which records it goes by, what it holds, and what it says without any."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from ablations.harness.cell import Cell, PeakMemory, TimeStep, Workload
from ablations.harness.ledger import peak_of, predicted
from ablations.harness.measurement import Ledger, PeakBytes, StepTimes
from ablations.harness.record import Record
from ablations.harness.store import MachineResults, load_results
from ablations.report.groups import samples
from ablations.report.what_if import page
from ablations.report.what_if.fit import expected_share
from ablations.report.what_if.fitted_variants import FittedVariant, fitted_variants, is_usable
from ablations.report.what_if.page import embedded, machine
from ablations.report.what_if.sizes import sizes_of
from reformer.config import VARIANTS, LSHAttention
from tests.harness.cells import cell, config
from tests.report import records

COMMITTED = Path(__file__).parents[2] / "results"
HOSTILE = "</script><script>alert(1)</script><b>&\"'"
STEP: Workload = TimeStep(mode="forward_backward")
LENGTHS = (512, 1024, 2048, 4096)


def step(variant: str = "dense", *, workload: Workload = STEP, **changes: Any) -> Record:  # noqa: ANN401
    """A record of a step of a small model."""
    of_config = {name: changes.pop(name) for name in tuple(changes) if name in type(config()).model_fields}
    return records.record(cell(variant, workload=workload, config=config(variant, **of_config), **changes))


def grown(variant: str = "reformer", **changes: Any) -> list[Record]:  # noqa: ANN401
    """Steps of enough lengths for a fit."""
    return [step(variant, length=length, max_len=length, **changes) for length in LENGTHS]


@pytest.fixture(scope="module")
def committed() -> tuple[MachineResults, ...]:
    return load_results(COMMITTED)


@pytest.mark.parametrize(
    "other",
    [
        step(workload=TimeStep(mode="forward")),
        step(dtype="bfloat16"),
        step(ff_chunk_len=8),
        step(merge="concatenate"),
        step("reformer", attention=LSHAttention(deduplicate=True)),
        step("reformer", n_layers=2, attention=(LSHAttention(), LSHAttention(n_hashes=4))),
        step("dense", scope="attention", implementation="sdpa_math"),
        records.record(step().cell, ("oom", "no memory was left")),
    ],
    ids=lambda one: one.cell.description if one.measurement else one.status,
)
def test_only_measured_steps_of_plain_models_with_gradients_count(other: Record) -> None:
    assert is_usable(step())
    assert is_usable(step("reformer", attention=LSHAttention(n_hashes=4, chunk_len=16)))
    assert not is_usable(other)


def test_two_backends_of_a_variant_have_a_fit_each_and_one_alone_is_named_without_it() -> None:
    eager = grown(attention=LSHAttention(backend="eager"))
    assert [one.label for one in fitted_variants([*grown(), *eager])] == [
        "reformer, backend=blocked",
        "reformer, backend=eager",
    ]
    assert [one.label for one in fitted_variants(eager)] == ["reformer"]


def test_a_variant_that_only_its_time_was_measured_of_says_so() -> None:
    (one,) = fitted_variants(grown())
    assert one.time is not None
    assert (one.memory, one.memory_missing) == (None, "measured at 0 of the 4 sizes that a fit needs")


def test_what_was_measured_at_too_few_sizes_has_no_fit() -> None:
    assert fitted_variants(grown()[:3]) == ()


def test_seeds_and_experiments_of_one_size_count_once() -> None:
    again = [step("reformer", length=length, max_len=length, experiment="again", seed=5) for length in LENGTHS]
    (one,) = fitted_variants([*grown(), *again])
    assert one.time is not None
    assert one.time.n_configurations == len(LENGTHS)


def test_the_order_of_records_makes_no_difference(committed: tuple[MachineResults, ...]) -> None:
    shuffled = committed[0].records[::-1]
    assert fitted_variants(shuffled) == fitted_variants(committed[0].records)


def corners(results: MachineResults) -> dict[str, FittedVariant]:
    return {one.label: one for one in fitted_variants(results.records) if one.variant in VARIANTS}


def test_all_four_corners_of_committed_results_are_fitted_well(committed: tuple[MachineResults, ...]) -> None:
    measured = [one for one in committed if any(record.cell.workload.kind == "memory" for record in one.records)]
    assert len(measured) >= 2
    for results in measured:
        found = corners(results)
        assert list(found) == list(VARIANTS)
        for label, one in found.items():
            assert one.memory is not None
            assert one.time is not None
            print(results.environment.machine, label, f"{one.memory.worst:.1%} {one.time.worst:.1%}")
            assert one.memory.worst < 0.1
            assert one.time.worst < 0.3


def between(variant: str, *, length: int, n_layers: int, **attention: int) -> Cell:
    changes: dict[str, Any] = {"attention": LSHAttention(**attention)} if attention else {}
    sizes = {"d_model": 64, "n_heads": 1, "d_head": 64, "d_ff": 256, "n_layers": n_layers}
    return cell(
        variant,
        length=length,
        config=config(variant, length=length, **sizes, **changes),
        workload=PeakMemory(mode="forward_backward"),
    )


@pytest.mark.parametrize(
    ("variant", "attention"),
    [("dense", {}), ("reversible_only", {}), ("lsh_only", {"n_hashes": 3}), ("reformer", {"n_hashes": 3})],
)
def test_sizes_between_the_measured_ones_have_the_peak_that_the_ledger_counts(
    committed: tuple[MachineResults, ...], variant: str, attention: dict[str, int]
) -> None:
    memory = corners(committed[0])[variant].memory
    assert memory is not None
    for length, n_layers in ((768, 3), (1536, 6), (3072, 2)):
        one = between(variant, length=length, n_layers=n_layers, **attention)
        ledger = predicted(one)
        assert isinstance(ledger, Ledger)
        assert memory.at(sizes_of(one)) == pytest.approx(peak_of(ledger), rel=0.15)


def size_of(record: Record) -> tuple[tuple[str, int], ...]:
    return tuple((name, size) for name, size in sorted(sizes_of(record.cell).items()) if name != "updates")


def every_second_size(records_of: Sequence[Record], first: int) -> set[tuple[str, tuple[tuple[str, int], ...]]]:
    """Of each variant, in the order of sizes."""
    sizes: dict[str, set[tuple[tuple[str, int], ...]]] = {}
    for record in records_of:
        sizes.setdefault(record.cell.config.variant, set()).add(size_of(record))
    return {(variant, size) for variant, found in sizes.items() for size in sorted(found)[first::2]}


def reading(record: Record) -> tuple[str, float]:
    """Which fit it belongs to, and its value."""
    if isinstance(record.measurement, PeakBytes):
        return "memory", record.measurement.peak_bytes
    assert isinstance(record.measurement, StepTimes)
    return "time", median(samples(record.measurement))


def hits(results: MachineResults, first: int) -> list[tuple[float, bool]]:
    """What every second size promises of each record of the other sizes, and whether its interval holds that record."""
    usable = [record for record in results.records if is_usable(record)]
    shown = every_second_size(usable, first)
    left_out = [record for record in usable if (record.cell.config.variant, size_of(record)) not in shown]
    fitted = corners(results.model_copy(update={"records": tuple(r for r in results.records if r not in left_out)}))
    found = []
    for record in left_out:
        quantity, measured = reading(record)
        one = getattr(fitted.get(record.cell.config.variant), quantity, None)
        if one and one.bounds:
            ratio = measured / one.at(sizes_of(record.cell))
            found.append((expected_share(len(one.ratios)), one.bounds.low <= ratio <= one.bounds.high))
    return found


def test_intervals_of_half_the_committed_sizes_hold_as_many_of_the_others_as_they_promise(
    committed: tuple[MachineResults, ...],
) -> None:
    found = [one for results in committed for first in (0, 1) for one in hits(results, first)]
    promised, held = (sum(column) / len(found) for column in zip(*found, strict=True))
    print(f"{len(found)} values: {promised:.0%} promised, {held:.0%} held")
    assert 0.5 < promised < 0.9
    assert held >= promised - 0.05


def test_the_page_is_small_whole_and_the_same_whatever_the_order_of_machines(
    committed: tuple[MachineResults, ...],
) -> None:
    html = page(committed)
    assert html == page(committed[::-1])
    assert len(html.encode()) < 200_000
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in html
    assert not re.search(r"(?:src|href)=|url\(|@import|https?:", html)
    assert "innerHTML" not in html


def test_a_machines_name_ends_no_element_and_stays_text() -> None:
    results = records.machine({}, where=records.environment(HOSTILE)).model_copy(update={"records": tuple(grown())})
    html = page([results])
    assert html.count("<script") == html.count("</script>") == 2
    assert "<b>" not in html
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in html


def test_no_text_among_the_fits_can_end_their_element() -> None:
    known = machine(records.machine({}).model_copy(update={"records": tuple(grown())}))
    hostile = [one.model_copy(update={"label": HOSTILE}) for one in known.variants]
    text = embedded([known.model_copy(update={"variants": tuple(hostile)})])
    assert "<" not in text
    assert json.loads(text)["machines"][0]["variants"][0]["label"] == HOSTILE


def test_a_single_chunk_length_is_fixed_and_of_several_one_is_asked_for() -> None:
    def with_chunks(*chunks: int) -> MachineResults:
        found = [one for chunk in chunks for one in grown(attention=LSHAttention(chunk_len=chunk))]
        return records.machine({}).model_copy(update={"records": tuple(found)})

    assert machine(with_chunks(32)).chunk_len == 32
    assert machine(with_chunks(32, 64)).chunk_len is None


@pytest.mark.parametrize("found", [(), tuple(grown()[:3])])
def test_without_anything_to_fit_the_page_says_so_and_has_no_form(found: tuple[Record, ...]) -> None:
    html = page([records.machine({}).model_copy(update={"records": found})])
    assert "There is nothing to predict from" in html
    assert "<form" not in html
    assert "<script" not in html


def test_a_machine_without_a_fit_beside_one_with_is_named() -> None:
    with_fit = records.machine({}).model_copy(update={"records": tuple(grown())})
    without = records.machine({}, where=records.environment("bare <i>"))
    assert "Nothing to fit on bare &lt;i&gt;." in page([with_fit, without])


def test_every_machine_brings_its_own_memory_and_its_own_usual_sizes() -> None:
    found = []
    for name, memory, chunk in (("far", 7, 32), ("near", 3, 16)):
        where = records.environment(name).model_copy(update={"memory_bytes": memory * 2**30 + 5})
        known = tuple(grown(attention=LSHAttention(chunk_len=chunk, n_hashes=chunk // 8), d_model=4 * chunk))
        found.append(records.machine({}, where=where).model_copy(update={"records": known}))
    data = json.loads(embedded([machine(one) for one in found]))["machines"]
    assert [one["name"] for one in data] == ["far", "near"]
    assert [one["usual"]["budget"] for one in data] == [7, 3]
    assert [one["usual"]["n_hashes"] for one in data] == [4, 2]
    assert [one["usual"]["d_model"] for one in data] == [128, 64]


def test_the_page_says_what_an_interval_of_few_sizes_is_worth() -> None:
    html = page([records.machine({}).model_copy(update={"records": tuple(grown())})])
    assert "whole range of 4 held out, about 60 %" in html
    assert "of 8 about\n78 %, which is less than the usual 95 %" in html
