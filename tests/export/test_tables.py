"""Tables as LaTeX and Markdown: whatever stands in them is shown, and breaks nothing."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ablations.export.bibliography import AUTHORS, TITLE, bibliography
from ablations.export.latex_table import MOST_ROWS, latex_table
from ablations.export.latex_text import escaped
from ablations.export.markdown_table import markdown_table
from ablations.export.paper_tables import claims_table, named_tables
from ablations.report.claims_table import ClaimRow
from ablations.report.table import Column, Row, Table
from tests.report import records

from . import hostile

PROJECT = Path(__file__).resolve().parents[2]
SAFE = re.compile(
    r"\\[$&#_%]"
    r"|\\text[a-z]+\{\}"
    r"|\\ensuremath\{(?:-|\\[a-z]+)\}"
    r"|\{\\[`'^~\"rv]\{[A-Za-z]\}\}"
    r"|\{\[\}|\{\*\}|-\{\}"
    r"|[^\\{}$&#_%~^<>|\"`\[*\x00-\x1f\x7f-\U0010ffff]"
)
"""Everything that LaTeX may read in a text, as whole tokens."""


def table(n_rows: int) -> Table:
    rows = tuple(Row((hostile.TEXTS[i % len(hostile.TEXTS)], f"{i}.5 ms", text)) for i, text in texts(n_rows))
    columns = (Column("name_%", numeric=False), Column("time & more"), Column("{", numeric=False))
    return Table("Caption_of 100 % & \\more", columns, rows, ("† note_with 5 % & $",))


def texts(n_rows: int) -> list[tuple[int, str]]:
    return [(i, hostile.TEXTS[(i + 1) % len(hostile.TEXTS)]) for i in range(n_rows)]


def claim(name: str, ours: str) -> ClaimRow:
    return ClaimRow(name, "place", "says_%", "paper", ours, "predicate", "partly", "", "", (), ())


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_a_text_holds_nothing_that_latex_would_act_on(text: str) -> None:
    assert SAFE.sub("", escaped(text)) == ""


@pytest.mark.parametrize("raw", ["a_b", "50 %", "a & b", "#1", "$x$", "a^b", "a~b", "{", "\\x", "[a", "x\ty\x00"])
def test_the_check_itself_finds_what_is_not_escaped(raw: str) -> None:
    assert SAFE.sub("", raw) != ""


def test_text_is_one_line_and_braces_balance() -> None:
    for text in hostile.TEXTS:
        assert "\n" not in escaped(text)
        depth = 0
        for sign in escaped(text):
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0
        assert depth == 0


def test_a_minus_is_no_hyphen_and_hyphens_make_no_dash() -> None:
    assert escaped("-1.5 to 1e-5") == r"\ensuremath{-}1.5 to 1e-5"
    assert escaped("---") == "-{}-{}-"


def test_numbers_stand_right_between_the_rules_of_booktabs() -> None:
    tex = latex_table(table(2), "one")
    assert r"\begin{tabular}{lrl}" in tex
    assert [tex.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1, 1, 1]
    assert r"\label{tab:one}" in tex
    assert r"\caption{Caption\_of 100 \% \& \textbackslash{}more}" in tex


def test_every_row_has_as_many_cells_as_columns() -> None:
    lines = [line for line in latex_table(table(12), "t").splitlines() if line.endswith(r"\\")]
    assert len(lines) == 13
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in lines)


def test_many_rows_or_long_texts_run_over_several_pages() -> None:
    assert r"\begin{longtable}" not in latex_table(table(MOST_ROWS), "t")
    assert r"\begin{longtable}" in latex_table(table(MOST_ROWS + 1), "t")
    wordy = Table("c", (Column("a", numeric=False), Column("b")), (Row(("word " * 40, "1")),))
    assert re.search(r"begin\{longtable\}\{>.*p\{0\.\d+\\linewidth\}r\}", latex_table(wordy, "t"))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex")
def test_latex_takes_hostile_tables_in(tmp_path: Path) -> None:
    claims = claims_table([claim(text, text * 30) for text in hostile.TEXTS])
    body = "".join(latex_table(one, f"t{i}") for i, one in enumerate((table(12), table(50), claims)))
    tex = (
        "\\documentclass{article}\n\\usepackage{array,booktabs,graphicx,longtable}\n\\begin{document}\n"
        f"{body}\\end{{document}}\n"
    )
    (tmp_path / "main.tex").write_text(tex, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "main.pdf").stat().st_size > 10_000


def test_markdown_keeps_every_row_in_one_line_of_as_many_cells() -> None:
    text = markdown_table(table(12))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 12
    assert {line.count("|") for line in lines} == {4}
    assert lines[1] == "| --- | ---: | --- |"
    assert "<script" not in text
    assert "`" not in text


def test_every_table_of_the_report_has_a_name_of_its_own() -> None:
    demo = records.machine({name: records.grid(name, variants=("dense",)) for name in ("depth", "depth-1", "a b")})
    names = [one.name for one in named_tables(demo, [claim("C1", "x")])]
    assert names[0] == "claims"
    assert len(set(names)) == len(names)
    assert {re.sub(r"-\d+$", "", name) for name in names[1:]} == {"depth", "depth-1", "a-b"}


def test_claims_show_whole_findings_and_count_the_rest() -> None:
    short, long = claims_table([claim("a", "one; two"), claim("b", "; ".join(["x" * 70] * 5))]).rows
    assert short.cells[2] == "one; two"
    assert long.cells[2] == "; ".join(["x" * 70] * 2) + "; and 3 more"


def test_one_finding_is_shown_however_long() -> None:
    (row,) = claims_table([claim("a", "x" * 500 + "; y")]).rows
    assert row.cells[2] == "x" * 500 + "; and 1 more"


def test_the_bibliography_names_the_commit_and_the_year_of_the_newest_record() -> None:
    cells = records.grid("depth", variants=("dense",))
    odd = records.records(cells[:1], where=records.environment(commit="ab_}{%c", dirty=True))
    old, new = (
        one.model_copy(update={"started": f"{year}-01-01T00:00:00Z"})
        for one, year in zip(odd * 2, (2019, 2031), strict=True)
    )
    text = bibliography([new, old])
    assert "year   = {2031}" in text
    assert r"note   = {Commit ab\_\textbraceright{}\textbraceleft{}\%c (modified)}" in text
    assert text.count("{") == text.count("}")
    assert "@inproceedings{kitaev2020reformer," in text


def test_the_bibliography_and_the_citation_file_name_the_suite_alike() -> None:
    cited = YAML(typ="safe").load(PROJECT / "CITATION.cff")
    assert (cited["title"], [one["name"] for one in cited["authors"]]) == (TITLE, [AUTHORS])
    assert f"title  = {{{TITLE}}}" in bibliography([])


def test_the_bibliography_leaves_out_a_year_that_nothing_tells() -> None:
    (one,) = records.records(records.grid("depth", variants=("dense",))[:1])
    assert "year   = {20" not in bibliography([one.model_copy(update={"started": "soon"})]).split("\n\n")[0]
