"""`run_all.py compare`, as its user meets it."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ablations.commands.compare import compare
from ablations.harness.cell import Cell
from ablations.harness.errors import UserError
from ablations.harness.record import Record
from ablations.harness.store import MachineResults
from tests.report.contenders import contender
from tests.report.test_render import HOSTILE

from .folders import (
    CELLS,
    Change,
    again,
    ending,
    is_one_of,
    machine,
    times_as_large,
    times_as_long,
    where,
    without,
    write,
)


class Compared:
    """Writes A and B and compares them: exit code and text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, before: MachineResults, after: MachineResults, *options: str) -> tuple[int, str]:
        for name, one in (("a", before), ("b", after)):
            write(one, self.folder / name / "bench")
        return self.run(str(self.folder / "a"), str(self.folder / "b"), *options)

    def run(self, *arguments: str) -> tuple[int, str]:
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(compare)
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, UserError):
            return 2, str(done.exception)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    return Compared(tmp_path)


def last(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def test_the_same_again_ends_well(compared: Compared) -> None:
    code, text = compared(machine(), machine(CELLS, again))
    assert code == 0
    assert re.fullmatch(r"0 worse, 0 better, \d+ same, \d+ cannot tell, 0 new, 0 missing", last(text))
    assert "run_all.py gate" in text


def test_one_regressed_group_among_many_is_enough(compared: Compared) -> None:
    code, text = compared(machine(), machine(CELLS, again, where(is_one_of, times_as_long(1.15))))
    assert code == 1
    assert last(text).startswith("1 worse, 0 better")
    assert text.index("\nworse ") < text.index("\nsame ")


def test_a_faster_group_is_no_regression(compared: Compared) -> None:
    code, text = compared(machine(), machine(CELLS, again, where(is_one_of, times_as_long(0.8))))
    assert (code, last(text)[:17]) == (0, "0 worse, 1 better")


def is_peak(cell: Cell) -> bool:
    return cell.workload.kind == "memory" and cell.contender == "lsh_only" and cell.config.n_layers == 4


@pytest.mark.parametrize(
    ("factor", "options", "code"), [(1.02, (), 1), (1.005, (), 0), (1.02, ("--memory-threshold", "1.03"), 0)]
)
def test_peaks_are_compared_exactly(factor: float, options: tuple[str, ...], code: int, compared: Compared) -> None:
    assert compared(machine(), machine(CELLS, again, where(is_peak, times_as_large(factor))), *options)[0] == code


def test_the_limit_of_times_can_be_moved(compared: Compared) -> None:
    before, after = machine(), machine(CELLS, again, where(is_one_of, times_as_long(1.15)))
    assert compared(before, after, "--threshold", "1.4")[0] == 0
    assert compared.run(str(compared.folder / "a"), str(compared.folder / "b"), "--threshold", "1.1")[0] == 1


def test_what_runs_out_of_memory_is_worse(compared: Compared) -> None:
    code, text = compared(machine(), machine(CELLS, again, where(is_one_of, ending("oom", "the limit of 4 GiB"))))
    assert (code, last(text)[:7]) == (1, "1 worse")
    assert "seed 0 lost: out of memory, the limit of 4 GiB" in text


def test_missing_cells_are_said_aloud_and_fail_only_on_demand(compared: Compared) -> None:
    code, text = compared(machine(), without(machine(CELLS, again), is_one_of))
    assert code == 0
    assert last(text).endswith("0 new, 4 missing")
    assert "B lacks 4 cells that A has tried, named under Missing" in text
    assert "depth: time, forward: reformer, length=1024, n_layers=2 (seeds 0, 1, 2, 3" in text
    folders = [str(compared.folder / name) for name in ("a", "b")]
    assert compared.run(*folders, "--strict")[0] == 1
    # What only B has is no loss.
    code, text = compared.run(*reversed(folders), "--strict")
    assert (code, last(text)[-16:]) == (0, "4 new, 0 missing")


def test_a_machine_of_one_side_alone_is_named(compared: Compared) -> None:
    write(machine(name="other-bench"), compared.folder / "a" / "other")
    code, text = compared(machine(), machine(CELLS, again))
    assert code == 0
    assert "Only A has records of other-bench: not compared." in text
    folders = [str(compared.folder / name) for name in ("a", "b")]
    assert compared.run(*folders, "--strict")[0] == 1
    assert compared.run(*folders, "--strict", "--machine", "testbench-cpu")[0] == 0


def elsewhere(**changes: object) -> Change:
    def change(record: Record) -> Record:
        return record.model_copy(update={"environment": record.environment.model_copy(update=changes)})

    return change


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"machine": "other"}, "machine: testbench-cpu in A, other in B"),
        ({"processor": "Other 1"}, "processor: Planted Processor 9000 in A, Other 1 in B"),
        ({"cores": 5}, "cores: 6 in A, 5 in B"),
        ({"accelerator": "GPU 1"}, "accelerator: none in A, GPU 1 in B"),
        ({"driver": "1.2"}, "driver: none in A, 1.2 in B"),
        ({"packages": {"torch": "2.12.0", "numpy": "2.3.1"}}, "package torch: 2.11.0 in A, 2.12.0 in B"),
        ({"packages": {"torch": "2.11.0"}}, "package numpy: 2.3.1 in A, none in B"),
    ],
)
def test_unlike_environments_are_refused_unless_asked_for(
    changes: dict[str, object], words: str, compared: Compared
) -> None:
    some = CELLS[:9]
    before, after = machine(some), machine(some, again, elsewhere(**changes))
    code, text = compared(before, after)
    assert code == 2
    assert f"{words} (9 cells)" in text
    assert "--across" in text
    code, text = compared.run(str(compared.folder / "a"), str(compared.folder / "b"), "--across")
    assert code == 0
    assert f"Unlike: {words} (9 cells)" in text


