"""The command line. Imports next to nothing until a command is known, so that --help answers at once."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablations.commands.compare import compare
from ablations.commands.export import export
from ablations.commands.gate import gate
from ablations.commands.history import history
from ablations.commands.instructions import instructions
from ablations.commands.measured import measured

if TYPE_CHECKING:
    from rich.console import Console

    from ablations.harness.cell import Cell, Device
    from ablations.harness.engine import Engine, Place
    from ablations.harness.experiment import Experiment, Profile
    from ablations.harness.record import Environment, Record
    from ablations.harness.store import MachineResults, Plan
    from ablations.report.claims_table import ClaimRow

USER_MISTAKE = 2
FAULT = 2
INTERRUPTED = 2
CELL_FAILED = 1
NOT_TRUSTED = 1
VERDICT_COLOURS = {"reproduced": "green", "partly": "yellow", "not reproduced": "red"}
"""On a terminal; elsewhere the text is plain."""
PROFILES = "smoke, cpu, gpu, paper-cpu, paper"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
for command in (compare, export, gate, history, instructions):
    app.command()(command)


def main() -> None:
    """Run the command line; a user's mistake becomes one paragraph and exit code 2.

    So does a fault of the suite, with its traceback: 1 is an answer that commands give, as that something is worse. And
    so does a reader that goes before all is written, as `head` does, for which Typer has 1.
    """
    from ablations.harness.errors import UserError

    try:
        app()
    except UserError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(USER_MISTAKE)
    except SystemExit as left:
        sys.exit(INTERRUPTED if isinstance(left.__context__, BrokenPipeError) else left.code)
    except Exception:
        import traceback

        traceback.print_exc()
        typer.echo("Error: This is a fault of the suite; nothing is said of what was asked.", err=True)
        sys.exit(FAULT)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(help=f"Size of the job: {PROFILES}. Default: gpu where there is one, else cpu.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Experiment to run; repeat for several. Default: all.")] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(help="Other values for one axis, as NAME=VALUE,VALUE; repeat for several axes."),
    ] = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(help="What training may take in max_length, as 16GiB or 900MiB. Default: the profile's."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of the records. Default: results; of profile smoke, smoke/results.")
    ] = None,
    reports: Annotated[
        Path | None, typer.Option(help="Folder of the report. Default: reports; of profile smoke, smoke/reports.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where cells run: local, this machine; ray, the nodes of a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster. Default: the one that this machine belongs to.")
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
            "--retry-failed", help="Measure cells again that found no memory, or ended without result three times."
        ),
    ] = False,
) -> None:
    """Measure what is missing of the planned cells, then render the report.

    A second run continues where the first one stopped.

    Exit codes: 0 done; 1 some cell was killed or timed out, or failed; 2 wrong use, interrupted, or no room to write.
    """
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    from rich.console import Console

    from ablations.harness.errors import UserError
    from ablations.harness.experiment import parse_profile
    from ablations.harness.plan import make_plan
    from ablations.suite import chosen, with_ceilings

    if render_only and (profile or only or axis or memory_budget or timeout or dry_run or retry_failed):
        raise UserError("--render-only renders what is there; of the options it takes --results and --reports.")
    console = Console()
    # A smoke run is a check and no result: it must not take the place of one.
    root = Path("smoke") if profile == "smoke" else Path()
    results, reports = results or root / "results", reports or root / "reports"
    try:
        if render_only:
            _render(results, reports)
            return
        place = _place(engine, address, timeout, results)
        size, device = _size_and_device(parse_profile(profile) if profile else None, place.device)
        with place.engine(device) as cells_run_there:
            here = cells_run_there.environment
            experiments = _with_axes(chosen(only or (), size), axis or ())
            if memory_budget:
                experiments = _with_budget(experiments, memory_budget, size, here)
            asked = with_ceilings(experiments, size, device)
            plan = make_plan(asked, size, device, axes=axis or (), memory_budget=memory_budget)
            if dry_run:
                _list_cells(plan, results, here, retry_failed=retry_failed)
                return
            _make_folder(reports)
            failed = _measure(plan, results, console, cells_run_there, retry_failed=retry_failed)
        console.print(f"Report: {_render(results, reports)}", highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        raise UserError("Interrupted. What was measured is kept; run the same command again to go on.") from None
    if failed:
        sys.exit(CELL_FAILED)


@app.command()
def doctor() -> None:
    """Check whether measurements on this machine can be trusted; takes about a minute and writes nothing.

    Exit codes: 0 they can; 1 they cannot, with what to do; 2 wrong use, or interrupted.
    """
    from ablations.doctor.checkup import examine
    from ablations.doctor.findings import summary
    from ablations.harness.environment import device_here
    from ablations.harness.errors import UserError

    findings = []
    try:
        for finding in examine(device_here()):
            typer.echo(finding.line)
            findings.append(finding)
    except KeyboardInterrupt:
        raise UserError("Interrupted. Run the doctor again to hear the rest.") from None
    typer.echo(summary(findings))
    if any(finding.state == "FAIL" for finding in findings):
        sys.exit(NOT_TRUSTED)


@app.command()
def claims(
    results: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("results"),
    machine: Annotated[str | None, typer.Option(help="Of which machine. Default: all that have records there.")] = None,
) -> None:
    """Say of each of the paper's claims what the records bear out; measures nothing.

    Exit codes: 0 whatever the verdicts; 2 wrong use, or no records.
    """
    from ablations.claims import listing
    from ablations.report.claims_table import summary

    for found in measured(results, machine):
        name, rows = found.environment.machine, _claims_of(found)
        typer.secho(f"{listing.shown(name)}\n", bold=True)
        for row in rows:
            typer.secho(listing.heading(row), bold=True, fg=VERDICT_COLOURS.get(row.verdict))
            typer.echo(f"{listing.body(row)}\n")
        typer.echo(f"{summary(rows)}\n")


def _claims_of(machine: "MachineResults") -> "tuple[ClaimRow, ...]":
    from ablations.claims.registry import judge_all
    from ablations.claims.rows import rows

    return rows(judge_all(machine))


def _refuse_options(context: typer.Context) -> None:
    """The options of a run are none of a command's."""
    from ablations.harness.errors import UserError

    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source and source.name != "DEFAULT"]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(
            f"{context.invoked_subcommand} takes none of the options of a run; leave out {names}. An option of its own "
            "stands behind its name."
        )


