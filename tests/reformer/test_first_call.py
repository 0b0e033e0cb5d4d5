"""What a process computes first is what it computes ever after."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
import torch
import reformer.functional

x = torch.randn(16, 64, 128, generator=torch.Generator().manual_seed(0))
differing = 0
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if not pid:
        torch.set_num_threads(2)
        first, query = x.exp(), x[..., :64] @ x[..., :64].transpose(-1, -2)
        os._exit(int(not (torch.equal(first, x.exp()) and torch.equal(query.exp(), query.exp()))))
    differing += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(differing)
"""
BUSY = "while True: pass"


def differing(processes: int) -> int:
    """Of fresh processes on busy cores, those whose first exponentials are not what they compute afterwards."""
    neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    try:
        command = [sys.executable, "-c", PROGRAM, str(processes)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def test_the_first_exponentials_of_a_process_are_those_of_all_later_ones() -> None:
    """Without the first call in `reformer.functional` it fails about once in ten times."""
    assert differing(100) == 0


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_of_very_many_processes_none_begins_with_others() -> None:
    """Without that call, one in a thousand does."""
    assert differing(8000) == 0
