"""Runs under callgrind: `python -m ablations.history.counted_steps`. Takes steps, and has each one counted by itself.

Outside of callgrind it takes the same steps and nothing is counted.
"""

import gc
import sys

import torch

from ablations.harness.steps import build_trial
from ablations.harness.trial import Step
from ablations.history.callgrind import STEPS, UNSUPPORTED
from ablations.history.cells import cells

WARM_UP_STEPS = 3


def main() -> None:
    """Every cell, some steps to warm up and `STEPS` that are counted."""
    if not torch._C._valgrind_supported_platform():
        sys.exit(UNSUPPORTED)
    torch.set_num_threads(1)
    # When garbage is collected depends on everything that was made before.
    gc.disable()
    for cell in cells().values():
        step = build_trial(cell).step("forward_backward")
        for _ in range(WARM_UP_STEPS):
            step.before()
            step()
        for _ in range(STEPS):
            _count(step)


def _count(step: Step) -> None:
    step.before()
    torch._C._valgrind_toggle()
    step()
    torch._C._valgrind_toggle_and_dump_stats()


if __name__ == "__main__":
    main()