def _place(name: str, address: str | None, timeout: float | None, results: Path | None = None) -> "Place":
    """Where cells are to run."""
    from ablations.harness.errors import UserError

    if name == "ray":
        from ablations.harness.cluster import Cluster

        return Cluster(address, timeout_seconds=timeout)
    if name != "local":
        raise UserError(f"There is no engine {name!r}; known are local, ray.")
    if address:
        raise UserError("--address is that of a Ray cluster; give --engine ray with it.")
    from ablations.harness.engine import ThisMachine

    return ThisMachine(timeout_seconds=timeout, results=results)


def _size_and_device(profile: "Profile | None", here: "Device") -> "tuple[Profile, Device]":
    from ablations.harness.errors import UserError

    on_cpu: Profile = "paper-cpu" if profile == "paper" else "cpu"
    if profile in ("gpu", "paper") and here != "cuda":
        raise UserError(f"Profile {profile} needs an NVIDIA GPU, and no driver finds one here. Use --profile {on_cpu}.")
    if profile is None:
        return ("gpu", "cuda") if here == "cuda" else ("cpu", "cpu")
    return profile, "cpu" if profile in ("cpu", "paper-cpu") else here


def _with_axes(experiments: "Sequence[Experiment]", overrides: Sequence[str]) -> "tuple[Experiment, ...]":
    from ablations.harness.experiment import parse_axes

    for name, values in parse_axes(overrides).items():
        experiments = [experiment.with_axis(name, values) for experiment in experiments]
    return tuple(experiments)


def _with_budget(
    experiments: "Sequence[Experiment]", text: str, profile: "Profile", here: "Environment"
) -> "tuple[Experiment, ...]":
    from ablations.harness.errors import UserError
    from ablations.harness.experiment import parse_budget

    budget = parse_budget(text)
    held = here.accelerator_memory_bytes or here.memory_bytes
    if budget > held:
        raise UserError(
            f"--memory-budget {text} is more than the {held / 2**30:.1f} GiB of {here.accelerator or 'this machine'}; "
            "a budget can only stand for less."
        )
    if not any(experiment.scales[profile].searches for experiment in experiments):
        raise UserError("--memory-budget is for max_length, which --only leaves out.")
    return tuple(experiment.with_budget(budget) for experiment in experiments)


