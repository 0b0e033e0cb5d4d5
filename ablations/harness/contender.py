"""Contenders from other packages: what such a package registers, and how it is found.

A package names its contender in an entry point of the group `reformer_suite.contenders`; docs/outside.md shows how.
Looking up what is registered imports none of it.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, get_args

from ablations.harness.cell import OUTSIDE, OUTSIDE_NAME, Cell, Implementation
from ablations.harness.errors import MissingExtraError, UserError
from reformer.config import CONTROLS, VARIANTS

GROUP = "reformer_suite.contenders"
"""Of entry points. The name of one is its contender's, its value a `Contender`."""
TAKEN = frozenset({*get_args(Implementation), *VARIANTS, *CONTROLS})


@dataclass(frozen=True)
class Contender:
    """What another package puts to the test: an attention, a whole language model, or both.

    Tensors and modules are torch's; their types are not named, for what plans must not import it.

    Attributes:
        attention: Makes of a cell what maps query_BHLK, key_BHLK, value_BHLK to out_BHLK, all of the cell's dtype and
            on its device. Where the cell's config shares queries and keys, as LSH attention does, the first two are one
            tensor.
        model: Makes of a cell the module that maps token_BL to logits_BLV.
        like: Whose sizes cells of it have, and so what it stands beside: `dense` attention with separate queries and
            keys, or `lsh`, whose hash rounds and chunks are the config's.
    """

    attention: Callable[[Cell], Callable[[Any, Any, Any], Any]] | None = None
    model: Callable[[Cell], Any] | None = None
    like: Literal["dense", "lsh"] = "dense"

    def __post_init__(self) -> None:
        if self.attention is None and self.model is None:
            raise ValueError("a contender has an attention, a model, or both")
        if self.like not in ("dense", "lsh"):
            raise ValueError(f"like={self.like!r}: a contender is like 'dense' or 'lsh'")


@dataclass(frozen=True)
class Registered:
    """A contender that some installed package names.

    Attributes:
        name: Of the contender.
        distribution: The package, as it is installed by name.
        version: Of the package.
        module: That has the contender.
        attribute: What it is called there.
    """

    name: str
    distribution: str
    version: str
    module: str
    attribute: str

    @property
    def package(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        """For messages: the entry point, and whose it is."""
        return f"{self.name} = {self.module}:{self.attribute} of {self.package}"


class MissingContenderError(MissingExtraError):
    """No package that is installed here registers the contender."""

    def __init__(self, name: str) -> None:
        Exception.__init__(
            self, f"contender `{name}` is not registered here: install the package that names it in group {GROUP}"
        )


class ContenderError(Exception):
    """What a package registers cannot be used. The message names its entry point."""


def contenders() -> tuple[Registered, ...]:
    """All that are registered, by name; nothing of them is imported.

    Raises:
        UserError: A name is none that a contender can have, or two packages have one of the same name.
    """
    found = registered()
    for one in found:
        _check_name(one)
    for one, after in itertools.pairwise(found):
        if one.name == after.name:
            raise UserError(f"Two contenders have one name: {one}, and {after}. Uninstall one of the packages.")
    return found


def registered() -> tuple[Registered, ...]:
    """The same, whatever their names are."""
    points = metadata.entry_points(group=GROUP)
    return tuple(sorted(map(_registered, points), key=lambda one: (one.name, one.distribution)))


def load(name: str) -> Contender:
    """The contender of that name, imported.

    Raises:
        MissingContenderError: None is registered.
        UserError: As in `contenders`.
        ContenderError: Its module fails, or what it names is no `Contender`.
    """
    for one in contenders():
        if one.name == name:
            return _imported(one)
    raise MissingContenderError(name)


def versions() -> dict[str, str]:
    """Package and version of each that is registered, by what cells of it call their implementation."""
    return {OUTSIDE + one.name: one.package for one in registered()}


def _registered(point: metadata.EntryPoint) -> Registered:
    module, _, attribute = point.value.partition(":")
    name, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "")
    return Registered(point.name, name, version, module.strip(), attribute.strip())


def _check_name(one: Registered) -> None:
    if not re.fullmatch(OUTSIDE_NAME, one.name):
        raise UserError(
            f"The name of contender {one} is not made of a-z, 0-9 and _, beginning with a letter, as in my_attention. "
            "Rename its entry point and install it again, or uninstall it."
        )
    if one.name in TAKEN:
        raise UserError(
            f"Contender {one} has the name of this project's own {one.name}. Rename its entry point and install it "
            "again, or uninstall it."
        )


def _imported(one: Registered) -> Contender:
    try:
        found = metadata.EntryPoint(one.name, f"{one.module}:{one.attribute}", GROUP).load()
    except (Exception, SystemExit) as error:
        raise ContenderError(f"{one} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Contender):
        raise ContenderError(f"{one} is no ablations.harness.contender.Contender but of type {type(found).__name__}")
    return found
