"""The command line. Imports next to nothing until a command is known, so that --help answers at once."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ablations.harness.cell import Cell, Device
    from ablations.harness.experiment import Experiment, Profile
    from ablations.harness.record import Record
    from ablations.harness.store import Plan

USER_MISTAKE = 2
CELL_FAILED = 1
PROFILES = "smoke, cpu, gpu"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line; a user's mistake becomes one paragraph and exit code 2."""
    from ablations.harness.errors import UserError

    try:
        app()
    except UserError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(USER_MISTAKE)


@app.callback(invoke_without_command=True)
def run(
    profile: Annotated[
        str | None, typer.Option(help=f"Size of the job: {PROFILES}. Default: gpu where there is one, else cpu.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Experiment to run; repeat for several. Default: all.")] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(help="Other values for one axis, as NAME=VALUE,VALUE; repeat for several axes."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of the records. Default: results; of profile smoke, smoke/results.")
    ] = None,
    reports: Annotated[
        Path | None, typer.Option(help="Folder of the report. Default: reports; of profile smoke, smoke/reports.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds after which a cell is given up. Default: 60 and ten times its estimate."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells with estimates; measure nothing.")] = False,
    render_only: Annotated[bool, typer.Option("--render-only", help="Render the report of what is there.")] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Measure cells again that found no memory, were killed or timed out, or failed."
        ),
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend the end of a results file that a crash cut short.")
    ] = False,
) -> None:
    """Measure what is missing of the planned cells, then render the report.

    A second run continues where the first one stopped.

    Exit codes: 0 done; 1 some cell was killed or timed out, or failed; 2 wrong use, or interrupted.
    """
    from rich.console import Console

    from ablations.harness.errors import UserError
    from ablations.harness.experiment import parse_profile
    from ablations.harness.plan import make_plan
    from ablations.suite import chosen

    if render_only and (profile or only or axis or timeout or dry_run or retry_failed):
        raise UserError(
            "--render-only renders what is there; of the options it takes --results, --reports and --repair."
        )
    console = Console()
    # A smoke run is a check and no result: it must not take the place of one.
    root = Path("smoke") if profile == "smoke" else Path()
    results, reports = results or root / "results", reports or root / "reports"
    try:
        if repair:
            _repair(results, console)
        if render_only:
            _render(results, reports)
            return
        size, device = _size_and_device(parse_profile(profile) if profile else None)
        plan = make_plan(_with_axes(chosen(only or ()), axis or ()), size, device)
        if dry_run:
            _list_cells(plan, results, device=device, retry_failed=retry_failed)
            return
        _make_folder(reports)
        failed = _measure(plan, results, console, device=device, timeout=timeout, retry_failed=retry_failed)
        console.print(f"Report: {_render(results, reports)}", highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        raise UserError("Interrupted. What was measured is kept; run the same command again to go on.") from None
    if failed:
        sys.exit(CELL_FAILED)


def _size_and_device(profile: "Profile | None") -> "tuple[Profile, Device]":
    from ablations.harness.environment import device_here
    from ablations.harness.errors import UserError

    here = device_here()
    if profile == "gpu" and here != "cuda":
        raise UserError("Profile gpu needs an NVIDIA GPU, and no driver finds one here. Use --profile cpu.")
    if profile is None:
        return ("gpu", "cuda") if here == "cuda" else ("cpu", "cpu")
    return profile, "cpu" if profile == "cpu" else here


def _with_axes(experiments: "Sequence[Experiment]", overrides: Sequence[str]) -> "tuple[Experiment, ...]":
    from ablations.harness.experiment import parse_axes

    for name, values in parse_axes(overrides).items():
        experiments = [experiment.with_axis(name, values) for experiment in experiments]
    return tuple(experiments)


def _list_cells(plan: "Plan", results: Path, *, device: "Device", retry_failed: bool) -> None:
    from ablations.harness import environment, store
    from ablations.harness.estimate import estimate
    from ablations.harness.plan import in_order, pending

    here = environment.describe(device)
    folder = results / here.machine
    planned = in_order(plan)
    left = pending(planned, store.load(folder), here, retry_failed=retry_failed)
    to_do = {cell.id for cell in left}
    for cell in planned:
        needs = estimate(cell)
        state = "to do" if cell.id in to_do else "done "
        typer.echo(f"{state} {needs.seconds:7.1f} s {needs.peak_bytes / 2**20:9.1f} MiB  {cell.id}  {cell.description}")
    total = sum(estimate(cell).seconds for cell in left)
    typer.echo(f"{len(left)} of {len(planned)} cells to do, about {total / 60:.1f} minutes; all are estimates.")


def _measure(
    plan: "Plan",
    results: Path,
    console: "Console",
    *,
    device: "Device",
    timeout: float | None,
    retry_failed: bool,
) -> bool:
    """Fill the results folder; whether some planned cell could not be measured and it was not for want of memory."""
    from ablations.harness import environment, store
    from ablations.harness.engine import LocalEngine
    from ablations.harness.plan import in_order, pending
    from ablations.harness.plausible import Judge
    from ablations.harness.sweep import sole_writer, sweep
    from ablations.harness.worklist import Worklist

    here = environment.describe(device)
    folder, planned = results / here.machine, in_order(plan)
    with sole_writer(folder):
        before = store.load(folder)
        cells = pending(planned, before, here, retry_failed=retry_failed)
        store.record_plan(plan, here, folder)
        console.print(f"{here.machine}: {len(cells)} of {len(planned)} cells to measure", highlight=False)
        try:
            if cells:
                sweep(Worklist(cells), LocalEngine(here, timeout_seconds=timeout), folder, Judge(before), console)
        except KeyboardInterrupt:
            _interrupted(cells, before, store.load(folder), folder)
        return _has_failures(planned, store.load(folder))


def _make_folder(folder: Path) -> None:
    from ablations.harness.errors import UserError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write to {folder}: {error.strerror}. Choose another --reports.") from None


def _repair(results: Path, console: "Console") -> None:
    from ablations.harness import store

    for path in sorted(results.glob("*/*.jsonl")):
        if store.repair(path):
            console.print(f"{path}: the end of the file is mended", highlight=False, soft_wrap=True)


def _interrupted(cells: "Sequence[Cell]", before: "Sequence[Record]", after: "Sequence[Record]", folder: Path) -> None:
    from ablations.harness.errors import UserError

    raise UserError(
        f"Interrupted. {len(after) - len(before)} of {len(cells)} cells were measured and are kept in {folder}; run "
        "the same command again to go on, or add --render-only for a report of what is there."
    ) from None


def _has_failures(cells: "Sequence[Cell]", records: "Sequence[Record]") -> bool:
    from ablations.harness.plan import UNMEASURED

    last = {record.cell_id: record.status for record in records}
    return any(last.get(cell.id) in UNMEASURED for cell in cells)


def _render(results: Path, reports: Path) -> Path:
    from ablations.harness.errors import UserError
    from ablations.harness.store import load_results
    from ablations.report.render import render

    if not results.is_dir():
        raise UserError(f"There is no results folder {results}. Run without --render-only first, or name another.")
    _make_folder(reports)
    return render(load_results(results), reports)
