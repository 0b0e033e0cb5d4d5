"""The report opens with the claims: every verdict in words, every text shown as text, what was not asked for folded."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.report.claims_table import SIGNS, ClaimRow, summary
from ablations.report.render import render

from . import records

HOSTILE = "<script>alert(1)</script> | x\n# y `z` [a](b) *c* & \"d\" 'e'"
MACHINE = "testbench-cpu"

ROW = ClaimRow(
    id="C3",
    place="Figure 7",
    says="Reversible layers cost no memory.",
    paper="0 bytes per layer",
    ours="2.00 % (exact) of an ordinary layer",
    predicate="at most 5 %",
    verdict="reproduced",
    reason="By a wide margin.",
    scale="cpu",
    evidence=("0123456789abcdef", "fedcba9876543210"),
    experiments=("depth",),
)
UNASKED = replace(
    ROW, id="C21", verdict="not testable here", ours="", scale="", evidence=(), experiments=("one_million",)
)
FORMS = ("index.html", "index.md")


def rendered(folder: Path, *rows: ClaimRow, accelerator: str | None = None) -> dict[str, str]:
    cells = records.grid("depth", variants=("dense", "reformer"), n_layers=(1, 2, 4))
    results = records.machine({"depth": cells}, where=records.environment(MACHINE, accelerator=accelerator))
    render([results], folder, {MACHINE: rows} if rows else {})
    return {name: (folder / name).read_text() for name in FORMS}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    rows = [replace(ROW, id=f"V{number}", verdict=verdict) for number, verdict in enumerate(SIGNS)]
    return rendered(tmp_path_factory.mktemp("claims"), *rows, UNASKED)


@pytest.mark.parametrize("form", FORMS)
def test_everything_that_is_known_of_a_claim_is_shown(form: str, page: dict[str, str]) -> None:
    texts = (
        ROW.place,
        ROW.says,
        ROW.paper,
        ROW.ours,
        ROW.predicate,
        ROW.reason,
        f"(profile {ROW.scale})",
        *ROW.evidence,
    )
    for text in texts:
        assert page[form].count(text) == len(SIGNS), text


@pytest.mark.parametrize("form", FORMS)
def test_the_claims_stand_before_machine_headlines_and_experiments(form: str, page: dict[str, str]) -> None:
    text = page[form].partition("</nav>")[2] or page[form]
    places = [
        text.index(one) for one in ("Of 5 claims:", ROW.predicate, "Planted Processor", "Peak memory of a training")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("form", FORMS)
def test_one_sentence_counts_every_verdict(form: str, page: dict[str, str]) -> None:
    assert "Of 5 claims: 1 reproduced, 1 partly, 1 not reproduced, 2 not testable here." in page[form]


def test_of_one_claim_the_sentence_names_its_verdict_alone() -> None:
    assert summary([ROW]) == "Of 1 claim: 1 reproduced."


def test_a_verdict_is_a_word_and_a_sign_and_not_a_colour_alone(page: dict[str, str]) -> None:
    assert len(set(SIGNS.values())) == len(SIGNS)
    for verdict, sign in SIGNS.items():
        assert f"| {sign} {verdict} |" in page["index.md"]
        assert f'<span aria-hidden="true">{sign}</span> {verdict}</span>' in page["index.html"]


def test_every_verdict_has_a_colour_in_light_and_in_dark(page: dict[str, str]) -> None:
    light, dark = re.findall(r":root \{([^}]*)\}", page["index.html"])
    for verdict in SIGNS:
        name = verdict.replace(" ", "-")
        found = re.search(rf"\.verdict\.{name} \{{ color: var\((--[a-z]+)\)", page["index.html"])
        assert found, verdict
        assert f"{found[1]}: #" in light
        assert f"{found[1]}: #" in dark


def test_evidence_is_folded_on_the_page(page: dict[str, str]) -> None:
    folded = f"<details><summary>2 cells</summary><code>{' '.join(ROW.evidence)}</code></details>"
    assert page["index.html"].count(folded) == len(SIGNS)


@pytest.mark.parametrize("form", FORMS)
def test_a_claim_that_the_plan_has_no_experiment_for_is_one_of_a_number_and_no_row(
    form: str, page: dict[str, str]
) -> None:
    assert "Not shown: 1 not testable here for want of records (C21)." in page[form]
    assert "python run_all.py --profile paper-cpu" in page[form]
    assert len(re.findall(r"^\| \*\*|<strong>", page[form], flags=re.MULTILINE)) == len(SIGNS)
    assert "**C21**" not in page[form]
    assert "<strong>C21</strong>" not in page[form]


def test_a_machine_with_an_accelerator_is_told_of_the_papers_sizes(tmp_path: Path) -> None:
    for text in rendered(tmp_path, UNASKED, accelerator="Planted GPU").values():
        assert re.search(r"python run_all\.py --profile paper\b(?!-)", text)


def test_what_no_experiment_can_test_keeps_its_row_and_its_reason(tmp_path: Path) -> None:
    untestable = replace(UNASKED, id="C16", experiments=(), reason="Ten billion tokens of training.")
    asked = replace(UNASKED, id="C4", experiments=("depth", "one_million"), reason="Its cells were killed.")
    for text in rendered(tmp_path, untestable, asked).values():
        assert untestable.reason in text
        assert asked.reason in text
        assert "Not shown" not in text


def test_without_claims_there_is_no_section_of_them(tmp_path: Path) -> None:
    for text in rendered(tmp_path).values():
        assert "The paper's claims" not in text
        assert "Peak memory of a training step against depth" in text


def test_hostile_claims_are_shown_and_do_nothing(tmp_path: Path) -> None:
    hostile = replace(
        ROW,
        id=HOSTILE,
        place=HOSTILE,
        says=HOSTILE,
        paper=HOSTILE,
        ours=HOSTILE,
        predicate=HOSTILE,
        reason=HOSTILE,
        scale=HOSTILE,
        evidence=(HOSTILE,),
    )
    unasked = replace(UNASKED, id=HOSTILE)
    found = rendered(tmp_path, hostile, unasked)
    shown = "&lt;script&gt;alert(1)&lt;/script&gt;"
    for text in found.values():
        assert "<script>alert" not in text
        assert text.count(shown) == 9 + 1
    assert found["index.md"].count(f"{shown} &#124; x # y &#96;z&#96; &#91;a&#93;(b) &#42;c&#42; &amp;") == 9 + 1


def test_a_row_of_markdown_has_as_many_cells_as_its_head(page: dict[str, str]) -> None:
    start = page["index.md"].index("| claim | says |")
    lines = page["index.md"][start:].partition("\n\n")[0].splitlines()
    assert len(lines) == 2 + len(SIGNS)
    assert {line.count("|") for line in lines} == {8}


def test_an_experiment_named_claims_has_an_anchor_of_its_own(tmp_path: Path) -> None:
    results = records.machine({"claims": records.grid("claims", variants=("dense",))})
    render([results], tmp_path, {MACHINE: (ROW,)})
    anchors = re.findall(r'<h3 id="([^"]*)"', (tmp_path / "index.html").read_text())
    assert anchors == [f"{MACHINE}-claims", f"{MACHINE}-claims-2"]
