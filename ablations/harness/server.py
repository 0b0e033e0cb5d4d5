"""A process that has torch imported and forks one fresh process for each cell: `python -m ablations.harness.server`.

A cell thus starts in hundredths of a second and still has a process of its own, untouched by any cell before it. The
server itself never computes anything: no thread pool, no device, no random state exists in it that a fork could copy.

Speaks JSON lines over standard input and output: a request in, the process number out, then its exit code. Once that is
out, nothing that the cell's process started is left: it has a process group of its own, and what it orphaned becomes a
child of the server, whatever group or session it has fled to.
"""

import contextlib
import ctypes
import errno
import gc
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Protocol

from ablations.harness.cell import Cell
from ablations.harness.request import CANNOT_WRITE, Ended, Outcome, Request, Started
from reformer.config import Frozen

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FIRST_TO_BE_KILLED = "1000"
MOST_FILE_BYTES = 2**30
"""That a cell's process may write into one file: its log, above all. The trace of a step with very many blocks comes to
some tens of MiB."""
MOST_CHECKPOINT_BYTES = 2**34
"""The same of one that trains: a model of a thousand million parameters, with what Adam keeps of each."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


class Work(Protocol):
    """What is done with a request: by `ablations.harness.worker`, or by what stands in its place."""

    def warm_up_for(self, cell: Cell) -> None:
        """In the server, before the fork: import what takes long."""

    def attempt(self, request: Request) -> Outcome:
        """In the cell's process."""


def main(work: Work) -> None:
    """Serve requests until the other side closes the line."""
    # Not killed but told, for a cell's process would die with this one, and what that one has started would not.
    signal.signal(signal.SIGTERM, _end_with_all_children)
    _when_the_parent_ends(signal.SIGTERM)
    _adopt_orphans()
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not land between the answers.
    os.dup2(2, 1)
    # What was imported will never be garbage: a collection in a cell need not look at it, which takes a quarter second.
    gc.freeze()
    # Who asked may be gone before the answer: then there is nobody left to serve.
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            _serve(Request.model_validate_json(line), answers, work)


def _serve(request: Request, answers: BinaryIO, work: Work) -> None:
    work.warm_up_for(request.cell)
    pid = _in_a_fresh_process(lambda: _do(work, request, answers))
    _answer(Started(pid=pid), answers)
    _, status = os.waitpid(pid, 0)
    _end_all(_left_by(pid))
    _answer(Ended(exit_code=os.waitstatus_to_exitcode(status)), answers)


def _answer(message: Frozen, answers: BinaryIO) -> None:
    answers.write(message.model_dump_json().encode() + b"\n")
    answers.flush()


def _left_by(group: int) -> Iterable[int]:
    """What a cell's process has left behind, in waves: what is killed orphans what it had started itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    while children := _children():
        yield from children


def _end_all(processes: Iterable[int]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _children() -> list[int]:
    """Of this process, alive or not; of any system but Linux none is known."""
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def _end_with_all_children(number: int, frame: FrameType | None) -> None:
    """The parent is gone, and with it whoever wanted to know."""
    del number, frame
    for pid in _children():
        _end_all(_left_by(pid))
    os._exit(1)


def _in_a_fresh_process(work: Callable[[], None]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        # Here and there, for it must be true before either goes on.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        return pid
    exit_code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        _when_the_parent_ends(signal.SIGKILL)
        if os.getppid() == parent:
            work()
            exit_code = 0
    except BaseException as error:
        exit_code = CANNOT_WRITE if isinstance(error, OSError) and error.errno in NO_ROOM else 1
        # Where there is no room for the outcome there is none for this either.
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        # Not sys.exit: the copy must not run the server's own endings.
        os._exit(exit_code)


def _do(work: Work, request: Request, answers: BinaryIO) -> None:
    # The lines are the server's alone: who waits at the other end must hear when it is gone, whatever a cell has left.
    answers.close()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _limit_files(MOST_CHECKPOINT_BYTES if request.training else MOST_FILE_BYTES)
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_BE_KILLED)
    outcome = work.attempt(request)
    sys.stdout.flush()
    sys.stderr.flush()
    draft = Path(request.outcome_path + ".new")
    draft.write_text(outcome.model_dump_json())
    draft.replace(request.outcome_path)


def _limit_files(wanted: int) -> None:
    """Neither what is printed nor the memory image of a crash may fill the disk."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = wanted if most == resource.RLIM_INFINITY else min(most, wanted)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _when_the_parent_ends(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends, however that happens."""
    _control_process(PR_SET_PDEATHSIG, number)


def _adopt_orphans() -> None:
    _control_process(PR_SET_CHILD_SUBREAPER, 1)


def _control_process(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    from ablations.harness import worker

    # What checkpointing and optimisers import on first use: a second, to be spent here and not in every cell.
    import_module("torch._dynamo")
    main(worker)
