"""Ray nodes on this machine, with one processor each and a name of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

RAY = Path(sys.executable).parent / "ray"
STORE_BYTES = 80_000_000
START_SECONDS = 60.0
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}


class Node:
    """What `ray start` started, which stays in the foreground."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(RAY), "start", "--block", "--num-cpus=1", f"--object-store-memory={STORE_BYTES}", *arguments],
                # A cache of its own makes it a machine of its own name.
                env=os.environ | ENVIRONMENT | {"XDG_CACHE_HOME": str(folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Those below it whose name begins like this."""
        below = psutil.Process(self._process.pid).children(recursive=True)
        return [process for process in below if process.name().startswith(name)]

    def kill(self) -> None:
        """All of it at once."""
        try:
            processes = [*self.processes(), psutil.Process(self._process.pid)]
        except psutil.NoSuchProcess:
            processes = []
        for process in processes:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._process.wait()

    @property
    def lives(self) -> bool:
        """Whether it was not killed yet."""
        return self._process.poll() is None


class Nodes:
    """A cluster of them."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._folder = folder
        port = self.address.rpartition(":")[2]
        self.head = Node(folder / "head", ["--head", f"--port={port}", "--include-dashboard=false"])
        self._nodes = [self.head]
        self._wait()

    def add(self) -> Node:
        """One more."""
        node = Node(self._folder / f"node-{len(self._nodes)}", [f"--address={self.address}"])
        self._nodes.append(node)
        return node

    @property
    def living(self) -> list[Node]:
        """Those not killed yet, in the order in which they came."""
        return [node for node in self._nodes if node.lives]

    @property
    def last(self) -> Node:
        """The one that came last, which is not the head."""
        return self.living[-1]

    def _wait(self) -> None:
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with socket.create_connection((host, int(port)), timeout=1):
                    return
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "head" / "log").read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """All nodes, the head last."""
        for node in reversed(self._nodes):
            node.kill()


@contextmanager
def nodes(folder: Path, count: int) -> Iterator[Nodes]:
    """So many of them, gone at the end."""
    cluster = Nodes(folder)
    try:
        for _ in range(count - 1):
            cluster.add()
        yield cluster
    finally:
        cluster.kill()
