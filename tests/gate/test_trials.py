"""The slowdown that trials of the gate plant."""

import shutil
import subprocess
import sys
from pathlib import Path

from ablations.harness.environment import PROJECT
from tests.gate.trials import PLANTED, plant

SAYS = (
    "from reformer.blocked import hashing, lsh\n"
    "print(*(hasattr(one, '__wrapped__') for one in (hashing.hash_vectors, lsh._attend, lsh._attend_backward)))\n"
)


def test_it_is_in_all_functions_of_lsh_attention_and_these_can_be_imported(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "reformer", tmp_path / "reformer", ignore=shutil.ignore_patterns("__pycache__"))
    plant(tmp_path)
    done = subprocess.run([sys.executable, "-c", SAYS], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * sum(map(len, PLANTED.values()))
