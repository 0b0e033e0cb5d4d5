"""The counters that are committed, and how what was counted now is held against them."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

Counters = Mapping[str, float]
"""Of one cell, by name."""

FILE = Path(__file__).parent / "counters.json"
VERSION = ".".join(torch.__version__.split(".")[:2])
"""Counters follow from PyTorch's minor version too."""
TOLERANCE = 0.01
UPDATE = "pytest tests/performance --update-counters"


def read(path: Path) -> dict[str, dict[str, Counters]]:
    """By version of PyTorch, then by the cell's key; nothing where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, version: str, counted: Mapping[str, Counters]) -> None:
    """Put what was counted in the place of all that the file has of this version; other versions stay."""
    everything = {**read(path), version: counted}
    path.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def differences(kept: Mapping[str, Mapping[str, Counters]], version: str, key: str, counted: Counters) -> list[str]:
    """What is not as the file has it, a line each: empty where all is within the tolerance.

    Less is a difference as well: what was won must be kept, or the next change may lose it unseen.
    """
    if version not in kept:
        return [f"there are no counters of PyTorch {version}: run {UPDATE} and review the change of the file"]
    if key not in kept[version]:
        return [f"{key}: a new cell, or one that changed; run {UPDATE} and review the change of the file"]
    before = kept[version][key]
    names = sorted(before.keys() | counted.keys())
    lines = [_difference(before.get(name), counted.get(name)) for name in names]
    return [f"{key}: {name}: {line}" for name, line in zip(names, lines, strict=True) if line]


def missing(kept: Mapping[str, Mapping[str, Counters]], version: str, keys: frozenset[str]) -> list[str]:
    """Cells of the file that are no longer counted."""
    return [f"{key}: no longer counted; run {UPDATE}" for key in sorted(kept.get(version, {}).keys() - keys)]


def _difference(before: float | None, now: float | None) -> str | None:
    if before is None or now is None:
        return f"new, {now}; run {UPDATE}" if before is None else f"{before} in the file, and not counted; run {UPDATE}"
    if abs(now - before) <= TOLERANCE * abs(before):
        return None
    change = f"{now / before - 1:+.2%}" if before else "from nothing"
    remedy = f"if the change is wanted, run {UPDATE}"
    return f"{before} in the file, {now} now ({change}): {'worse' if now > before else 'less'}; {remedy}"
