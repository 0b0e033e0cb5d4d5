"""A process that has torch imported and forks one fresh process for each cell: `python -m ablations.harness.server`.

A cell thus starts in hundredths of a second and still has a process of its own, untouched by any cell before it. The
server itself never computes anything: no thread pool, no device, no random state exists in it that a fork could copy.

Speaks JSON lines over standard input and output: a request in, the process number out, then its exit code.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from ablations.harness import worker
from ablations.harness.request import Ended, Request, Started
from reformer.config import Frozen

PR_SET_PDEATHSIG = 1
FIRST_TO_BE_KILLED = "1000"


def main() -> None:
    """Serve requests until the other side closes the line."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not land between the answers.
    os.dup2(2, 1)
    # What checkpointing and optimisers import on first use: a second, to be spent here and not in every cell.
    import_module("torch._dynamo")
    # What was imported will never be garbage: a collection in a cell need not look at it, which takes a quarter second.
    gc.freeze()
    # Who asked may be gone before the answer: then there is nobody left to serve.
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            _serve(Request.model_validate_json(line), answers)


def _serve(request: Request, answers: BinaryIO) -> None:
    worker.warm_up_for(request.cell)
    pid = _in_a_fresh_process(lambda: _work(request))
    _answer(Started(pid=pid), answers)
    _, status = os.waitpid(pid, 0)
    _answer(Ended(exit_code=os.waitstatus_to_exitcode(status)), answers)


def _answer(message: Frozen, answers: BinaryIO) -> None:
    answers.write(message.model_dump_json().encode() + b"\n")
    answers.flush()


def _in_a_fresh_process(work: Callable[[], None]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    exit_code = 1
    try:
        _die_with_parent()
        if os.getppid() == parent:
            work()
            exit_code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Not sys.exit: the copy must not run the server's own endings.
        os._exit(exit_code)


def _work(request: Request) -> None:
    log = os.open(request.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_BE_KILLED)
    outcome = worker.attempt(request)
    sys.stdout.flush()
    sys.stderr.flush()
    draft = Path(request.outcome_path + ".new")
    draft.write_text(outcome.model_dump_json())
    draft.replace(request.outcome_path)


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
