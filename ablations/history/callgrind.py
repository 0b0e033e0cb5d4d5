"""Instructions of one step of each cell, counted by valgrind's callgrind in a process of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median_low

from ablations.harness.environment import PROJECT
from ablations.harness.errors import UserError
from ablations.history.cells import cells

STEPS = 5
"""Counted of each cell, one by one; the middle one stands for them all."""
UNSUPPORTED = 77
"""Exit code of the process that counts, where PyTorch was built without what tells callgrind when to count."""
SECONDS = 1800.0
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Valgrind's processor has no AVX-512, and the same kernels shall run wherever instructions are counted.
    "ATEN_CPU_CAPABILITY": "avx2",
}
TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def count_instructions() -> dict[str, int]:
    """Of one warm step of each cell, by its name. Takes minutes.

    Raises:
        UserError: There is no valgrind, or no process that counts could be run to its end.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise UserError("There is no valgrind, which counts instructions. Install it, as by apt install valgrind.")
    with tempfile.TemporaryDirectory() as folder:
        _run(valgrind, Path(folder) / "counted")
        return by_cell(dumped(Path(folder)))


def dumped(folder: Path) -> list[int]:
    """Instructions of each dump in the folder, in the order in which they were written.

    Raises:
        UserError: A dump has no total.
    """
    dumps = sorted(folder.glob("*.[0-9]*"), key=lambda path: int(path.suffix[1:]))
    return [_total(path) for path in dumps]


def by_cell(totals: list[int]) -> dict[str, int]:
    """The middle one of each cell's steps.

    Raises:
        UserError: There are more steps or fewer than were to be counted.
    """
    names = list(cells())
    if len(totals) != STEPS * len(names):
        raise UserError(
            f"callgrind wrote {len(totals)} counts where {STEPS * len(names)} were to be; run the command again."
        )
    return {name: median_low(totals[STEPS * at : STEPS * (at + 1)]) for at, name in enumerate(names)}


def _run(valgrind: str, out: Path) -> None:
    command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no", sys.executable]
    try:
        done = subprocess.run(
            [*command, "-m", "ablations.history.counted_steps"],
            cwd=PROJECT,
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"callgrind was not done within {SECONDS:.0f} s; run it where nothing else runs.") from None
    if done.returncode == UNSUPPORTED:
        raise UserError("This PyTorch was built without support for callgrind; install one for Linux from its index.")
    if done.returncode:
        raise UserError(f"callgrind ended with exit code {done.returncode}: {done.stderr.strip()[-300:]}")


def _total(path: Path) -> int:
    found = TOTALS.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise UserError(f"callgrind's {path.name} has no total; run the command again.")
    return int(found[1])
