"""Every claim is decided by records: they can bear it out, contradict it, or be wanting."""

import importlib

import pytest

from ablations.claims.claim import Claim, Finding
from ablations.claims.evidence import Evidence
from ablations.claims.parts import Predicate
from ablations.claims.registry import CLAIMS, judge_all
from ablations.harness.cell import Cell, Device
from ablations.harness.experiment import Profile
from ablations.harness.measurement import Measurement, StepTimes

from .changes import BREAKS, BREAKS_A_PART, HOLDS, NEVER_HERE, accuracy, no_translation
from .records import Change, Outcome, machine, unchanged

BY_ID = {claim.id: claim for claim in CLAIMS}
DECIDED = tuple(name for name in BY_ID if name not in NEVER_HERE)
SAMPLE = ("C4", "C8", "C13", "C14", "C7", "C17")
"""A claim of each kind of measurement."""
PAPERS = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12", "C13", "C13b", "C14", "C15")
LATER = ("C16", "C17", "C18", "C19", "C20", "C21")
ONLY_TOLD = {
    ("C14", "20 layers, 65,536 tokens, within 16 GiB x d_model / 1,024"),
    ("C17", "BLEU of the Transformer at least 10"),
}
"""Parts that cannot fail: what a smaller size does not show is open, and nothing follows from who learned nothing."""


def finding(name: str, change: Change = unchanged) -> Finding:
    return BY_ID[name].judge(Evidence(machine(BY_ID[name].experiments, change)))


def predicate(claim: Claim) -> Predicate:
    assert isinstance(claim.judge, Predicate)
    return claim.judge


def test_every_claim_of_the_notes_is_there_once() -> None:
    assert len(BY_ID) == len(CLAIMS)
    assert set(PAPERS + LATER) <= set(BY_ID)


@pytest.mark.parametrize("name", DECIDED)
def test_a_claim_is_reproduced_where_records_bear_it_out_and_names_their_cells(name: str) -> None:
    results = machine(BY_ID[name].experiments, HOLDS.get(name, unchanged))
    found = BY_ID[name].judge(Evidence(results))
    assert found.verdict == "reproduced", found
    assert found.ours
    assert found.evidence
    assert len(set(found.evidence)) == len(found.evidence)
    assert set(found.evidence) <= {one.cell_id for one in results.records}


@pytest.mark.parametrize("name", DECIDED)
def test_a_claim_is_not_reproduced_where_records_contradict_it(name: str) -> None:
    found = finding(name, BREAKS[name])
    assert found.verdict == "not reproduced", found
    assert "does not hold" in found.reason


def test_every_claim_can_be_contradicted_unless_it_is_listed_as_beyond_us() -> None:
    assert BREAKS.keys() | NEVER_HERE.keys() == BY_ID.keys()
    assert not BREAKS.keys() & NEVER_HERE.keys()


@pytest.mark.parametrize("name", DECIDED)
def test_every_part_of_a_claim_can_fail(name: str) -> None:
    claim = BY_ID[name]
    holds = Evidence(machine(claim.experiments, HOLDS.get(name, unchanged)))
    broken = [Evidence(machine(claim.experiments, one)) for one in (BREAKS[name], *BREAKS_A_PART.get(name, ()))]
    asked = [part for part in predicate(claim).parts if part.answer(holds).state != "noted"]
    never = [part.what for part in asked if "fails" not in {part.answer(one).state for one in broken}]
    assert {(name, what) for what in never} == {told for told in ONLY_TOLD if told[0] == name}


@pytest.mark.parametrize("name", BY_ID)
def test_without_records_nothing_is_testable_and_the_reason_says_what_was_not_asked_for(name: str) -> None:
    found = BY_ID[name].judge(Evidence(machine(())))
    assert found.verdict == "not testable here"
    assert found.evidence == ()
    assert all(experiment in found.reason for experiment in BY_ID[name].experiments), found.reason


@pytest.mark.parametrize("name", SAMPLE)
def test_planned_cells_that_nobody_ran_are_the_reason(name: str) -> None:
    found = finding(name, lambda one, found: None)
    assert found.verdict == "not testable here"
    assert "not run yet" in found.reason


@pytest.mark.parametrize("name", SAMPLE)
def test_what_stopped_the_cells_is_the_reason(name: str) -> None:
    found = finding(name, lambda one, found: ("not_run", "the data set is not here"))
    assert found.verdict == "not testable here"
    assert "not run: the data set is not here" in found.reason


@pytest.mark.parametrize("name", NEVER_HERE)
def test_what_is_beyond_us_stays_so_whatever_was_measured(name: str) -> None:
    assert finding(name).verdict == "not testable here"


