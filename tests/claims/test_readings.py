"""Readings compared seed by seed, against numbers worked out by hand."""

import pytest

from ablations.claims.evidence import Evidence, NoEvidenceError, caveats, label
from ablations.claims.readings import across, bits, bits_under, difference, peak, ratio, seconds, slope_share, spread
from ablations.claims.scale import scale_of
from ablations.harness.cell import Cell
from ablations.harness.measurement import Measurement
from ablations.report.statistics import CannotTell, Estimate, Interval, mean_of, paired_difference, scaled

from . import laws
from .records import Outcome, machine

T_OF_TWO = 4.302652729911275
"""Student's t that 95 % lie within, at two degrees of freedom."""


def interval(found: Estimate | CannotTell) -> Interval:
    assert isinstance(found, Estimate), found
    assert found.interval is not None
    return found.interval


def test_a_paired_difference_leaves_out_what_a_seed_does_to_both_sides() -> None:
    found = paired_difference([(3.0, 1.0), (14.0, 11.0), (25.0, 21.0)])
    assert found.value == pytest.approx(3.0)
    reach = T_OF_TWO * 1.0 / 3**0.5
    assert (interval(found).low, interval(found).high) == pytest.approx((3 - reach, 3 + reach))
    assert interval(found).kind == "95 %"
    assert (found.n_processes, found.readings) == (3, (2.0, 3.0, 4.0))


def test_one_seed_has_a_difference_without_an_interval() -> None:
    found = paired_difference([(3.0, 5.0)])
    assert (found.value, found.interval, found.no_interval) == (-2.0, None, "one process")


def test_an_estimate_in_another_unit_keeps_its_kind_and_its_readings() -> None:
    found = scaled(mean_of([2.0, 4.0, 6.0]), 0.5)
    assert found.value == 2.0
    assert found.readings == (1.0, 2.0, 3.0)
    assert interval(found).high - interval(found).low == pytest.approx(T_OF_TWO * 2 / 3**0.5)


def uneven(one: Cell, found: Measurement) -> Outcome:
    """Seeds without noise, and the second of the Transformer missing."""
    if one.config.variant == "transformer" and one.seed == 1:
        return ("killed", "by hand")
    return found


def test_only_seeds_that_measured_both_sides_are_compared() -> None:
    evidence = Evidence(machine(("enwik8_factors",), uneven))
    pair = [evidence.one("enwik8_factors", kind="learn", variant=variant) for variant in ("dense", "transformer")]
    found = difference(pair[0], pair[1], bits)
    assert isinstance(found, Estimate)
    assert found.n_processes == 1
    assert found.value == pytest.approx(-0.01, abs=0.002)


def test_sides_without_a_seed_in_common_cannot_be_compared() -> None:
    def alternating(one: Cell, found: Measurement) -> Outcome:
        return found if one.seed == (one.config.variant == "dense") else None

    evidence = Evidence(machine(("learn_enwik8",), alternating))
    pair = [evidence.one("learn_enwik8", variant=variant) for variant in ("dense", "reformer")]
    assert isinstance(difference(pair[0], pair[1], bits), CannotTell)


def test_counted_bytes_stay_exact_and_times_do_not() -> None:
    evidence = Evidence(machine(("sequence_length",)))
    counted, timed = (
        [evidence.one("sequence_length", kind=kind, variant=name, length=2048) for name in ("dense", "lsh_only")]
        for kind in ("memory", "time")
    )
    expected = laws.peak_of(counted[0].cell) / laws.peak_of(counted[1].cell)
    assert interval(ratio(counted[0], counted[1], peak)) == Interval(expected, expected, "exact")
    assert interval(ratio(timed[0], timed[1], seconds)).kind == "95 %"


def test_slopes_are_compared_over_the_depths_that_both_have() -> None:
    def shallow(one: Cell, found: Measurement) -> Outcome:
        return ("oom", "too deep") if one.config.variant == "dense" and one.config.n_layers > 4 else found

    evidence = Evidence(machine(("depth",), shallow))
    sides = [evidence.measured("depth", variant=variant) for variant in ("reversible_only", "dense")]
    found = slope_share(sides[0], sides[1], "n_layers", peak)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(0.02 / 3.0, rel=1e-3)
    assert isinstance(slope_share(sides[0][:2], sides[1], "n_layers", peak), CannotTell)


def test_a_share_of_what_does_not_rise_is_none() -> None:
    evidence = Evidence(machine(("depth",), lambda one, found: laws.peak(one, 1000)))
    sides = [evidence.measured("depth", variant=variant) for variant in ("reversible_only", "dense")]
    assert isinstance(slope_share(sides[0], sides[1], "n_layers", peak), CannotTell)


def test_several_readings_of_one_group_are_combined_seed_by_seed() -> None:
    evidence = Evidence(machine(("enwik8_controls",)))
    group = evidence.one("enwik8_controls", variant="local_only+lsh_only")
    found = across((group, group), (bits_under("without_lsh"), bits), lambda pair: pair[0] - pair[1])
    assert isinstance(found, Estimate)
    assert found.readings == pytest.approx((0.02, 0.02))
    assert spread(group, bits) == pytest.approx(0.001 / 2**0.5, rel=0.9)


def test_a_condition_that_nobody_evaluated_is_no_evidence() -> None:
    group = Evidence(machine(("learn_enwik8",))).one("learn_enwik8", variant="dense")
    with pytest.raises(NoEvidenceError, match="without_lsh"):
        across((group,), bits_under("without_lsh"), lambda readings: readings[0])


def test_conditions_that_mean_several_groups_are_refused() -> None:
    evidence = Evidence(machine(("depth",)))
    with pytest.raises(
        NoEvidenceError, match="depth has several groups where one is compared: dense length=1024 n_layers=1"
    ):
        evidence.one("depth", variant="dense")


def test_what_became_of_cells_is_told_by_count_and_the_rarest_reasons_are_counted() -> None:
    def fates(one: Cell, found: Measurement) -> Outcome:
        return ("error", f"fault {min(one.config.n_layers, 5)} of {one.config.variant}")

    with pytest.raises(NoEvidenceError) as error:
        Evidence(machine(("depth",), fates)).measured("depth", variant="dense")
    assert "error: fault 1 of dense (1 cell)" in str(error.value)
    assert "and 1 further reason" in str(error.value)


def test_a_setting_that_a_cell_lacks_is_none() -> None:
    evidence = Evidence(machine(("feed_forward_chunks",)))
    whole = evidence.groups("feed_forward_chunks", ff_chunk_len=None)
    assert {group.cell.config.ff_chunk_len for group in whole} == {None}
    assert len(whole) == 2


def test_what_warms_up_too_long_or_shares_its_processors_is_named() -> None:
    def unsteady(one: Cell, found: Measurement) -> Outcome:
        return found.model_copy(update={"steady": False, "others_seconds": 99.0}) if one.seed else found

    groups = Evidence(machine(("long_range_arena",), unsteady)).measured("long_range_arena", kind="time", length=2048)
    told = caveats(groups)
    assert len(told) == 2
    assert all(label(group) in words for group in groups for words in told)


def test_the_scale_is_read_off_the_cells() -> None:
    groups = Evidence(machine(("translation",))).measured("translation")
    sizes = "length 1024; n_layers 3; d_model 64; n_heads 2; batch 1"
    assert scale_of(groups) == f"{sizes}; 40 training steps; 2 seeds; cpu, float32"
    assert "budget 2, 4 GiB; 1 seed" in scale_of(Evidence(machine(("one_million",))).measured("one_million"))
