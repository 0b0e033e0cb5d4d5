"""Trials of the gate, by hand on a machine at rest.

`python -m tests.gate.trials run FOLDER SAME SLOWER` runs so many whole gates on equal code, and on code whose LSH
attention is 15 % slower, and keeps their samples in FOLDER. `python -m tests.gate.trials resample FOLDER` draws 200 of
each from these. `python -m tests.gate.trials keep FOLDER` puts their paces where `test_recorded` reads them.
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from ablations.gate.rounds import Gate
from ablations.gate.sides import git
from ablations.harness.environment import PROJECT
from tests.gate.resampling import RECORDED, judged, recorded, resampled, thinned

SLOWER = '''
import functools, time


def slower(function):
    """15 % more of processor time."""

    @functools.wraps(function)
    def run(*arguments, **options):
        began = time.thread_time()
        out = function(*arguments, **options)
        until = time.thread_time() + 0.15 * (time.thread_time() - began)
        while time.thread_time() < until:
            pass
        return out

    return run


'''
PLANTED = {"lsh.py": ("def _attend(", "def _attend_backward("), "hashing.py": ("def hash_vectors(",)}
"""In which files of the blocked backend which functions are to be slower."""
RESAMPLED = 200


def plant(root: Path) -> None:
    """Let the LSH attention of a checkout take 15 % longer, forward and backward."""
    for name, functions in PLANTED.items():
        path = root / "reformer" / "blocked" / name
        text = path.read_text()
        for function in functions:
            assert text.count(f"\n{function}") == 1, f"{function} of {path} is not where it was"
            text = text.replace(f"\n{function}", f"\n@slower\n{function}")
        imported = text.index("\n\n", text.rindex("\nfrom reformer"))
        path.write_text(text[:imported] + SLOWER + text[imported:])


def run(folder: Path, same: int, slower: int) -> None:
    """Whole gates, one after the other, of a checkout of the last commit."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        checkout = Path(name) / "checkout"
        git(PROJECT, "clone", "--quiet", str(PROJECT), str(checkout))
        for kind, count in (("same", same), ("slower", slower)):
            for number in range(1, count + 1):
                _one(checkout, kind, folder / f"{kind}-{number}.json")
            plant(checkout)


def _one(checkout: Path, kind: str, out: Path) -> None:
    command = [sys.executable, "run_all.py", "gate", "--base", "HEAD", "--out", str(out)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    print(
        f"{kind}: exit code {done.returncode}",
        done.stdout,
        done.stderr[-300:] if done.returncode > 1 else "",
        flush=True,
    )


def resample(folder: Path) -> None:
    """How many gates of 200 drawn ones end how."""
    for kind in ("same", "slower"):
        gates = recorded(folder, kind)
        real = Counter(judged(gate).outcome for gate in gates)
        drawn = Counter(resampled(gates, seed).outcome for seed in range(RESAMPLED))
        # Pessimistic: what one gate was off by is drawn into all that are drawn from it.
        within = Counter(resampled(gates[seed % len(gates) :][:1], seed).outcome for seed in range(RESAMPLED))
        seconds = [gate.seconds for gate in gates]
        print(f"{kind}: {len(gates)} real {dict(real)}, {min(seconds)} to {max(seconds)} s")
        print(f"  drawn from all {dict(drawn)}; each from one of them {dict(within)}")


def keep(folder: Path) -> None:
    """The gates in the place of those that are committed."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    RECORDED.mkdir()
    for path in sorted(folder.glob("*-*.json")):
        gate = Gate.model_validate_json(path.read_bytes())
        (RECORDED / path.name).write_text(thinned(gate).model_dump_json() + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        {"resample": resample, "keep": keep}[sys.argv[1]](Path(sys.argv[2]))
