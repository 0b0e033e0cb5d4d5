"""Which settings an experiment varies, read off its planned cells: nothing here knows an experiment by name."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ablations.harness.cell import Cell, Workload

Setting = float | str
Place = tuple[Any, ...]

_FIRST = ("length", "n_layers", "n_hashes", "chunk_len", "n_buckets", "batch", "dtype", "backend")
"""Settings that others are functions of come first; so do those that a figure is rather drawn over."""


@dataclass(frozen=True)
class AxisWords:
    """How an axis is called: under a figure, in a sentence, and for one step along it."""

    label: str
    plain: str
    one: str


_WORDS: Mapping[str, AxisWords] = MappingProxyType(
    {
        "length": AxisWords("sequence length (tokens)", "sequence length", "token"),
        "n_layers": AxisWords("layers", "depth", "layer"),
        "n_hashes": AxisWords("hash rounds", "hash rounds", "hash round"),
        "batch": AxisWords("sequences per step", "batch", "sequence"),
    }
)


def axis_words(name: str) -> AxisWords:
    """Words for an axis; one without words of its own goes by its field's name."""
    return _WORDS.get(name, AxisWords(name, name, f"unit of {name}"))


_ALWAYS_SHOWN = ("batch", "n_buckets")
"""Worth a column even where they follow from another axis."""


def settings(cell: Cell) -> Mapping[str, Setting]:
    """Everything that defines a cell beside its contender, its workload's kind and seed; what is `None` is left out.

    `n_buckets` is the number of buckets, its factors multiplied. A backend is a setting of our code only. What a
    trained model is asked in the end is none of its settings.
    """
    found = _of_workload(cell.workload)
    found |= _plain(cell.config.model_dump(exclude={"attention", "residual", "positions"}))
    found |= _plain(cell.config.positions.model_dump(), prefix="positions.")
    for attention in dict.fromkeys(cell.config.attentions):
        found |= _plain(attention.model_dump(exclude={"kind", "share_qk"}))
    if cell.implementation != "ours":
        found.pop("backend", None)
    return found | {"length": cell.length, "batch": cell.batch, "device": cell.device, "dtype": cell.dtype}


def _of_workload(workload: Workload) -> dict[str, Setting]:
    fields = workload.model_dump(exclude={"kind", "mode", "conditions", "observed_windows"})
    task = _plain(fields.pop("task", {}), prefix="task.")
    return _plain(fields.pop("recipe", {})) | task | _plain(fields)


def _plain(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Setting]:
    return {prefix + name: _as_setting(name, value) for name, value in fields.items() if value is not None}


def _as_setting(name: str, value: Any) -> Setting:  # noqa: ANN401  (whatever a field holds)
    if name == "n_buckets":
        return int(math.prod(value))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def independent(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Settings that take several values within a variant and do not follow from those named before them."""
    all_settings = [settings(cell) for cell in cells]
    places: list[Place] = [_kind_of(cell) for cell in cells]
    kept: list[str] = []
    for name in _names(all_settings):
        values = [one.get(name) for one in all_settings]
        if _varies(places, values):
            kept.append(name)
            places = [(*place, value) for place, value in zip(places, values, strict=True)]
    return tuple(kept)


def _kind_of(cell: Cell) -> Place:
    return (cell.scope, cell.contender, cell.workload.kind, cell.mode)


def _names(all_settings: Iterable[Mapping[str, Setting]]) -> list[str]:
    names = {name for one in all_settings for name in one}
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def _varies(places: Sequence[Place], values: Sequence[Setting | None]) -> bool:
    at: dict[Place, Setting | None] = {}
    return any(at.setdefault(place, value) != value for place, value in zip(places, values, strict=True))


def shown(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Settings that a table needs a column for."""
    kept = independent(cells)
    places = [_kind_of(cell) for cell in cells]
    values = {name: [settings(cell).get(name) for cell in cells] for name in _ALWAYS_SHOWN if name not in kept}
    return (*kept, *(name for name in values if _varies(places, values[name])))


def horizontal(cells: Sequence[Cell]) -> str | None:
    """The numeric setting with most values, which a figure is drawn over; `None` if no number varies."""
    values = {name: {settings(cell).get(name) for cell in cells} - {None} for name in independent(cells)}
    numeric = {name: len(found) for name, found in values.items() if not any(isinstance(v, str) for v in found)}
    return max(numeric, key=lambda name: numeric[name], default=None)
