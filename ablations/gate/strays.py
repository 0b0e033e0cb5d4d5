"""Whether the base's process has loaded code that is the head's."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from ablations.harness.environment import PROJECT

HARNESS = "ablations"
"""The package that measures, the head's on either side."""

NOT_FROM = "REFORMER_GATE_NOT_FROM"
"""Variable of the base's servers that names the folder with the head's code."""


class StrayError(RuntimeError):
    """A module of what is under test comes from the head where the base is measured."""


def refuse_strays() -> None:
    """To be called after the work, when all that it needs has been imported.

    Raises:
        StrayError: A module comes from the head.
    """
    if head := os.environ.get(NOT_FROM):
        for name in strays(sys.modules, Path(head)):
            raise StrayError(f"the base runs the head's {name}: it is not in the packages that are taken from the base")


def strays(modules: Mapping[str, ModuleType], head: Path) -> Iterator[str]:
    """Names of modules whose file lies in a folder, other than the harness and what is installed in there."""
    places = (Path(sys.prefix), Path(sys.base_prefix), PROJECT, PROJECT / HARNESS)
    installed = [place for place in places if place != head and place.is_relative_to(head)]
    for name, module in list(modules.items()):
        file = getattr(module, "__file__", None)
        if file and _lies_in(file, head, installed):
            yield name


def _lies_in(file: str, folder: Path, but_not_in: Iterable[Path]) -> bool:
    # Not resolved first: the interpreter of an environment is a link to one elsewhere.
    places = (Path(file), Path(file).resolve())
    if any(one.is_relative_to(out) for one in places for out in but_not_in):
        return False
    return places[1].is_relative_to(folder)
