"""What this machine is and what runs on it, found out without importing torch."""

import os
import platform
import re
import secrets
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from ablations.data.cache import cache_folder
from ablations.harness import contender
from ablations.harness.cell import Device
from ablations.harness.device_state import first_visible
from ablations.harness.errors import UserError
from ablations.harness.record import Environment

PROJECT = Path(__file__).resolve().parents[2]
PEER_PACKAGES: Mapping[str, str] = {"huggingface": "transformers", "lucidrains": "reformer-pytorch"}
"""What an implementation is part of."""
PACKAGES = ("torch", "triton", "numpy", "pydantic", *PEER_PACKAGES.values())
CODE = ("reformer", "ablations")
"""Folders whose changes can change a figure. Results and reports are written by the run itself."""


def describe(device: Device) -> Environment:
    """This machine, its software and the state of the code."""
    accelerator = _accelerator() if device == "cuda" else None
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=normal", "--", *CODE)
    return named_here(
        Environment(
            machine="",
            processor=_processor(),
            cores=cores(),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            accelerator=accelerator[0] if accelerator else None,
            accelerator_memory_bytes=accelerator[1] if accelerator else None,
            driver=accelerator[2] if accelerator else None,
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            packages=_versions(),
            commit=commit,
            dirty=None if commit is None else bool(changes),
        )
    )


def named_here(environment: Environment) -> Environment:
    """The same under the name that this machine gives to such hardware: its folder under `results/`."""
    what = environment.accelerator or f"{environment.processor} {environment.cores} cores"
    return environment.model_copy(update={"machine": _slug(f"{what} {_machine_number()}")})


def hardware(environment: Environment) -> tuple[object, ...]:
    """What tells one kind of machine from another."""
    return environment.processor, environment.cores, environment.accelerator


def device_here() -> Device:
    """`cuda` where a driver finds an NVIDIA GPU, `cpu` elsewhere."""
    return "cuda" if _accelerator() else "cpu"


def cores() -> int:
    """Logical processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _machine_number() -> str:
    """Tells this machine from others of its kind: drawn once, kept in the user's cache.

    Without it a run on a fresh machine would take the records of its like, which may come with a checkout, for its own.
    """
    path = cache_folder() / "machine"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secrets.token_hex(2))
        except OSError as error:
            raise UserError(
                f"Cannot write {path}, which names this machine: {error.strerror}. Set XDG_CACHE_HOME to a folder that "
                "can be written."
            ) from None
    return path.read_text().strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _accelerator() -> tuple[str, int, str] | None:
    """Name, bytes of memory and driver version of the first NVIDIA GPU, or `None` where there is none to use."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handle = first_visible(pynvml)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return pynvml.nvmlDeviceGetName(handle), int(memory.total), pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _versions() -> dict[str, str]:
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed | contender.versions()


def _git(*arguments: str) -> str | None:
    try:
        # Without the lock that `git status` takes to freshen its index: killed, it would leave the lock to the user.
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