def test_a_run_that_is_out_of_reach_is_told_with_its_operations_and_our_best_short_run() -> None:
    found = finding("C15")
    assert "8.7e+18 FLOP" in found.ours
    assert "2.10" in found.ours
    assert found.evidence


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_says_how_sure_its_numbers_are_and_what_must_hold(claim: Claim) -> None:
    assert any(word in claim.paper for word in ("seen in", "one origin", "digitised"))
    assert claim.says.endswith(".")
    assert claim.predicate


def test_judging_all_keeps_their_order_and_names_profile_and_machine() -> None:
    judged = judge_all(machine(("depth", "hash_rounds")))
    assert tuple(one.claim.id for one in judged) == tuple(BY_ID)
    assert {one.scale for one in judged if "depth" in one.claim.experiments} == {"smoke"}
    assert {one.scale for one in judged if not one.claim.experiments} == {""}
    assert {one.machine for one in judged} == {"testbench-cpu"}


def test_one_seed_bears_out_nothing_but_leaves_it_open() -> None:
    found = finding("C9", lambda one, found: found if one.seed == 0 else None)
    assert found.verdict == "partly"
    assert "cannot tell" in found.reason
    assert "no interval: one process" in found.ours


def test_each_gate_of_the_duplication_task_is_told() -> None:
    found = finding("C8")
    assert all(f"({gate})" in found.ours for gate in "abcdef")
    assert "20 of 20" in found.ours


def test_nothing_follows_where_not_even_the_baseline_has_learned_the_task() -> None:
    chance = finding("C8", accuracy(None, None, 0.008))
    assert chance.verdict == "not testable here"
    assert "dense attention itself has not learned the task in 40 steps" in chance.reason
    mute = finding("C17", no_translation)
    assert mute.verdict == "not testable here"
    assert "does not translate yet, BLEU 0.5" in mute.reason


@pytest.mark.parametrize("missing", ["feed_forward_chunks", "depth"])
def test_a_claim_of_which_some_experiment_was_not_run_is_reproduced_in_part(missing: str) -> None:
    claim = BY_ID["C5"]
    results = machine([name for name in claim.experiments if name != missing])
    found = claim.judge(Evidence(results))
    assert found.verdict == "partly"
    assert f"{missing} was not asked for on this machine" in found.reason


def test_a_model_that_is_not_as_long_as_the_papers_leaves_it_open_whether_that_would_fit() -> None:
    short = [shorter(one) for one in machine(("deep_and_long",)).plan.experiments[0].cells]
    results = machine(("deep_and_long",), HOLDS["C14"], plan={"deep_and_long": short})
    found = BY_ID["C14"].judge(Evidence(results))
    assert found.verdict == "partly"
    assert "4,096 tokens" in found.ours
    assert "cannot tell: 20 layers, 65,536 tokens" in found.reason


def shorter(one: Cell) -> Cell:
    return Cell(**dict(one) | {"length": 4096})


def test_contended_times_are_named_where_a_claim_rests_on_them() -> None:
    def contended(one: Cell, found: Measurement) -> Outcome:
        took = isinstance(found, StepTimes) and one.length == 1024
        return found.model_copy(update={"others_seconds": 100.0}) if took else found

    words = "times taken while others used the processors: "
    assert f"{words}ours length=1024 n_hashes=1" in finding("C13", contended).reason
    # That one is about the longest length only.
    assert words not in finding("FASTAI-time", contended).reason


OF_MEMORY = frozenset({"C1", "C2", "C3", "C4", "C5", "BLOG-depth", "BLOG-chunks", "LRA-memory"})
"""Claims that bytes decide: a plan has readings enough of them for an interval, on a GPU too."""

WITHOUT_CELLS = {
    "C18b": "the longest sequence is searched for: its cells are not in the grid",
    "LUCIDRAINS-speed": "on a GPU nothing is as short as 512 tokens",
}
"""Claims some part of which asks for cells that a profile does not have, and why."""


@pytest.mark.parametrize(("profile", "device"), [("paper-cpu", "cpu"), ("paper", "cuda")])
def test_the_experiments_as_they_are_have_the_cells_that_claims_ask_for(profile: Profile, device: Device) -> None:
    names = dict.fromkeys(name for claim in CLAIMS for name in claim.experiments)
    experiments = [importlib.import_module(f"ablations.experiments.{name}").EXPERIMENT for name in names]
    plan = {one.name: one.cells(profile, device) for one in experiments if profile in one.scales}
    evidence = Evidence(machine(plan, plan=plan))
    answers = [(claim.id, part.answer(evidence)) for claim in CLAIMS for part in predicate(claim).parts if part.asked]
    missing = {name: answer.words for name, answer in answers if answer.state == "no evidence"}
    assert missing.keys() <= WITHOUT_CELLS.keys(), missing
    open_ones = {name for name, answer in answers if answer.state == "cannot tell"}
    assert not open_ones & OF_MEMORY