def _list_cells(plan: "Plan", results: Path, here: "Environment", *, retry_failed: bool) -> None:
    from ablations.harness import store
    from ablations.harness.outlook import costs, listing
    from ablations.harness.plan import settled, with_probes

    done = settled(store.load(results / here.machine), here, retry_failed=retry_failed)
    planned = with_probes(plan, done)
    left = [cell for cell in planned if cell.id not in done]
    for line in listing(planned, done):
        typer.echo(line)
    minutes = sum(cost.minutes for cost in costs(left))
    more = _more_to_come(left, plan)
    typer.echo(f"{len(left)} of {len(planned)} cells to do{more}, about {minutes:.1f} minutes; all are estimates.")


def _more_to_come(left: "Sequence[Cell]", plan: "Plan") -> str:
    """What a number of cells leaves out: each probe of a search but the next."""
    from ablations.harness.plan import in_order

    searches = len({cell.id for cell in left} - {cell.id for cell in in_order(plan)})
    some = "1 search for a length tries" if searches == 1 else f"{searches} searches for a length try"
    return f", and what {some} next" if searches else ""


def _measure(plan: "Plan", results: Path, console: "Console", engine: "Engine", *, retry_failed: bool) -> bool:
    """Fill the results folder; whether some planned cell could not be measured and it was not for want of memory."""
    from ablations.harness import store
    from ablations.harness.lock import sole_writer
    from ablations.harness.plan import in_order, searches_of, settled, with_probes
    from ablations.harness.plausible import Judge
    from ablations.harness.sweep import sweep
    from ablations.harness.worklist import Worklist

    here = engine.environment
    folder = results / here.machine
    with sole_writer(folder):
        for mended in store.mend(folder):
            console.print(mended, markup=False, highlight=False, soft_wrap=True)
        before = store.load(folder)
        if repeated := store.repeated(before):
            console.print(f"{folder}: {repeated} records are there twice; each counts once", highlight=False)
        done = settled(before, here, retry_failed=retry_failed)
        work = Worklist((cell for cell in in_order(plan) if cell.id not in done), searches_of(plan), done)
        left, planned = work.remaining, with_probes(plan, done)
        store.record_plan(plan, here, folder)
        if engine.left_out:
            console.print(f"left out, being of another kind: {', '.join(engine.left_out)}", highlight=False)
        more = _more_to_come(left, plan)
        console.print(f"{here.machine}: {len(left)} of {len(planned)} cells to measure{more}", highlight=False)
        try:
            if left:
                sweep(work, engine, folder, Judge(before), console)
        except KeyboardInterrupt:
            _interrupted(left, before, store.load(folder), folder)
        return _has_failures(plan, store.load(folder))


def _make_folder(folder: Path) -> None:
    from ablations.harness.errors import UserError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write to {folder}: {error.strerror}. Choose another --reports.") from None


def _interrupted(cells: "Sequence[Cell]", before: "Sequence[Record]", after: "Sequence[Record]", folder: Path) -> None:
    from ablations.harness.errors import UserError

    raise UserError(
        f"Interrupted. {len(after) - len(before)} of {len(cells)} cells were measured and are kept in {folder}; run "
        "the same command again to go on, or add --render-only for a report of what is there."
    ) from None


def _has_failures(plan: "Plan", records: "Sequence[Record]") -> bool:
    from ablations.harness.plan import UNMEASURED, with_probes

    last = {record.cell_id: record.status for record in records}
    return any(last.get(cell.id) in UNMEASURED for cell in with_probes(plan, last))


def _render(results: Path, reports: Path) -> Path:
    from ablations.harness.errors import UserError
    from ablations.harness.store import load_results
    from ablations.report.render import render

    if not results.is_dir():
        raise UserError(f"There is no results folder {results}. Run without --render-only first, or name another.")
    _make_folder(reports)
    found = load_results(results)
    return render(found, reports, {one.environment.machine: _claims_of(one) for one in found})