def test_another_version_of_others_code_is_of_no_weight_where_it_was_not_measured(compared: Compared) -> None:
    """Installing a contender after the baseline refuses nothing, and the cells that are its own are still guarded."""
    others = {"transformers": "5.1.0", "outside:mine": "mine 0.2"}
    before = machine(CELLS[:9])
    packages = before.environment.packages
    later = machine(CELLS[:9], again, elsewhere(packages=packages | others))
    code, text = compared(before, later)
    assert (code, "Unlike" in text) == (0, False)


@pytest.mark.parametrize(
    ("implementation", "package"), [("outside:mine", "outside:mine"), ("huggingface", "transformers")]
)
def test_another_version_of_others_code_is_refused_where_it_was_measured(
    implementation: str, package: str, compared: Compared
) -> None:
    lsh = contender(implementation)
    theirs = machine((*CELLS[:9], lsh), elsewhere(packages={"torch": "2.11.0", package: "1.5"}))
    after = machine((*CELLS[:9], lsh), again, elsewhere(packages={"torch": "2.11.0", package: "1.6"}))
    code, text = compared(theirs, after)
    assert (code, f"package {package}: 1.5 in A, 1.6 in B (1 cell)" in text) == (2, True)


def test_one_record_of_another_environment_is_enough_for_a_refusal(compared: Compared) -> None:
    odd = where(lambda cell: cell == CELLS[7], elsewhere(cores=5))
    code, text = compared(machine(), machine(CELLS, again, odd))
    assert (code, "cores: 6 in A, 5 in B (1 cell)" in text) == (2, True)


@pytest.mark.parametrize("changes", [{"commit": "abc"}, {"dirty": True}, {"system": "Linux 7"}, {"memory_bytes": 5}])
def test_another_commit_or_kernel_is_not_refused(changes: dict[str, object], compared: Compared) -> None:
    assert compared(machine(CELLS[:9]), machine(CELLS[:9], elsewhere(**changes)))[0] == 0


def test_folders_without_a_common_cell_are_refused(compared: Compared) -> None:
    code, text = compared(machine(CELLS[:9]), machine(CELLS[9:]))
    assert (code, "nothing to compare" in text) == (2, True)


@pytest.mark.parametrize(
    "options",
    [
        ("--threshold", "1"),
        ("--threshold", "nan"),
        ("--memory-threshold", "0.9"),
        ("--bits-threshold", "-1"),
        ("--threshold", "inf"),
        ("--machine", "nobody"),
        ("--html", "no/such/folder/page.html"),
    ],
)
def test_misuse_ends_with_two_and_names_the_option_or_file(options: tuple[str, str], compared: Compared) -> None:
    code, text = compared(machine(), machine(), *options)
    assert (code, options[1] in text) == (2, True)


def test_hostile_text_is_shown_and_does_nothing(compared: Compared) -> None:
    escape = "\x1b]0;title\x07"
    name = f"host {HOSTILE} {escape}"
    before = machine(CELLS, name=name)
    after = machine(CELLS, again, where(is_one_of, ending("error", HOSTILE + escape)), name=name)
    page, text = compared.folder / "page.html", compared.folder / "page.md"
    code, terminal = compared(before, after, "--html", str(page), "--markdown", str(text))
    assert code == 1
    assert HOSTILE.replace("\n", " ") in terminal
    assert escape not in terminal
    assert "<script" not in page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; | x" in page.read_text()
    assert "<script" not in text.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &#124; x # y &#96;z&#96;" in text.read_text()
    assert "\n# y" not in text.read_text()


def test_the_page_needs_nothing_from_elsewhere_and_has_every_row(compared: Compared) -> None:
    page, text = compared.folder / "page.html", compared.folder / "page.md"
    compared(machine(), without(machine(CELLS, again), is_one_of), "--html", str(page), "--markdown", str(text))
    html, markdown = page.read_text(), text.read_text()
    assert not re.search(r"<script|<link|src=|href=|url\(|@import", html)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert html.count("<tr") == len(rows) - 1 == 36
    assert len({line.count("|") for line in rows}) == 1
    for form in (html, markdown):
        assert "0 new, 4 missing" in form
        assert "(seeds 0, 1, 2, 3: ok in A, missing in B)" in form.replace("&#61;", "=")


def test_the_same_records_give_the_same_bytes(compared: Compared) -> None:
    outputs = []
    before, after = machine(), machine(CELLS, again, where(is_one_of, times_as_long(1.15)))
    compared(before, after)
    for number in range(2):
        page, text = compared.folder / f"{number}.html", compared.folder / f"{number}.md"
        folders = [str(compared.folder / name) for name in ("a", "b")]
        _, terminal = compared.run(*folders, "--html", str(page), "--markdown", str(text))
        outputs.append((terminal, page.read_bytes(), text.read_bytes()))
    assert outputs[0] == outputs[1]


def test_the_newest_record_of_a_cell_counts(compared: Compared) -> None:
    after = machine(CELLS, again)
    slow = [times_as_long(3.0)(one) for one in after.records if is_one_of(one.cell)]
    assert compared(machine(), after.model_copy(update={"records": (*after.records, *slow)}))[0] == 1
    assert compared.run(str(compared.folder / "a"), str(compared.folder / "a"))[0] == 0
